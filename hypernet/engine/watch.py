"""Notices writes into weights that torch's version counter doesn't count.

These are writes through `.data` (peft's merge) and into inference tensors (Forge). A few numbers of each weight are
compared at each UNet call, all in one operation. A merge changes every number of a weight, so it is noticed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import torch
from torch import Tensor

SAMPLED = 64
"""Numbers of each weight that are compared, spread over all of it."""

Owner = TypeVar("Owner")
_Group: TypeAlias = "tuple[torch.device, torch.dtype]"
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, eq=False)
class _Sampled:
    view: Tensor
    """Some of a weight's numbers, in its own memory."""
    seen: Tensor
    """What they were."""

    @property
    def changed(self) -> bool:
        return not torch.equal(_bits(self.view.clone()), _bits(self.seen))


class WeightWatch(Generic[Owner]):
    """Weights that results were made from, grouped by the owner of these results."""

    def __init__(self) -> None:
        self._sampled: dict[Owner, tuple[_Sampled, ...]] = {}
        self._groups: dict[_Group, tuple[list[Tensor], Tensor]] | None = None

    def add(self, owner: Owner, weights: Iterable[Tensor | None]) -> None:
        """Watches these weights from now on, instead of those the owner had added before."""
        views = [_spread(weight) for weight in weights if weight is not None]
        self._sampled[owner] = tuple(_Sampled(view, view.clone()) for view in views)
        self._groups = None

    def changed(self) -> tuple[Owner, ...]:
        """The owners whose weights have changed since they were added; these are no longer watched.

        Takes one comparison per device and type, and waits for the device.
        """
        if self._groups is None:
            self._groups = _grouped(sampled for each in self._sampled.values() for sampled in each)
        if all(torch.equal(_bits(torch.cat(views)), seen) for views, seen in self._groups.values()):
            return ()
        changed = [owner for owner, each in self._sampled.items() if any(sampled.changed for sampled in each)]
        for owner in changed:
            del self._sampled[owner]
        self._groups = None
        return tuple(changed)

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers that are kept to compare with."""
        kept = [sampled.seen for each in self._sampled.values() for sampled in each]
        kept += [seen for _, seen in (self._groups or {}).values()]
        return sum(tensor.numel() * tensor.element_size() for tensor in kept)

    def clear(self) -> None:
        """Stops watching all weights."""
        self._sampled, self._groups = {}, None


def _spread(weight: Tensor) -> Tensor:
    """A view of some of a weight's numbers, spread over its rows and columns."""
    flat = weight.detach()
    if not flat.is_contiguous():
        return flat.diagonal()[:SAMPLED] if flat.ndim == 2 else flat[:SAMPLED]
    return flat.view(-1)[:: flat.numel() // SAMPLED | 1]


def _grouped(sampled: Iterable[_Sampled]) -> dict[_Group, tuple[list[Tensor], Tensor]]:
    groups: dict[_Group, list[_Sampled]] = defaultdict(list)
    for each in sampled:
        groups[each.view.device, each.view.dtype].append(each)
    return {
        key: ([each.view for each in group], _bits(torch.cat([each.seen for each in group])))
        for key, group in groups.items()
    }


def _bits(numbers: Tensor) -> Tensor:
    """The numbers as integers, so that NaN equals itself."""
    return numbers.view(_BITS[numbers.element_size()])
