"""`Hypernet hashes` in a picture's parameters: written with it, and read when it is pasted.

The key is never plain `Hypernet`: A1111 takes that one, which its first versions wrote, for a tag to add to the prompt.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from hypernet.errors import HypernetError
from hypernet.library import Entry, Library
from hypernet.library.hashes import INFOTEXT_KEY, in_infotext
from hypernet.tags import TAG_PATTERN
from hypernet.webui.facts import Facts, facts

KEY = INFOTEXT_KEY
"""Name and the beginning of the sha256 of each network that acted."""

NOTES = "Hypernet notes"
"""What did not work, in sentences: comments below a picture don't reach its file, nor those who draw by API."""

_HASH = re.compile(r": ([0-9A-Fa-f]{8,64})(?:,|$)")
_JSON_HASHES = re.compile(r"\bHashes: ?(?=[\"{])")
_KINDS = ("hypernet", "hypernetwork")
_PROMPTS = ("Prompt", "Hires prompt")
_PATIENCE = 5.0  # seconds to hash files for while somebody waits for a paste
_MOST = 50  # different names that are looked for in one paste: a stranger may have written it


def remember(params: dict[str, Any], hashes: Mapping[str, str], keep: bool) -> None:
    """Writes the hashes of what is used into a picture's parameters; keep: beside those of an earlier pass."""
    before = read(params.get(KEY)) if keep else {}
    pairs = before | dict(hashes)
    if pairs:
        params[KEY] = in_infotext(pairs)
    else:
        params.pop(KEY, None)


def add_note(params: dict[str, Any], text: str) -> None:
    """Writes a sentence about what did not work into a picture's parameters."""
    params[NOTES] = f"{params[NOTES]} {text}" if params.get(NOTES) else text


def forget_notes(params: dict[str, Any]) -> None:
    """Takes the sentences of an earlier picture out of the parameters."""
    params.pop(NOTES, None)


def read(text: object) -> dict[str, str]:
    """`ink: 0123456789, a, b: abcdef0123` -> names and beginnings of hashes."""
    found: dict[str, str] = {}
    begin = 0
    for match in _HASH.finditer(text if isinstance(text, str) else ""):
        name = match.string[begin : match.start()].strip()
        if name:
            found[name] = match[1].lower()
        begin = match.end()
    return found


def pasted(
    params: dict[str, Any],
    library: Library,
    warn: Callable[[str], None],
    text: str = "",
    facts_of: Callable[[Entry], Facts] = lambda entry: facts(entry.path),
) -> None:
    """Makes the tags in pasted parameters name the files that are here. params: changed in place.

    warn: is given a sentence for each file that is missing, has another name, or is another one than it was.
    text: all that was pasted, for hashes that hosts' own readers take apart.
    """
    files = _Files(library, facts_of)
    _use_first_keys(params, files)
    hashes = other_hashes(text) | read(params.get(KEY))
    names: dict[str, str] = {}

    def renamed(match: re.Match[str]) -> str:
        name, colon, rest = match[1].partition(":")
        if name not in names and len(names) < _MOST:
            names[name] = _name(name, hashes.get(name), files, warn)
        return f"<hypernet:{names.get(name, name)}{colon}{rest}>"

    for key in _PROMPTS:
        if isinstance(params.get(key), str):
            params[key] = TAG_PATTERN.sub(renamed, params[key])


def other_hashes(text: str) -> dict[str, str]:
    """Names and hashes as Civitai's extension and others write them: `Hashes: {"hypernet:ink": "0123456789"}`."""
    found: dict[str, str] = {}
    for match in islice(_JSON_HASHES.finditer(text), _MOST):
        try:
            hashes, _ = json.JSONDecoder().raw_decode(text, match.end())
            hashes = json.loads(hashes) if isinstance(hashes, str) else hashes
        except (ValueError, RecursionError):
            continue
        for key, digest in hashes.items() if isinstance(hashes, dict) else ():
            kind, _, name = key.partition(":")
            if kind.lower() in _KINDS and name and isinstance(digest, str):
                found[name] = digest.lower()
    return found


