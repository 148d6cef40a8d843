"""A patch of one projection's own call, which goes away without a trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor, nn

Compute: TypeAlias = Callable[[nn.Module, Tensor], Tensor]
"""A projection and its input, (batch, tokens, in) -> its output, (batch, tokens, out)."""


class ForwardPatch:
    """Replaces `module.forward` on one instance. The module's hooks, parameters and class stay as they are."""

    def __init__(self, module: nn.Module, compute: Compute) -> None:
        self._module, self._compute = module, compute
        self._active = True
        module.forward = self

    @staticmethod
    def possible(module: nn.Module) -> bool:
        """Not where somebody else already replaced the call of this instance (offloading does)."""
        return "forward" not in module.__dict__

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self._active and not args and not kwargs:
            return self._compute(self._module, x)
        return self.original(self._module, x, *args, **kwargs)

    @staticmethod
    def original(module: nn.Module, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The call the module's class gives it, with whatever the host patched into the class by now."""
        result: Tensor = type(module).forward(module, x, *args, **kwargs)
        return result

    def remove(self) -> None:
        """Gives the call back. Where another program wrapped it meanwhile, this one steps aside inside the wrapper."""
        self._active = False
        if self._module.__dict__.get("forward") is self:
            del self._module.forward
