"""Recipes for merging, as trees of networks, chains and weighted sums; also read from MonkeyPatch's `.hns` files.

A `.hns` file is a Python literal, which is read as data and never run. `"name"`, `("name", 0.5)` or `{"name": 0.5}` is
a network; a list is a chain; a set, or a dict of several, is a weighted sum, with weights scaled to sum to one. Inside
sets and dicts, a nested recipe is written as text.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from hypernet.errors import HypernetError
from hypernet.network import Net
from hypernet.plan import Use
from hypernet.text import printable

_MOST = 200
"""Networks and groups in one file. A file with more is an attack."""


@dataclass(frozen=True)
class Leaf:
    """One network."""

    use: Use

    def net(self, width: int, kind: str) -> tuple[Net, float] | None:
        """Its net and the net's strength; None if it has no such width."""
        pair, tag = self.use.network.pairs.get(width), self.use.tag
        if pair is None:
            return None
        strength = tag.course.strength.points[0][0]
        return (pair.k, strength * tag.k) if kind == "k" else (pair.v, strength * tag.v)


@dataclass(frozen=True)
class Chain:
    """One after the other, as the tags of a prompt."""

    parts: tuple[Recipe, ...]


@dataclass(frozen=True)
class Sum:
    """All on the same context: what each adds, times its weight."""

    parts: tuple[tuple[Recipe, float], ...]


Recipe: TypeAlias = "Leaf | Chain | Sum"


def leaves(recipe: Recipe) -> Iterator[Leaf]:
    """All networks in it, in order."""
    if isinstance(recipe, Leaf):
        yield recipe
    elif isinstance(recipe, Chain):
        for part in recipe.parts:
            yield from leaves(part)
    else:
        for part, _ in recipe.parts:
            yield from leaves(part)


def read_hns(path: Path, find: Callable[[str, float], Use]) -> Recipe:
    """The mix in a `.hns` file. find: opens the network of a name at a strength. Raises HypernetError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise HypernetError(f"{path.name}: there is no such file. Check its name and folder.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise HypernetError(f"{path.name}: it can't be read as text ({error}).") from error
    return _Reader(path.name, find).read(_literal(path.name, text), 8)


def _literal(file: str, text: str) -> object:
    if len(text) > 100_000:
        raise HypernetError(f"{file}: it is far longer than any mix.")
    try:
        value: object = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise HypernetError(f'{file}: it is no mix: write for example ["ink", ("water", 0.5)].') from None
    return value


class _Reader:
    """One file while it is read."""

    def __init__(self, file: str, find: Callable[[str, float], Use]) -> None:
        self._file, self._find, self._left = file, find, _MOST

    def read(self, value: object, depth: int) -> Recipe:
        self._left -= 1
        if not depth or self._left < 0:
            raise HypernetError(f"{self._file}: it is nested too deeply, or mixes more than {_MOST} things.")
        if isinstance(value, str):
            return self._text(value, depth)
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and _is_number(value[1]):
            return self._leaf(value[0], value[1])
        if isinstance(value, (list, tuple, set)) and len(value) == 1:
            return self.read(next(iter(value)), depth - 1)
        if isinstance(value, (list, tuple)) and value:
            return Chain(tuple(self.read(part, depth - 1) for part in value))
        if isinstance(value, set) and value:
            parts = sorted(value, key=repr)
            return self._sum([(part, 1.0) for part in parts], depth)
        if isinstance(value, dict) and value:
            return self._table(value, depth)
        raise self._refused(value)

    def _text(self, text: str, depth: int) -> Recipe:
        if text.lstrip().startswith(("[", "(", "{")):
            return self.read(_literal(self._file, text), depth - 1)
        return self._leaf(text, 1.0)

    def _table(self, table: dict[object, object], depth: int) -> Recipe:
        for weight in table.values():
            if not _is_number(weight):
                raise self._refused(weight)
        if len(table) > 1:
            return self._sum([(key, float(weight)) for key, weight in table.items()], depth)  # type: ignore[arg-type]
        ((name, strength),) = table.items()
        if isinstance(name, str) and not name.lstrip().startswith(("[", "(", "{")):
            return self._leaf(name, float(strength))  # type: ignore[arg-type]
        return self._sum([(name, 1.0)], depth)

    def _sum(self, parts: Sequence[tuple[object, float]], depth: int) -> Recipe:
        total = sum(weight for _, weight in parts)
        if not total:
            raise HypernetError(f"{self._file}: the weights of a sum cancel out.")
        return Sum(tuple((self.read(part, depth - 1), weight / total) for part, weight in parts))

    def _leaf(self, name: str, strength: float) -> Leaf:
        return Leaf(self._find(name, strength))

    def _refused(self, value: object) -> HypernetError:
        return HypernetError(f"{self._file}: {printable(repr(value))[:60]} has no place in a mix.")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e6