def _name(name: str, wanted: str | None, files: _Files, warn: Callable[[str], None]) -> str:
    """What the file that was called `name`, with a hash that begins so, is called here."""
    here = files.library.find(name)
    if here is not None and (wanted is None or files.may_be(here, wanted)):
        return name
    same = files.by_hash(wanted) if wanted else files.by_inner_name(name)
    if same is not None:
        warn(f"The hypernetwork “{name}” is called “{same.name}” here: its tag was changed.")
        return same.name
    if here is not None:
        warn(f"The hypernetwork “{name}” here is another file than the one in the picture (hash {wanted}).")
    elif wanted:
        warn(f"The hypernetwork “{name}” (hash {wanted}) is not here.")
    else:
        warn(f"The hypernetwork “{name}” is not here, and the picture says nothing else about it.")
    return name


class _Files:
    """The files here, looked through for one paste: not for long, since somebody waits for it."""

    def __init__(self, library: Library, facts_of: Callable[[Entry], Facts]) -> None:
        self.library, self._facts_of = library, facts_of
        self._until = time.monotonic() + _PATIENCE

    def may_be(self, entry: Entry, wanted: str) -> bool:
        """Whether nothing speaks against the file having a hash that begins so."""
        known = self.library.sha256_if_known(entry)
        return known is None or known.startswith(wanted) or wanted in _other_digests(entry.path)

    def by_hash(self, wanted: str) -> Entry | None:
        """The file with that hash, by its sha256 or as other programs make hashes."""
        return self.library.by_hash(wanted) or self._hash_more(wanted) or self._by_other_hash(wanted)

    def by_inner_name(self, name: str) -> Entry | None:
        """The one file that calls itself so inside; A1111 wrote that name into its first pictures."""
        found = [
            entry for entry in self._while_there_is_time() if self._facts_of(entry).get("name in the file") == name
        ]
        return found[0] if len(found) == 1 else None

    def _hash_more(self, wanted: str) -> Entry | None:
        """Hashes files that never were; those that there is no time for, in the background."""
        for entry in self._while_there_is_time():
            if self.library.sha256_if_known(entry) is None and _sha256(self.library, entry) is not None:
                found = self.library.by_hash(wanted)
                if found is not None:
                    return found
        if time.monotonic() > self._until:
            self.library.hash_all()
        return None

    def _by_other_hash(self, wanted: str) -> Entry | None:
        entries = self._while_there_is_time() if len(wanted) in _OTHER_LENGTHS else ()
        return next((entry for entry in entries if wanted in _other_digests(entry.path)), None)

    def _while_there_is_time(self) -> Iterator[Entry]:
        for entry in self.library.entries():
            if time.monotonic() > self._until:
                return
            yield entry


def _use_first_keys(params: dict[str, Any], files: _Files) -> None:
    """`Hypernet`, `Hypernet hash` and `Hypernet strength`, which A1111 wrote until January 2023."""
    name = params.get("Hypernet")
    if not isinstance(name, str) or not isinstance(params.get("Prompt"), str):
        return
    wanted = str(params.get("Hypernet hash", "")).lower()
    found = files.library.find(name) or (files.by_hash(wanted) if wanted else None) or files.by_inner_name(name)
    here = found.name if found is not None else name
    strength = params.get("Hypernet strength", "1.0")
    tags = re.compile(f"<hypernet:{re.escape(name)}:")
    if tags.search(params["Prompt"]):
        params["Prompt"] = tags.sub(lambda _: f"<hypernet:{here}:", params["Prompt"])
    else:
        params["Prompt"] += f"<hypernet:{here}:{strength}>"


def _sha256(library: Library, entry: Entry) -> str | None:
    try:
        return library.sha256(entry)
    except HypernetError:
        return None


_OTHER_LENGTHS = (8, 12)
"""Hex digits of the hashes below."""


def _other_digests(path: Path) -> tuple[str, ...]:
    """A1111's first hash (Civitai's AutoV1): sha256 over 64 KiB at 1 MiB, 8 digits. Kohya's (AutoV3), 12 digits: sha256
    of a .safetensors file behind its header."""
    try:
        with path.open("rb") as stream:
            stream.seek(0x100000)
            sample = stream.read(0x10000)
            first = (hashlib.sha256(sample).hexdigest()[:8],) if sample else ()
            if path.suffix.lower() != ".safetensors":
                return first
            stream.seek(0)
            stream.seek(8 + int.from_bytes(stream.read(8), "little"))
            behind = hashlib.sha256()
            while chunk := stream.read(1 << 20):
                behind.update(chunk)
            return (*first, behind.hexdigest()[:12])
    except (OSError, OverflowError):
        return ()
