"""Answers of Civitai's API as typed data. A field that is missing or of the wrong type counts as empty."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from hypernet.civitai.html_text import plain
from hypernet.text import json_safe, printable

KIND = "Hypernetwork"
"""Civitai's name for the type of our files."""

_MAX_NAME = 300  # characters of one name, word or tag
_MAX_LISTED = 200  # things in one list
_LEVELS = {"none": 1, "soft": 2, "mature": 4, "x": 8}
_BASES = {
    "SD1": ("SD 1",),
    "SD2": ("SD 2",),
    "SDXL": ("SDXL", "Pony", "Illustrious", "NoobAI"),
}

Json = Mapping[str, object]


@dataclass(frozen=True)
class Image:
    """A preview on the site."""

    url: str
    width: int
    height: int
    level: int
    """The site's rating: 1 is for everybody, 2 mild, 4 and more adult."""
    video: bool

    @property
    def safe(self) -> bool:
        """Whether the site rates the picture fit for everybody."""
        return self.level <= 2


@dataclass(frozen=True)
class File:
    """One file of a version."""

    id: int | None
    name: str
    """As the uploader chose it: not to be used as a file name."""
    size: int
    """Bytes, rounded; 0 if the site does not say."""
    kind: str
    """'Model', 'Training Data', 'Archive', ..."""
    format: str
    """'PickleTensor', 'SafeTensor', ..."""
    sha256: str
    """64 lower-case hex digits, or nothing."""
    hashes: Mapping[str, str]
    """The other hashes, lower case, by the site's names: AutoV1, AutoV2, CRC32, BLAKE3."""
    dangerous: bool
    """Whether the site's own scan found something."""
    primary: bool
    download: str
    """Path and query on the site."""


@dataclass(frozen=True)
class Version:
    """One version of a model."""

    id: int
    model_id: int
    name: str
    base_model: str
    """As the site writes it: 'SD 1.5'."""
    trained_words: tuple[str, ...]
    description: str
    """Plain text."""
    published: str
    """Time in ISO 8601, which sorts; or nothing."""
    files: tuple[File, ...]
    images: tuple[Image, ...]
    model: str
    """The model's name, if the version comes without its model."""
    kind: str
    """The model's type, in the same case."""
    raw: Json = field(repr=False, compare=False)
    """What the site sent."""

    @property
    def base(self) -> str:
        """'SD1', 'SD2', 'SDXL', or nothing."""
        return next((base for base, starts in _BASES.items() if self.base_model.startswith(starts)), "")

    def holds(self, sha256: str) -> bool:
        """Whether one of its files has this digest."""
        return any(file.sha256 == sha256.lower() for file in self.files)


@dataclass(frozen=True)
class Model:
    """One model with its versions, the newest first as the site lists them."""

    id: int
    name: str
    kind: str
    adult: bool
    creator: str
    tags: tuple[str, ...]
    description: str
    """Plain text."""
    downloads: int
    likes: int
    versions: tuple[Version, ...]
    raw: Json = field(repr=False, compare=False)
    """What the site sent."""

    @property
    def preview(self) -> Image | None:
        """The first picture that everybody may see."""
        images = (image for version in self.versions for image in version.images)
        return next((image for image in images if image.safe and not image.video), None)


@dataclass(frozen=True)
class Page:
    """A page of a search."""

    models: tuple[Model, ...]
    cursor: str
    """Asks for the next page; empty on the last."""


def page(answer: object) -> Page:
    """From `GET /models`."""
    items = _list(_object(answer).get("items"))
    return Page(
        tuple(made for item in items if (made := model(item))), _cursor(_object(_object(answer).get("metadata")))
    )


def model(answer: object) -> Model | None:
    """From `GET /models/:id`, or one item of a page; None if it has no number."""
    fields = _object(answer)
    number = _whole(fields.get("id"))
    if number is None:
        return None
    stats, name, kind = _object(fields.get("stats")), _line(fields.get("name")), _line(fields.get("type"))
    made = (version(item, number, name, kind) for item in _list(fields.get("modelVersions")))
    return Model(
        id=number,
        name=name,
        kind=kind,
        adult=fields.get("nsfw") is True,
        creator=_line(_object(fields.get("creator")).get("username")),
        tags=tuple(_lines(fields.get("tags"))),
        description=plain(_text(fields.get("description"))),
        downloads=_whole(stats.get("downloadCount")) or 0,
        likes=_whole(stats.get("thumbsUpCount")) or 0,
        versions=tuple(one for one in made if one is not None),
        raw=fields,
    )


