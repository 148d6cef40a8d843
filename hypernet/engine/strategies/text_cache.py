"""Text cache: all cross-attentions see the same text and, without prompt editing, all steps do."""

from __future__ import annotations

from torch import Tensor, nn

from hypernet.engine.chain import Chain, learns
from hypernet.engine.forward_patch import ForwardPatch
from hypernet.engine.strategies.strategy import ProjectionStrategy, Strategy
from hypernet.engine.strategies.stream import Stream
from hypernet.engine.tensors import bias_of, needs_gradient


class CachedInput(Strategy):
    """Keeps each text after the nets. All sites with the same nets share it."""

    name = "cache input"
    cost = "nothing while the prompt stays"

    def change(self, chain: Chain, x: Tensor) -> Tensor:
        """As `Strategy.change`, made once for each text."""
        plain = super().change
        if needs_gradient((x,)) or learns(chain):
            return plain(chain, x)
        return self._shared.contexts.find(x).get(chain, lambda: plain(chain, x))

    def fallback(self, error: Exception) -> Strategy:
        """The nets at every step, if their results can't be kept."""
        return Stream(f"the text's results could not be kept: {error}", self._shared)


class CachedProjection(CachedInput, ProjectionStrategy):
    """Keeps the K or V that a projection makes of each text, which saves even the projection."""

    name = "cache"
    cost = "nothing while the prompt stays"

    def project(self, chain: Chain, module: nn.Module, x: Tensor) -> Tensor | None:
        """As `ProjectionStrategy.project`, made once for each text."""
        weight = self._plain_weight(chain, module, x)
        if weight is None:
            return None
        sources = (weight, bias_of(module))

        def make() -> Tensor:
            self._shared.watch.add(self, sources)
            return ForwardPatch.original(module, self.change(chain, x))

        return self._shared.contexts.find(x).get((self, chain), make, sources)

    def reset(self) -> None:
        """Drops all texts' results, here and at all other sites: a merge changes their weights together."""
        self._shared.contexts.clear()
