"""What is on disk: hypernetwork files under some folders, their names, side files, hashes, and the networks in them.

library = Library([Path("models/hypernetworks")])
network = library.open("ink")
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hypernet.errors import HypernetError, UnreadableFile
from hypernet.library import moving, sidefiles
from hypernet.library.hashes import Hashes
from hypernet.library.loaded import Loaded
from hypernet.library.names import Index, assign
from hypernet.library.scan import SUFFIXES, Listing, Stamp, scan
from hypernet.library.sidefiles import CivitaiInfo, Kept, Recommended, Source, UserMetadata
from hypernet.text import json_safe

if TYPE_CHECKING:
    from hypernet.network import Network

__all__ = [
    "SUFFIXES",
    "CivitaiInfo",
    "Entry",
    "Library",
    "NotFound",
    "Recommended",
    "Source",
    "Stamp",
    "UserMetadata",
]


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the library."""

    name: str
    """What a tag calls it; no two entries share one."""
    path: Path
    """Absolute. A link is not resolved: its side files lie beside the link."""
    root: Path
    """The folder of the library that it is under."""
    relative: str
    """From the root, with `/` on every system: `styles/ink.pt`."""
    stamp: Stamp
    """Time, size and inode when it was listed."""

    @property
    def shown_path(self) -> str:
        """The path for JSON and HTML."""
        return json_safe(str(self.path))


OTHER_SUFFIXES: Mapping[str, str] = {
    ".hns": "It is a list of networks, of Hypernetwork-MonkeyPatch: write a tag for each network in it instead.",
    **dict.fromkeys((".ckpt", ".pth", ".bin"), "If it is a hypernetwork, rename it so that it ends with .pt."),
}
"""Endings of files that other programs list, and what to do with one."""


class NotFound(HypernetError):
    """No file of the library has this name, or it is not clear which."""

    def __init__(self, name: str, suggestions: Sequence[str], ambiguous: bool, other_file: str = "") -> None:
        """other_file: one of that name which is not listed; its ending is among `OTHER_SUFFIXES`."""
        self.name, self.suggestions, self.ambiguous = name, tuple(suggestions), ambiguous
        listed = " or ".join(f"“{suggestion}”" for suggestion in suggestions)
        if ambiguous:
            message = f"Several hypernetworks are called “{name}”: write {listed}."
        elif other_file:
            ending = "." + other_file.lower().rpartition(".")[2]
            message = f"There is a file {other_file}, but only .pt and .safetensors are read. {OTHER_SUFFIXES[ending]}"
        elif suggestions:
            message = f"There is no hypernetwork “{name}”. Did you mean {listed}?"
        else:
            message = f"There is no hypernetwork “{name}”. Is its file in the hypernetworks folder?"
        super().__init__(message)


@dataclass(frozen=True)
class _Shelf:
    """The library at one moment; replaced as a whole, so that a reader never sees half of a scan."""

    listing: Listing
    entries: tuple[Entry, ...]

    @cached_property
    def index(self) -> Index:
        return Index([entry.name for entry in self.entries], [entry.relative for entry in self.entries])