def version(answer: object, model_id: int | None = None, name: str = "", kind: str = "") -> Version | None:
    """From `GET /model-versions/:id`, by hash, or one item of a model's list; None if it has no number."""
    fields = _object(answer)
    number = _whole(fields.get("id"))
    model_id = _whole(fields.get("modelId")) or model_id
    if number is None or model_id is None:
        return None
    about = _object(fields.get("model"))
    return Version(
        id=number,
        model_id=model_id,
        name=_line(fields.get("name")),
        base_model=_line(fields.get("baseModel")),
        trained_words=tuple(_lines(fields.get("trainedWords"))),
        description=plain(_text(fields.get("description"))),
        published=_line(fields.get("publishedAt")) or _line(fields.get("createdAt")),
        files=tuple(_file(_object(item), number) for item in _list(fields.get("files"))),
        images=tuple(made for item in _list(fields.get("images")) if (made := _image(_object(item)))),
        model=name or _line(about.get("name")),
        kind=kind or _line(about.get("type")),
        raw=fields,
    )


def model_of(version: Version) -> Model:
    """A model from what one of its versions says, if the site no longer shows the model itself."""
    return Model(version.model_id, version.model, version.kind, False, "", (), "", 0, 0, (version,), {})


def _file(fields: Json, version_id: int) -> File:
    hashes = {key: _text(value).lower() for key, value in _object(fields.get("hashes")).items()}
    sha256 = hashes.pop("SHA256", "")
    scans = (fields.get("pickleScanResult"), fields.get("virusScanResult"))
    return File(
        id=_whole(fields.get("id")),
        name=_line(fields.get("name")),
        size=_size(fields.get("sizeKB")),
        kind=_line(fields.get("type")) or "Model",
        format=_line(_object(fields.get("metadata")).get("format")) or _line(fields.get("format")),
        sha256=sha256 if len(sha256) == 64 and set(sha256) <= set("0123456789abcdef") else "",
        hashes=hashes,
        dangerous=any(_text(scan).lower() == "danger" for scan in scans),
        primary=fields.get("primary") is True,
        download=_download(_text(fields.get("downloadUrl")), version_id),
    )


def _download(url: str, version_id: int) -> str:
    """The file's path on the site. The address's own host is ignored."""
    plain_path = f"/api/download/models/{version_id}"
    try:
        parts = urlsplit(url)
    except ValueError:
        return plain_path
    if parts.path != plain_path or not parts.query.isascii() or not parts.query.isprintable():
        return plain_path
    return f"{plain_path}?{parts.query}" if parts.query else plain_path


def _image(fields: Json) -> Image | None:
    url = _text(fields.get("url"))
    if not url.startswith(("https://", "http://")):
        return None
    level, old = _whole(fields.get("nsfwLevel")), fields.get("nsfw")
    if level is None:
        level = _LEVELS.get(_text(old).lower(), 8 if old is True else 1)
    return Image(
        url=url,
        width=_whole(fields.get("width")) or 0,
        height=_whole(fields.get("height")) or 0,
        level=level,
        video=_text(fields.get("type")) == "video" or urlsplit(url).path.endswith((".mp4", ".webm")),
    )


def _cursor(metadata: Json) -> str:
    cursor = metadata.get("nextCursor")
    if isinstance(cursor, (str, int)) and not isinstance(cursor, bool):
        return str(cursor)
    try:  # only the cursor is taken from the address
        found = parse_qs(urlsplit(_text(metadata.get("nextPage"))).query).get("cursor", [""])
    except ValueError:
        return ""
    return found[0]


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value[:_MAX_LISTED] if isinstance(value, list) else []


def _text(value: object) -> str:
    return json_safe(value) if isinstance(value, str) else ""


def _line(value: object) -> str:
    return printable(" ".join(_text(value).split()))[:_MAX_NAME]


def _lines(value: object) -> Iterator[str]:
    for item in _list(value):
        named = _object(item).get("name") if isinstance(item, dict) else item
        if line := _line(named):
            yield line


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < 1 << 53 else None


def _size(kilobytes: object) -> int:
    if isinstance(kilobytes, bool) or not isinstance(kilobytes, (int, float)):
        return 0
    return round(kilobytes * 1024) if math.isfinite(kilobytes) and 0 < kilobytes < 1 << 40 else 0
