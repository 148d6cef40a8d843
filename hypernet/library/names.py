"""Files -> the names they have in a tag, and back. Text only: nothing here touches the disk.

A file is called by its stem; where stems collide (with capitals off), by its path, `folder/stem`. Of `ink.safetensors`
and `ink.pt` beside each other, the first is `ink` and the other `ink.pt`. Of the same path under two roots, the first
root has the name and the other is called `ROOT/ink`. What a tag can't carry becomes `_`.
"""

from __future__ import annotations

import difflib
import itertools
import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
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

_WORD = r"[!-.0-9;=?-\[\]-~]+(?: +[!-.0-9;=?-\[\]-~]+)*"
_HARMLESS = re.compile(f"{_WORD}(?:/{_WORD})*", re.ASCII)
"""A path that a tag carries as it is: most have no other letters, and are not looked at further."""

_LONGEST_TYPO = 100  # letters of a typed name for which others like it are looked for
_LIKELY = 30  # names that share the most pairs of letters with what was typed, which are then compared with it

_Shelf = Mapping[str, Sequence[int]]
"""Spelling -> numbers of the files that have it."""


def assign(files: Sequence[Found]) -> list[str]:
    """One name for each file, in their order: no two the same, each one that a tag can carry."""
    twins: dict[tuple[Path, str], list[int]] = defaultdict(list)  # files that differ in their suffix alone
    for number, file in enumerate(files):
        twins[file.root, _without_suffix(file.relative)].append(number)
    clean = {key: _clean(key[1]) for key in twins}
    shared = Counter(_fold(_stem(path)) for path in clean.values())
    names: dict[int, str] = {}
    taken: set[str] = set()

    def take(number: int, *wishes: str) -> None:
        for name in itertools.chain(wishes, (f"{wishes[-1]} ({count})" for count in itertools.count(2))):
            if name not in taken:
                names[number] = name
                taken.add(name)
                return

    def claim(key: tuple[Path, str]) -> tuple[bool, bool]:
        """Who has a name by right is served first: before one whose name was cleaned, or must give way to another."""
        return clean[key] != key[1], shared[_fold(_stem(clean[key]))] > 1

    in_order = sorted(twins, key=claim)
    for key in in_order:
        if len(twins[key]) > 1:
            twins[key].sort(key=lambda number: SUFFIXES.index(_suffix(files[number].relative)))
        if shared[_fold(_stem(clean[key]))] == 1:
            take(twins[key][0], _stem(clean[key]))
        else:
            take(twins[key][0], clean[key], f"{_clean(key[0].name)}/{clean[key]}")
    for key in in_order:
        first, *others = twins[key]
        for number in others:
            take(number, names[first] + _suffix(files[number].relative))
    return [names[number] for number in range(len(files))]


