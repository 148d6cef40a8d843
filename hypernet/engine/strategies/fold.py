"""Fold: linear nets become part of the projection behind them: `W(x + s(Ax + b)) = (W + sWA)x + sWb`.

The host's weight is only read. One folded copy is kept, and made anew when the weight or a strength changes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hypernet.engine.chain import Chain
from hypernet.engine.strategies.collapse import Collapse
from hypernet.engine.strategies.strategy import ProjectionStrategy, Strategy
from hypernet.engine.tensors import TensorStates, all_finite, bias_of, is_out_of_memory
from hypernet.engine.weights import DeviceWeights
from hypernet.network import Linear

_log = logging.getLogger("hypernet")


class Overflow(ArithmeticError):
    """A folded weight is NaN or infinite."""


class Fold(ProjectionStrategy):
    """Linear nets as part of the projection's weight."""

    name = "fold"
    cost = "nothing"
    _folded: FoldedSite | None = None

    def project(self, chain: Chain, module: nn.Module, x: Tensor) -> Tensor | None:
        """As `ProjectionStrategy.project`: one product with the folded weight."""
        weight, bias = self._plain_weight(chain, module, x), bias_of(module)
        if weight is None:
            return None
        if self._folded is None or not self._folded.is_for(weight, bias):
            self._folded = None  # frees the old copy first
            self._folded = FoldedSite(weight, bias, self._shared.weights)
            self._shared.watch.add(self, (weight, bias))
        return self._folded.at(chain)(x)

    def fallback(self, error: Exception) -> Strategy:
        """The nets in front of the projection. Logs the reason, and notes an overflow for the user."""
        self._folded = None
        if is_out_of_memory(error):
            why = "there was no memory to fold them"
            _log.info("no memory to fold a hypernetwork into a projection, it runs in front of it: %s", error)
        elif isinstance(error, Overflow):
            why = "they are too large to be folded"
            self._shared.journal.remark(
                f"A hypernetwork is too strong to be folded into the model ({error}): it ran beside it, more slowly."
            )
        else:
            why = f"folding them failed: {error}"
            _log.warning("a hypernetwork could not be folded into a projection, it runs in front of it: %s", error)
            _log.debug("the error", exc_info=error)
        return Collapse(f"the nets are linear; {why}", self._shared)

    def reset(self) -> None:
        """Forgets the folded weight."""
        self._folded = None


@dataclass(frozen=True, eq=False)
class Folded:
    """A projection with nets inside. weight: (out, in); bias: (out,) or None."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """x: (batch, tokens, in) -> (batch, tokens, out)."""
        return F.linear(x, self.weight, self.bias)


def fold(weight: Tensor, bias: Tensor | None, chain: Chain, weights: DeviceWeights) -> Folded:
    """The projection after the chain: computed in float32, kept in the projection's type.

    The last net of the chain touches the projection first: W(I + s2 A2)(I + s1 A1). Raises Overflow.
    """
    w = weight.detach().float()
    b = None if bias is None else bias.detach().float()
    for link in reversed(chain):
        layers = weights.get(link.net, weight.device, torch.float32).layers
        layer = layers[0]
        if len(layers) != 1 or not isinstance(layer, Linear):
            raise Overflow("its layers together overflow float32")
        if layer.bias is not None:
            shift = w @ layer.bias * link.strength
            b = shift if b is None else b + shift
        w = torch.addmm(w, w, layer.weight, alpha=link.strength)
    folded = Folded(w.to(weight.dtype), None if b is None else b.to(weight.dtype))
    if not all_finite((folded.weight, folded.bias)):
        raise Overflow(f"its numbers overflow {str(weight.dtype).removeprefix('torch.')}")
    return folded


@dataclass(frozen=True, eq=False)
class Line:
    """A folded projection as a function of one strength: `base + strength * slope`."""

    base: Folded
    slope: Folded

    @classmethod
    def between(cls, at_zero: Folded, at_one: Folded) -> Line:
        """The line through two folded projections."""
        slope_bias = None if at_one.bias is None else at_one.bias - (0 if at_zero.bias is None else at_zero.bias)
        return cls(at_zero, Folded(at_one.weight - at_zero.weight, slope_bias))

    def at(self, strength: float) -> Folded:
        """The projection at a strength."""
        weight = torch.add(self.base.weight, self.slope.weight, alpha=strength)
        if self.slope.bias is None:
            return Folded(weight, self.base.bias)
        bias = self.slope.bias * strength + (0 if self.base.bias is None else self.base.bias)
        return Folded(weight, bias)


class FoldedSite:
    """One projection with the chain that was folded into it last; valid as long as the host's weight doesn't change."""

    def __init__(self, weight: Tensor, bias: Tensor | None, weights: DeviceWeights) -> None:
        self._weight, self._bias, self._weights = weight, bias, weights
        self._seen = TensorStates((weight, bias))
        self._folded: tuple[Chain, Folded] | None = None
        self._line: tuple[Chain, Line] | None = None

    def is_for(self, weight: Tensor, bias: Tensor | None) -> bool:
        """Whether this was made from exactly these tensors, and none was written to since."""
        return self._seen.matches((weight, bias))

    def at(self, chain: Chain) -> Folded:
        """The projection after the chain. If one link varies, its strength moves along a line, without refolding."""
        varying = next((link for link in chain if link.varies), None)
        if varying is not None:
            return self._along(chain).at(varying.strength)
        if self._folded is None or self._folded[0] != chain:
            self._folded = None  # frees the old copy first
            self._folded = (chain, self._fold(chain))
        return self._folded[1]

    def _along(self, chain: Chain) -> Line:
        full = tuple(replace(link, strength=1.0) if link.varies else link for link in chain)
        if self._line is None or self._line[0] != full:
            others = tuple(link for link in chain if not link.varies)
            self._line = (full, Line.between(self._fold(others), self._fold(full)))
        return self._line[1]

    def _fold(self, chain: Chain) -> Folded:
        if not chain:
            return Folded(self._weight, self._bias)
        return fold(self._weight, self._bias, chain, self._weights)