class Library:
    """The hypernetworks under some folders, as they are now: files that come, go, change or move are noticed.

    folders: need not exist yet; where two hold the same name, the first wins it.
    cache: where sha256 digests are remembered; None forgets them at the end of the process.
    keep: how many networks stay in memory.

    Nothing here is read until it is asked for, and listing opens no file. A name never reaches a file outside the
    folders: it is looked up in the listing and not made into a path. Safe from many threads.
    """

    def __init__(self, folders: Sequence[str | Path], cache: Path | None = None, *, keep: int = 4) -> None:
        # Not resolve(): WebUIs compare paths as text, with the links still in them.
        absolute = (Path(os.path.abspath(Path(folder).expanduser())) for folder in folders)  # noqa: PTH100
        self.folders = tuple(dict.fromkeys(absolute))
        self._hashes = Hashes(cache)
        self._loaded = Loaded(keep)
        self._shelf: _Shelf | None = None
        self._notes = Kept(sidefiles.notes)
        self._civitai = Kept(sidefiles.civitai_info)
        self._scanning = threading.Lock()

    def scan(self) -> tuple[Entry, ...]:
        """Lists the folders anew."""
        return self._scan().entries

    def entries(self) -> tuple[Entry, ...]:
        """Every file, sorted by name; lists the folders anew only if one changed."""
        return self._current().entries

    def names(self) -> tuple[str, ...]:
        """Every name that a tag can use, sorted."""
        return tuple(entry.name for entry in self.entries())

    @property
    def problems(self) -> tuple[str, ...]:
        """Folders that could not be listed, in a sentence each."""
        return self._current().listing.problems

    def find(self, name: str) -> Entry | None:
        """The file that a tag means by `name`; None when there is none, or when several could be meant.

        Besides its name, a file answers to its place (`styles/ink`), its stem, either with its suffix typed, and any of
        these with capitals off; an exact spelling wins.
        """
        shelf = self._current()
        number = shelf.index.find(name)
        if number is None:
            shelf = self._current(look=True)
            number = shelf.index.find(name)
        elif not _unchanged(shelf.entries[number]):
            shelf = self._scan()
            number = shelf.index.find(name)
        return None if number is None else shelf.entries[number]

    def suggest(self, name: str) -> list[str]:
        """Names that may have been meant, best first; none for a name like no other."""
        return self._current().index.suggest(name)

    def open(self, name: str) -> Network:
        """The network that a tag means by `name`. Raises NotFound, UnreadableFile."""
        if entry := self.find(name):
            return self.load(entry)
        index = (self._shelf or self._current()).index
        ambiguous = len(index.candidates(name)) > 1
        raise NotFound(name, index.suggest(name), ambiguous, self._other_file(name))

    def _other_file(self, name: str) -> str:
        """A file of this name that is listed by other programs, or by none."""
        listing = (self._shelf or self._current()).listing
        wanted = {os.path.normcase(name.strip().rpartition("/")[2] + ending) for ending in ("", *OTHER_SUFFIXES)}
        there = (other for names in listing.beside.values() for other in sorted(names & wanted))
        return next((other for other in there if other.lower().endswith(tuple(OTHER_SUFFIXES))), "")

    def load(self, entry: Entry) -> Network:
        """The network in the file as it is now: the same object as before if the file did not change meanwhile.

        Raises UnreadableFile.
        """
        return self._loaded.get(entry.path)

    def sha256(self, entry: Entry, wait: bool = True) -> str | None:
        """64 hex digits. With `wait=False`, None for now if the file must be read first, which the background does.

        Raises UnreadableFile if the file can't be read.
        """
        if not wait:
            known = self.sha256_if_known(entry)
            if known is None:
                self._hashes.later([entry.path])
            return known
        try:
            return self._hashes.get(entry.path)
        except OSError as error:
            raise UnreadableFile(entry.path, f"it can't be read ({error.strerror}).", "Was it moved?") from error

    def sha256_if_known(self, entry: Entry) -> str | None:
        """The digest if it was computed before for this state of the file; never reads the file."""
        return self._hashes.known(entry.path, entry.stamp)

    def hash_all(self) -> None:
        """Computes what is not known yet, in the background."""
        self._hashes.later(entry.path for entry in self.entries() if self.sha256_if_known(entry) is None)

    def by_hash(self, prefix: str) -> Entry | None:
        """The file whose sha256 begins so (8 to 64 hex digits; WebUIs show 10), among those hashed so far.

        Of several copies of one file, the first by name; None if two different files begin so.
        """
        prefix = prefix.strip().lower()
        if not re.fullmatch("[0-9a-f]{8,64}", prefix):
            return None
        known = ((entry, self.sha256_if_known(entry)) for entry in self.entries())
        matches = [(entry, digest) for entry, digest in known if digest is not None and digest.startswith(prefix)]
        return matches[0][0] if len({digest for _, digest in matches}) == 1 else None

    def preview(self, entry: Entry) -> Path | None:
        """The picture beside a file, if there is one."""
        return sidefiles.preview(entry.path, self._listed) if self._has_any(entry) else None

    def description(self, entry: Entry) -> str | None:
        """The text beside a file, if there is one."""
        return sidefiles.description(entry.path, self._listed) if self._has_any(entry) else None

    def user_metadata(self, entry: Entry) -> UserMetadata:
        """What the user wrote about a file on its card."""
        return self._noted(entry)[0]

    def write_user_metadata(self, entry: Entry, metadata: UserMetadata) -> None:
        """Keeps what other programs wrote into the same file. Raises HypernetError."""
        sidefiles.write_user_metadata(entry.path, metadata, self._listed)
        self.scan()

    def recommended(self, entry: Entry) -> Recommended:
        """What its maker recommends, and where it is from."""
        return self._noted(entry)[1]

    def _noted(self, entry: Entry) -> tuple[UserMetadata, Recommended]:
        if not self._has_any(entry):
            return UserMetadata(), Recommended()
        return self._notes.of(entry.path, ".json", self._listed)

    def write_recommended(self, entry: Entry, said: Recommended) -> None:
        """Keeps what other programs wrote into the same file. Raises HypernetError."""
        sidefiles.write_recommended(entry.path, said, self._listed)
        self.scan()

    def move(self, entry: Entry, place: str) -> str:
        """Moves the file and all beside it to `place` under its root, without suffix; returns its name then.

        Its hash stays known, so that old pictures still find it. Raises HypernetError.
        """
        digest = self.sha256_if_known(entry)
        path = moving.move(entry.path, entry.root, place)
        found = next((each for each in self.scan() if each.path == path), None)
        if found is None:
            raise HypernetError(f"{path.name} was moved, but is not listed.")
        if digest is not None:
            self._hashes.later([path])
        return found.name

    def civitai_info(self, entry: Entry) -> CivitaiInfo | None:
        """What Civitai says of a file, as kept beside it, if it is."""
        return self._civitai.of(entry.path, ".civitai.info", self._listed) if self._has_any(entry) else None

    def close(self) -> None:
        """Ends the background work and lets go of the networks and the cache file."""
        self._hashes.close()
        self._loaded.clear()

    def _current(self, look: bool = False) -> _Shelf:
        """The shelf of now. While somebody waits for a slow drive, the others work with what was there before.

        look: also where no folder's time of change tells of one.
        """
        shelf = self._shelf
        if shelf is None:
            return self._scan()
        if not self._scanning.acquire(blocking=False):
            return shelf
        try:
            return self._list() if shelf.listing.outdated(look) else shelf
        finally:
            self._scanning.release()

    def _scan(self) -> _Shelf:
        with self._scanning:
            return self._list()

    def _list(self) -> _Shelf:
        listing = scan(self.folders)
        named = zip(assign(listing.found), listing.found, strict=True)
        entries = sorted((Entry(name, *file) for name, file in named), key=_by_name)
        self._shelf = _Shelf(listing, tuple(entries))
        return self._shelf

    def _listed(self, path: Path) -> bool:
        """Whether a side file was there when the folders were last listed: thousands of cards ask for a dozen each."""
        return (self._shelf or self._current()).listing.has(path)

    def _has_any(self, entry: Entry) -> bool:
        """Whether anything at all lies beside a file: mostly nothing does, which is soon told."""
        return (self._shelf or self._current()).listing.has_any(entry.path)


def _by_name(entry: Entry) -> tuple[str, str]:
    return entry.name.casefold(), entry.name


def _unchanged(entry: Entry) -> bool:
    try:
        return entry.stamp.same(Stamp.of(entry.path.stat()))
    except OSError:
        return False
