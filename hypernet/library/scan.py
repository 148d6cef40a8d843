"""Folders -> the hypernetwork files in them. Reads names and stats only, never a file."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

SUFFIXES = (".safetensors", ".pt")
"""What a hypernetwork file ends with, in any case. Of two beside each other, the earlier here is the one meant."""
WORK = ".training"
"""Ending of the folders in which trainings keep what is not finished; nothing in them is listed."""

_TIME_GRAIN = 2.0  # seconds: FAT keeps times to two, the coarsest of the common file systems


class Stamp(NamedTuple):
    """Tells one state of a file from another."""

    mtime_ns: int
    size: int
    """Bytes."""
    inode: int
    """0 where the system does not say."""

    @staticmethod
    def of(stat: os.stat_result) -> Stamp:
        """The stamp of a file with this stat."""
        return Stamp(stat.st_mtime_ns, stat.st_size, stat.st_ino)

    def same(self, other: Stamp) -> bool:
        """Whether both are one state of one file, as far as the system tells."""
        return self[:2] == other[:2] and (self.inode == other.inode or not (self.inode and other.inode))


class Visit(NamedTuple):
    """A folder at the moment it was listed."""

    changed_ns: int | None
    """When it last changed, in nanoseconds on the clock of its drive; None for one that is not there."""
    names: int
    """Stands for the names in it."""


class Found(NamedTuple):
    """One hypernetwork file."""

    path: Path
    root: Path
    """The folder, of those that were asked for, that it was found under."""
    relative: str
    """From the root, with `/` between the parts on every system."""
    stamp: Stamp


@dataclass(frozen=True)
class Listing:
    """What was in the folders at one moment."""

    found: tuple[Found, ...]
    """In the order of the roots, then by path."""
    beside: Mapping[str, Set[str]]
    """For each folder the names of all other files (previews, descriptions, ...), as `os.path.normcase` spells them.

    Without links out of the roots and of the file's real folder: a description must not show what lies elsewhere.
    """
    folders: Mapping[str, Visit]
    """Each folder visited, as it was."""
    problems: tuple[str, ...]
    taken: float
    """When the listing began, on `time.monotonic`'s clock."""
    _settled: set[str] = field(default_factory=set)
    """Folders whose time of change tells of every later change."""

    def has(self, path: Path) -> bool:
        """Whether that side file was there."""
        return os.path.normcase(path.name) in self.beside.get(str(path.parent), ())

    def has_any(self, path: Path) -> bool:
        """Whether anything was there whose name begins with this file's stem and a dot."""
        return os.path.normcase(path.stem) in self._stems.get(str(path.parent), ())

    @cached_property
    def _stems(self) -> Mapping[str, Set[str]]:
        """For each folder what stands before any dot of a name in it."""
        return {
            folder: {name[:place] for name in names for place, letter in enumerate(name) if letter == "."}
            for folder, names in self.beside.items()
        }

    def outdated(self, look: bool = False) -> bool:
        """Whether a file was added, removed or renamed since. One stat for each folder; in-place writes don't show.

        A folder that changed within the grain of its time may change again without showing it: of such a one, the names
        are compared, until the grain is over. look: compare the names of all, for drives that keep no time of change.
        """
        return any(self._changed(folder, visit, look) for folder, visit in self.folders.items())

    def _changed(self, folder: str, visit: Visit, look: bool) -> bool:
        if _changed_ns(folder) != visit.changed_ns:
            return True
        if visit.changed_ns is None or (folder in self._settled and not look):
            return False
        settled = time.monotonic() > self.taken + _TIME_GRAIN
        if _names_of(folder) != visit.names:
            return True
        if settled:
            self._settled.add(folder)
        return False


def scan(roots: Sequence[Path]) -> Listing:
    """Every hypernetwork file under the roots, subfolders included.

    Links are followed wherever they lead, as WebUIs do (people keep their models on another disk). A folder that can be
    reached in two ways is listed once, by its real place where that is inside the roots, so a loop of links ends.
    Hidden files and folders are left out. A folder that can't be read is a problem in the result, not an error.
    """
    walk = _Walk([os.path.realpath(root) for root in roots])
    taken = time.monotonic()
    waiting = deque(_Folder(str(root), root, "") for root in roots)
    while waiting:
        for folder, is_link in walk.read(waiting.popleft()):
            if is_link:
                waiting.append(folder)
            else:
                waiting.appendleft(folder)
    order = {root: number for number, root in enumerate(dict.fromkeys(roots))}
    found = sorted(walk.found, key=lambda file: (order[file.root], file.relative))
    return Listing(tuple(found), walk.beside, walk.folders, tuple(walk.problems), taken)


class _Folder(NamedTuple):
    path: str
    root: Path
    prefix: str
    """Its place under the root, ending in `/`; empty for the root."""


class _Walk:
    """What has been found so far."""

    def __init__(self, real_roots: Sequence[str]) -> None:
        self._real_roots = real_roots
        self.found: list[Found] = []
        self.beside: dict[str, set[str]] = {}
        self.folders: dict[str, Visit] = {}
        self.problems: list[str] = []
        self._seen: set[tuple[int, int] | str] = set()

    def read(self, folder: _Folder) -> list[tuple[_Folder, bool]]:
        """Notes the files of one folder. Returns its subfolders, each with whether it is a link."""
        try:
            stat = Path(folder.path).stat()
            identity = (stat.st_dev, stat.st_ino) if stat.st_ino else os.path.realpath(folder.path)
            if identity in self._seen:
                return []
            self._seen.add(identity)
            with os.scandir(folder.path) as entries:
                every = list(entries)
            self.folders[folder.path] = Visit(stat.st_mtime_ns, _same(entry.name for entry in every))
            inside = [entry for entry in every if not entry.name.startswith(".")]
        except FileNotFoundError:
            self.folders[folder.path] = Visit(None, 0)
            return []
        except OSError as error:
            self.problems.append(f"The folder {folder.path} can't be read: {error.strerror or error}.")
            return []
        return self._sort(folder, inside)

    def _sort(self, folder: _Folder, inside: Sequence[os.DirEntry[str]]) -> list[tuple[_Folder, bool]]:
        below: list[tuple[_Folder, bool]] = []
        beside: set[str] = set()
        for entry in inside:
            name = entry.name
            try:
                if entry.is_dir():
                    if name.endswith(WORK):
                        continue
                    below.append((_Folder(entry.path, folder.root, f"{folder.prefix}{name}/"), entry.is_symlink()))
                elif not name.lower().endswith(SUFFIXES):
                    if entry.is_file() and (not entry.is_symlink() or self._is_inside(entry.path)):
                        beside.add(os.path.normcase(name))
                elif entry.is_file():
                    stamp = Stamp.of(entry.stat())
                    self.found.append(Found(Path(entry.path), folder.root, folder.prefix + name, stamp))
            except OSError:
                continue  # a link that leads to itself, or a file that went away while we looked
        self.beside[folder.path] = beside
        return below

    def _is_inside(self, link: str) -> bool:
        real = Path(os.path.realpath(link))
        allowed = (*self._real_roots, os.path.realpath(Path(link).parent))
        return any(real.is_relative_to(folder) for folder in allowed)


def _same(names: Iterable[str]) -> int:
    """A number that is the same for the same names."""
    return hash(frozenset(names))


def _names_of(folder: str) -> int | None:
    try:
        return _same(os.listdir(folder))  # noqa: PTH208, the names alone
    except OSError:
        return None


def _changed_ns(folder: str) -> int | None:
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return None