class Index:
    """Typed text -> the number of the file that is meant.

    Tried in turn: the name, the path under the root, the stem; these with capitals off; then all of it without a typed
    `.pt` or `.safetensors`; at last with spaces and underscores off. The first that any file answers to decides. Where
    several answer, none is meant.
    """

    def __init__(self, names: Sequence[str], relatives: Sequence[str]) -> None:
        """names, relatives: of each file, its name and its path from the root."""
        self._names = tuple(names)
        self._relatives = tuple(relatives)

    def find(self, text: str) -> int | None:
        """The number of the file that the text means; None where there is none, or where several could be meant."""
        candidates = self.candidates(text)
        return candidates[0] if len(candidates) == 1 else None

    def candidates(self, text: str) -> Sequence[int]:
        """Every file that the text could mean; more than one when it is not clear which."""
        typed = unicodedata.normalize("NFC", text.strip().replace("\\", "/"))
        bare = _without_suffix(typed)
        for spelling in dict.fromkeys((typed, bare)):
            for shelf in self._exact:
                if numbers := shelf.get(spelling):
                    return numbers
            for shelf in self._folded:
                if numbers := shelf.get(_fold(spelling)):
                    return numbers
        loose = self._loose.get(_squeeze(bare), ())
        return loose if len(loose) == 1 else ()

    def suggest(self, text: str, limit: int = 3) -> list[str]:
        """Names that may have been meant, best first."""
        return list(itertools.islice(dict.fromkeys(self._suggestions(text, limit)), limit))

    def _suggestions(self, text: str, limit: int) -> Iterator[str]:
        yield from (self._names[number] for number in self.candidates(text))
        typed = _fold(_stem(_without_suffix(text.strip())))
        if not typed or len(typed) > _LONGEST_TYPO:
            return
        for close in difflib.get_close_matches(typed, self._likely(typed), limit):
            yield from self._by_stem[close]
        for stem in sorted(stem for stem in self._by_stem if typed in stem or (len(stem) > 2 and stem in typed)):
            yield from self._by_stem[stem]

    def _likely(self, typed: str) -> list[str]:
        """The stems that share the most pairs of letters with what was typed: to compare it with all takes long."""
        shared = Counter(stem for pair in _pairs(typed) for stem in self._by_pair.get(pair, ()))
        return [stem for stem, _ in shared.most_common(_LIKELY)]

    @cached_property
    def _exact(self) -> tuple[_Shelf, _Shelf, _Shelf]:
        """Files by name, by path and by stem, each as it is spelled."""
        relatives = [unicodedata.normalize("NFC", relative) for relative in self._relatives]
        bare = [_without_suffix(relative) for relative in relatives]
        paths = [{*both} for both in zip(relatives, bare, strict=True)]
        return (
            _shelf({name} for name in self._names),
            _shelf(paths),
            _shelf({_stem(path) for path in both} for both in paths),
        )

    @cached_property
    def _folded(self) -> tuple[_Shelf, ...]:
        return tuple(_refile(shelf, _fold) for shelf in self._exact)

    @cached_property
    def _loose(self) -> _Shelf:
        every = ((spelling, numbers) for shelf in self._exact for spelling, numbers in shelf.items())
        found: dict[str, set[int]] = defaultdict(set)
        for spelling, numbers in every:
            found[_squeeze(_without_suffix(spelling))].update(numbers)
        return {spelling: sorted(numbers) for spelling, numbers in found.items() if spelling}

    @cached_property
    def _by_stem(self) -> Mapping[str, list[str]]:
        """Stems with capitals off -> the names of the files that have them."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in self._names:
            found[_fold(_stem(name))].append(name)
        return found

    @cached_property
    def _by_pair(self) -> Mapping[str, list[str]]:
        """Pairs of letters -> the stems that have them."""
        found: dict[str, list[str]] = defaultdict(list)
        for stem in self._by_stem:
            for pair in _pairs(stem):
                found[pair].append(stem)
        return found


def _shelf(spellings: Iterable[Iterable[str]]) -> _Shelf:
    """spellings: of each file."""
    found: dict[str, list[int]] = {}
    for number, some in enumerate(spellings):
        for spelling in some:
            found.setdefault(spelling, []).append(number)
    return found


def _refile(shelf: _Shelf, key: Callable[[str], str]) -> _Shelf:
    found: dict[str, list[int]] = {}
    for spelling, numbers in shelf.items():
        there = found.setdefault(key(spelling), [])
        there += [number for number in numbers if number not in there[-2:]]  # a file's own spellings lie together
    return found


def _pairs(text: str) -> set[str]:
    """Its pairs of letters; the text itself where it has but one."""
    return {text[at : at + 2] for at in range(max(len(text) - 1, 1))}


def _squeeze(name: str) -> str:
    """What is left of a name without capitals, spaces and underscores."""
    return "".join(_fold(name).replace("_", " ").split())


def _suffix(name: str) -> str:
    return posixpath.splitext(name)[1].lower()


def _without_suffix(name: str) -> str:
    root, suffix = posixpath.splitext(name)
    return root if suffix.lower() in SUFFIXES else name


def _stem(path: str) -> str:
    return path.rpartition("/")[2]


def _fold(name: str) -> str:
    """Two names that differ only in capitals, or in how an accent is stored, have one fold."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _clean(path: str) -> str:
    """The path with `_` for all that a tag can't carry."""
    if _HARMLESS.fullmatch(path):
        return path
    parts = (_UNCARRIED.sub("_", part).strip() for part in unicodedata.normalize("NFC", path).split("/"))
    return "/".join(part or "_" for part in parts)
