"""The interface of strategies, each of which computes one site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

import hypernet.engine.chain as chains
from hypernet.engine.chain import Chain, learns
from hypernet.engine.contexts import Contexts
from hypernet.engine.journal import Journal
from hypernet.engine.tensors import ReadWeight, autocast_dtype, bias_of, needs_gradient
from hypernet.engine.watch import WeightWatch
from hypernet.engine.weights import DeviceWeights


@dataclass(frozen=True, eq=False)
class Shared:
    """What the strategies of one attached plan have in common."""

    weights: DeviceWeights
    contexts: Contexts
    watch: WeightWatch[Strategy]
    read_weight: ReadWeight
    journal: Journal


class Strategy:
    """Changes a projection's input. This class itself is the plain formula: every net, on every call."""

    name: ClassVar[str]
    """Its name in `Engine.explain()`."""
    cost: ClassVar[str]
    """What it costs per step, in a few words."""

    def __init__(self, why: str, shared: Shared) -> None:
        """why: why it was chosen, half a sentence."""
        self.why, self._shared = why, shared

    def change(self, chain: Chain, x: Tensor) -> Tensor:
        """The projection's input after the nets. x: (batch, tokens, width)."""
        return chains.apply(chain, x, self._shared.weights)

    def fallback(self, error: Exception) -> Strategy | None:
        """A plainer strategy to take after this error; None if this is the plainest."""
        return None

    def reset(self) -> None:
        """Drops everything made from the projection's weight, which has changed."""


class ProjectionStrategy(Strategy):
    """Also computes the projection itself, where it can."""

    def project(self, chain: Chain, module: nn.Module, x: Tensor) -> Tensor | None:
        """The projection's output after the nets, (batch, tokens, out); None if only `change` works here."""
        raise NotImplementedError

    def _plain_weight(self, chain: Chain, module: nn.Module, x: Tensor) -> Tensor | None:
        """The projection's weight, if the projection only multiplies x by it and no gradients are needed; else None."""
        weight = self._shared.read_weight(module)
        if weight is None or x.device != weight.device:
            return None
        if needs_gradient((x, weight, bias_of(module))) or learns(chain):
            return None
        return weight if x.dtype == weight.dtype or autocast_dtype(x.device) is not None else None
