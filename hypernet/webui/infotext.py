"""`Hypernet hashes` in a picture's parameters: written with it, and read when it is pasted.

The key is never plain `Hypernet`: A1111 takes that one, which its first versions wrote, for a tag to add to the prompt.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hypernet.library import Entry, Library

KEY = "Hypernet hashes"
"""Name and the beginning of the sha256 of each network that acted."""

NOTES = "Hypernet notes"
"""What did not work, in sentences: comments below a picture don't reach its file, nor those who draw by API."""

_SHORT = 10  # hex digits, as WebUIs show them
_HASH = re.compile(r": ([0-9a-f]{8,64})(?:,|$)")
_TAG = re.compile(r"<hypernet:([^:>]+)", re.IGNORECASE)
_PROMPTS = ("Prompt", "Hires prompt")
_PATIENCE = 5.0  # seconds to hash files for while somebody waits for a paste
_MOST = 50  # different names that are looked for in one paste: a stranger may have written it


def remember(params: dict[str, Any], hashes: Mapping[str, str], keep: bool) -> None:
    """Writes the hashes of what is used into a picture's parameters; keep: beside those of an earlier pass."""
    before = read(params.get(KEY)) if keep else {}
    pairs = before | {name: digest[:_SHORT] for name, digest in hashes.items()}
    if pairs:
        params[KEY] = ", ".join(f"{name}: {digest}" for name, digest in pairs.items())
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
            found[name] = match[1]
        begin = match.end()
    return found


def pasted(params: dict[str, Any], library: Library, warn: Callable[[str], None]) -> None:
    """Makes the tags in pasted parameters name the files that are here. params: changed in place.

    warn: is given a sentence for each file that is missing or is another one than it was.
    """
    _legacy(params, library)
    hashes, until = read(params.get(KEY)), time.monotonic() + _PATIENCE
    names: dict[str, str] = {}

    def renamed(match: re.Match[str]) -> str:
        name = match[1]
        if name not in names and len(names) < _MOST:
            names[name] = _name(name, hashes, library, warn, until)
        return f"<hypernet:{names.get(name, name)}"

    for key in _PROMPTS:
        if isinstance(params.get(key), str):
            params[key] = _TAG.sub(renamed, params[key])


def _name(name: str, hashes: Mapping[str, str], library: Library, warn: Callable[[str], None], until: float) -> str:
    """What the file that was called `name` is called here."""
    here, wanted = library.find(name), hashes.get(name)
    if wanted is None:
        if here is None:
            warn(f"The hypernetwork “{name}” is not here, and the picture says nothing else about it.")
        return name
    if here is not None and (library.sha256_if_known(here) or wanted).startswith(wanted):
        return name
    same = library.by_hash(wanted) or _look_for(wanted, library, until)
    if same is not None:
        return same.name
    if here is None:
        warn(f"The hypernetwork “{name}” (hash {wanted}) is not here.")
    else:
        warn(f"The hypernetwork “{name}” here is another file than the one in the picture (hash {wanted}).")
    return name


def _look_for(wanted: str, library: Library, until: float) -> Entry | None:
    """Hashes files that never were; those that there is no time for, in the background."""
    for entry in library.entries():
        if time.monotonic() > until:
            library.hash_all()
            break
        if library.sha256_if_known(entry) is None and library.sha256(entry) is not None:
            found = library.by_hash(wanted)
            if found is not None:
                return found
    return None


def _legacy(params: dict[str, Any], library: Library) -> None:
    """`Hypernet`, `Hypernet hash` and `Hypernet strength`, which A1111 wrote until January 2023."""
    name = params.get("Hypernet")
    if not isinstance(name, str) or not isinstance(params.get("Prompt"), str):
        return
    wanted = str(params.get("Hypernet hash", ""))
    found = library.find(name) or next((e for e in library.entries() if wanted and _old_hash(e.path) == wanted), None)
    here = found.name if found is not None else name
    strength = params.get("Hypernet strength", "1.0")
    tags = re.compile(f"<hypernet:{re.escape(name)}:")
    if tags.search(params["Prompt"]):
        params["Prompt"] = tags.sub(lambda _: f"<hypernet:{here}:", params["Prompt"])
    else:
        params["Prompt"] += f"<hypernet:{here}:{strength}>"


def _old_hash(path: Path) -> str | None:
    """A1111's first hash of a file: sha256 over 64 KiB at 1 MiB, 8 digits."""
    try:
        with path.open("rb") as stream:
            stream.seek(0x100000)
            found = stream.read(0x10000)
            return hashlib.sha256(found).hexdigest()[:8] if found else None
    except OSError:
        return None
