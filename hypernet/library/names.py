"""Files -> the names they have in a tag, and back. Text only: nothing here touches the disk.

A file is called by its stem; where stems collide (with capitals off), by its place, `folder/stem`. Of `ink.safetensors`
and `ink.pt` beside each other, the first is `ink` and the other `ink.pt`. Of the same place under two roots, the first
root has the name and the other is called `ROOT/ink`. What a tag can't carry becomes `_`.
"""

from __future__ import annotations

import difflib
import itertools
import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hypernet.library.scan import SUFFIXES, Found

_UNCARRIED = re.compile(
    "[:<>"
    "\\\\"  # what Windows separates folders with: it is read as `/`
    "\x00-\x1f\x7f-\x9f"  # control characters
    "\u2028\u2029"  # line and paragraph ends
    "\u202a-\u202e\u2066-\u2069"  # direction overrides, which make a name look like another
    "\ud800-\udfff]+"  # bytes of a file name that are no text
)

_HARMLESS = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)

_Shelf = dict[str, list[int]]


def assign(files: Sequence[Found]) -> list[str]:
    """One name for each file, in their order: no two the same, each one that a tag can carry."""
    places: dict[tuple[Path, str], list[int]] = defaultdict(list)
    for number, file in enumerate(files):
        places[file.root, _without_suffix(file.relative)].append(number)
    stems = Counter(_fold(_stem(_clean(place))) for _, place in places)
    names: dict[int, str] = {}
    taken: set[str] = set()

    def take(number: int, *wishes: str) -> None:
        more = (f"{wishes[-1]} ({count})" for count in itertools.count(2))
        names[number] = next(name for name in itertools.chain(wishes, more) if name not in taken)
        taken.add(names[number])

    def claim(place: tuple[Path, str]) -> tuple[bool, bool]:
        """Who has a name by right is served first: before one whose name was cleaned, or must give way to another."""
        clean = _clean(place[1])
        return clean != place[1], stems[_fold(_stem(clean))] > 1

    in_order = sorted(places, key=claim)
    for place in in_order:
        places[place].sort(key=lambda number: SUFFIXES.index(_suffix(files[number].relative)))
        clean = _clean(place[1])
        if stems[_fold(_stem(clean))] == 1:
            take(places[place][0], _stem(clean))
        else:
            take(places[place][0], clean, f"{_clean(place[0].name)}/{clean}")
    for place in in_order:
        first, *others = places[place]
        for number in others:
            take(number, names[first] + _suffix(files[number].relative))
    return [names[number] for number in range(len(files))]


class Index:
    """Typed text -> the number of the file that is meant.

    Tried in turn: the name, the place under the root, the stem; these with capitals off; then all of it without a typed
    `.pt` or `.safetensors`. The first that any file answers to decides. Where several answer, none is meant.
    """

    def __init__(self, names: Sequence[str], places: Sequence[str]) -> None:
        """names, places: of each file, its name and its path from the root."""
        self._names = tuple(names)
        self._shelves: tuple[_Shelf, ...] = tuple({} for _ in range(6))
        for number, (name, place) in enumerate(zip(names, places, strict=True)):
            place = unicodedata.normalize("NFC", place)
            spellings = ({name}, {place, _without_suffix(place)}, {_stem(place), _stem(_without_suffix(place))})
            folded = ({_fold(spelling) for spelling in some} for some in spellings)
            for shelf, keys in zip(self._shelves, (*spellings, *folded), strict=True):
                for key in keys:
                    shelf.setdefault(key, []).append(number)

    def find(self, text: str) -> int | None:
        candidates = self.candidates(text)
        return candidates[0] if len(candidates) == 1 else None

    def candidates(self, text: str) -> Sequence[int]:
        """Every file that the text could mean; more than one when it is not clear which."""
        typed = unicodedata.normalize("NFC", text.strip().replace("\\", "/"))
        exact, folded = self._shelves[:3], self._shelves[3:]
        for spelling in (typed, _without_suffix(typed)):
            for shelves, fold in ((exact, str), (folded, _fold)):
                for shelf in shelves:
                    if numbers := shelf.get(fold(spelling)):
                        return numbers
        return ()

    def suggest(self, text: str, limit: int = 3) -> list[str]:
        """Names that may have been meant, best first."""
        return list(dict.fromkeys(self._suggestions(text, limit)))[:limit]

    def _suggestions(self, text: str, limit: int) -> Iterator[str]:
        yield from (self._names[number] for number in self.candidates(text))
        typed = _fold(_stem(_without_suffix(text.strip())))
        if not typed:
            return
        folded: Mapping[str, list[str]] = defaultdict(list)
        for name in self._names:
            folded[_fold(_stem(name))].append(name)
        for close in difflib.get_close_matches(typed, folded, limit):
            yield from folded[close]
        for stem in sorted(stem for stem in folded if typed in stem or (len(stem) > 2 and stem in typed)):
            yield from folded[stem]


def _suffix(name: str) -> str:
    return posixpath.splitext(name)[1].lower()


def _without_suffix(name: str) -> str:
    root, suffix = posixpath.splitext(name)
    return root if suffix.lower() in SUFFIXES else name


def _stem(place: str) -> str:
    return place.rpartition("/")[2]


def _fold(name: str) -> str:
    """Two names that differ only in capitals, or in how an accent is stored, have one fold."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _clean(place: str) -> str:
    if _HARMLESS.fullmatch(place):
        return place
    parts = (_UNCARRIED.sub("_", part).strip() for part in unicodedata.normalize("NFC", place).split("/"))
    return "/".join(part or "_" for part in parts)
