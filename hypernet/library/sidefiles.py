"""The files beside a hypernetwork: its preview, description, the user's notes, what Civitai says.

Conventions: AUTOMATIC1111's (`NAME.png`, `NAME.preview.png`, `NAME.txt`, `NAME.description.txt`, `NAME.json`) and
Civitai Helper's (`NAME.civitai.info`).
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Generic, TypeVar

from hypernet import atomic, safe_json
from hypernet.errors import HypernetError
from hypernet.text import json_safe

_log = logging.getLogger(__name__)

MAX_JSON = 4 << 20
"""Bytes. Civitai's have some ten thousand."""
MAX_DESCRIPTION = 1 << 16
"""Characters that are read."""

PREVIEW_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif")
"""Endings of pictures, the preferred ones first."""

Exists = Callable[[Path], bool]
_T = TypeVar("_T")


def preview(path: Path, exists: Exists = Path.is_file) -> Path | None:
    """The picture shown for the hypernetwork at `path`: for each kind of picture NAME.png before NAME.preview.png."""
    candidates = (_beside(path, infix + suffix) for suffix in PREVIEW_SUFFIXES for infix in ("", ".preview"))
    return next(filter(exists, candidates), None)


def description(path: Path, exists: Exists = Path.is_file) -> str | None:
    """The text of NAME.txt or NAME.description.txt."""
    for file in (_beside(path, ".txt"), _beside(path, ".description.txt")):
        if exists(file):
            try:
                with file.open(encoding="utf-8-sig", errors="replace") as stream:
                    return stream.read(MAX_DESCRIPTION)
            except OSError as error:
                _log.warning("The description %s can't be read: %s", file, error)
    return None


@dataclass(frozen=True)
class UserMetadata:
    """What the user noted in a card's editor. The keys in NAME.json are the names here with spaces."""

    description: str = ""
    notes: str = ""
    sd_version: str = ""
    activation_text: str = ""
    preferred_weight: float | None = None
    """A strength; A1111 stores 0 for none."""
    negative_text: str = ""


def user_metadata(path: Path, exists: Exists = Path.is_file) -> UserMetadata:
    """What NAME.json says; a missing or broken file, or a key of another kind, says nothing."""
    return notes(path, exists)[0]


def write_user_metadata(path: Path, metadata: UserMetadata, exists: Exists = Path.is_file) -> None:
    """Writes NAME.json. Keys of other programs in it stay. Raises HypernetError if it holds what we can't read."""
    stored = _own_json(path, exists)
    ours = {_key(field.name): getattr(metadata, field.name) for field in fields(metadata)}
    ours["preferred weight"] = _weight(metadata.preferred_weight) or 0.0
    stored.update({key: value for key, value in ours.items() if value or key in stored})
    _write_own_json(path, stored)


@dataclass(frozen=True)
class Source:
    """Where a file was downloaded."""

    url: str = ""
    """A page for people; never with a key in it."""
    model: int | None = None
    version: int | None = None
    sha256: str = ""
    """Of what was downloaded, 64 hex digits: a file that was converted since has another."""

    def at(self, url: str) -> Source:
        """The same, at another address; with another one, what is known of the old is gone."""
        return self if url == self.url else Source(url)


@dataclass(frozen=True)
class Recommended:
    """What a file's maker recommends and where it is from: NAME.json's key `hypernet`."""

    range: tuple[float, float] | None = None
    """The strengths between which it works well, the lower first."""
    sampler: str = ""
    """By A1111's name."""
    steps: int | None = None
    cfg: float | None = None
    tags: tuple[str, ...] = ()
    source: Source = Source()


def recommended(path: Path, exists: Exists = Path.is_file) -> Recommended:
    """What NAME.json's `hypernet` says; what is missing, broken or of another kind says nothing."""
    return notes(path, exists)[1]


def notes(path: Path, exists: Exists = Path.is_file) -> tuple[UserMetadata, Recommended]:
    """All that NAME.json says, in one reading."""
    file = _beside(path, ".json")
    if not exists(file):
        return UserMetadata(), Recommended()
    try:
        stored = _read_json(file)
    except _BrokenJSON as error:
        _log.warning("%s", error)
        return UserMetadata(), Recommended()
    return _user(stored), _recommended(stored.get(_OURS))


def _user(stored: Mapping[str, object]) -> UserMetadata:
    texts = {key: _text(stored.get(_key(key))) for key in _TEXT_KEYS}
    return UserMetadata(**texts, preferred_weight=_weight(stored.get("preferred weight")))


def _recommended(stored: object) -> Recommended:
    if not isinstance(stored, dict):
        return Recommended()
    source = stored.get("source")
    return Recommended(
        range=_range(stored.get("range")),
        sampler=_text(stored.get("sampler")),
        steps=_whole(stored.get("steps")) or None,
        cfg=_weight(stored.get("cfg")),
        tags=tuple(_texts(stored.get("tags"))),
        source=_source(source) if isinstance(source, dict) else Source(),
    )


def write_recommended(path: Path, said: Recommended, exists: Exists = Path.is_file) -> None:
    """Writes NAME.json's `hypernet`; all else in the file stays. Raises HypernetError as `write_user_metadata`."""
    stored = _own_json(path, exists)
    kept = stored.get(_OURS)
    source = {name: value for name, value in asdict(said.source).items() if value}
    ours = {**asdict(said), "range": list(said.range or ()), "tags": list(said.tags), "source": source}
    told = {**kept, **ours} if isinstance(kept, dict) else ours
    stored[_OURS] = {key: value for key, value in told.items() if key not in ours or value}
    _write_own_json(path, stored)


