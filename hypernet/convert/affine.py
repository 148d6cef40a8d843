"""Linear nets as maps `x + D x + c`. A chain of such maps is exactly one such map."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from hypernet.network import Linear, Net, collapse


@dataclass(frozen=True, eq=False)
class Affine:
    """`x + D x + c`. delta: D, (width, width), without the identity, so that no digit is lost; shift: c, (width,)."""

    delta: Tensor
    shift: Tensor

    @classmethod
    def of(cls, net: Net, strength: float = 1.0) -> Affine:
        """A linear net at a strength, in float32."""
        (layer,) = collapse(net).layers
        assert isinstance(layer, Linear)
        bias = torch.zeros(net.width) if layer.bias is None else layer.bias.float()
        return cls(layer.weight.float() * strength, bias * strength)

    @classmethod
    def nothing(cls, width: int) -> Affine:
        """The map that leaves x as it is."""
        return cls(torch.zeros(width, width), torch.zeros(width))

    def then(self, later: Affine) -> Affine:
        """This map, then the later one on its result."""
        delta = torch.addmm(self.delta + later.delta, later.delta, self.delta)
        return Affine(delta, self.shift + later.shift + later.delta @ self.shift)

    def __call__(self, x: Tensor) -> Tensor:
        """x: (..., width)."""
        return x + x @ self.delta.T + self.shift

    def net(self) -> Net:
        """The same as a net of one linear layer."""
        return Net(len(self.shift), (Linear(self.delta, self.shift),))


def chain(maps: Iterable[Affine], width: int) -> Affine:
    """All maps, in the order of the prompt."""
    return reduce(Affine.then, maps, Affine.nothing(width))