@dataclass(frozen=True)
class CivitaiInfo:
    """What Civitai knows of a file, as its helpers store it. Text from the internet: escape it before HTML."""

    model_id: int | None
    version_id: int | None
    model: str
    version: str
    base_model: str
    """As Civitai writes it: 'SD 1.5', 'SDXL 1.0', ..."""
    trained_words: tuple[str, ...]


def civitai_info(path: Path, exists: Exists = Path.is_file) -> CivitaiInfo | None:
    """What NAME.civitai.info says; None without one, and for an empty one, which means "not on Civitai"."""
    file = _beside(path, ".civitai.info")
    if not exists(file):
        return None
    try:
        stored = _read_json(file)
    except _BrokenJSON as error:
        _log.warning("%s", error)
        return None
    if not stored:
        return None
    model = stored.get("model")
    return CivitaiInfo(
        model_id=_whole(stored.get("modelId")),
        version_id=_whole(stored.get("id")),
        model=_text(model.get("name")) if isinstance(model, dict) else "",
        version=_text(stored.get("name")),
        base_model=_text(stored.get("baseModel")),
        trained_words=tuple(_texts(stored.get("trainedWords"))),
    )


def write_civitai_info(path: Path, said: Mapping[str, object], exists: Exists = Path.is_file) -> None:
    """Writes NAME.civitai.info: a version as the site's API gives it, or nothing for "not on Civitai".

    Raises HypernetError.
    """
    file = _beside(path, ".civitai.info")
    _refuse_link(file, exists)
    _write(file, _json_bytes(said) if said else b"")


def write_preview(path: Path, picture: bytes, suffix: str, exists: Exists = Path.is_file) -> Path:
    """Writes NAME.preview.SUFFIX, which must not be there. suffix: one of PREVIEW_SUFFIXES. Raises HypernetError."""
    file = _beside(path, ".preview" + suffix)
    _refuse_link(file, exists)
    _write(file, picture)
    return file


class Kept(Generic[_T]):
    """What a reader makes of side files, each read anew only when it changed: a page asks for thousands at once."""

    def __init__(self, read: Callable[[Path, Exists], _T]) -> None:
        """read: from a network's path."""
        self._read = read
        self._known: dict[Path, tuple[tuple[int, int, int], _T]] = {}

    def of(self, path: Path, ending: str, exists: Exists) -> _T:
        """What the network's side file with that ending says now."""
        try:
            stat = _beside(path, ending).stat() if exists(_beside(path, ending)) else None
        except OSError:
            stat = None
        if stat is None:
            return self._read(path, lambda file: False)
        state = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        known = self._known.get(path)
        if known is None or known[0] != state:
            known = self._known[path] = (state, self._read(path, exists))
        return known[1]


_OURS = "hypernet"
_TEXT_KEYS = tuple(field.name for field in fields(UserMetadata) if field.default == "")


class _BrokenJSON(HypernetError):
    """A side file that holds no JSON object."""


def _own_json(path: Path, exists: Exists) -> dict[str, object]:
    """What NAME.json holds, to be changed and written back. Raises HypernetError."""
    file = _beside(path, ".json")
    _refuse_link(file, exists)
    return _read_json(file) if file.exists() else {}


def _write_own_json(path: Path, stored: Mapping[str, object]) -> None:
    _write(_beside(path, ".json"), _json_bytes(stored))


def _refuse_link(file: Path, exists: Exists) -> None:
    if file.is_symlink() and not exists(file):
        raise HypernetError(f"{file.name} is a link to elsewhere: nothing is written there.")


def _json_bytes(stored: Mapping[str, object]) -> bytes:
    """A lone surrogate becomes JSON's \\udXXX."""
    return json.dumps(stored, indent=4, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _write(file: Path, content: bytes) -> None:
    try:
        atomic.write_bytes(file, content)
    except OSError as error:
        raise HypernetError(f"{file.name} can't be written beside its hypernetwork: {error.strerror}.") from error


def _read_json(file: Path) -> dict[str, object]:
    try:
        if file.stat().st_size > MAX_JSON:
            raise ValueError("it is far larger than any")
        text = file.read_text(encoding="utf-8-sig")
        stored = safe_json.loads(text) if text.strip() else {}
    except (OSError, ValueError) as error:
        raise _BrokenJSON(f"{file.name} can't be read ({error}): correct it or move it away.") from error
    if not isinstance(stored, dict):
        raise _BrokenJSON(f"{file.name} holds no JSON object: correct it or move it away.")
    return stored


def _key(field: str) -> str:
    return field.replace("_", " ")


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.stem + ending)


def _weight(value: object) -> float | None:
    try:
        weight = float(value) if isinstance(value, (int, float, str)) else 0.0
    except (ValueError, OverflowError):
        return None
    return weight if weight and math.isfinite(weight) else None


def _range(value: object) -> tuple[float, float] | None:
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(end, (int, float)) for end in value):
        return None
    try:
        low, high = sorted(map(float, value))
    except OverflowError:
        return None
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _source(stored: Mapping[str, object]) -> Source:
    version, model = _whole(stored.get("version")), _whole(stored.get("model"))
    return Source(_text(stored.get("url")), model, version, _text(stored.get("sha256")))


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _text(value: object) -> str:
    return json_safe(value) if isinstance(value, str) else ""


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, list):
        yield from (json_safe(item) for item in value if isinstance(item, str))
