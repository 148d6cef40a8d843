"""A patch of one projection's `forward` that can be removed without a trace."""

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
        """Whether `forward` can be replaced: not if another program did so already, as offloading does."""
        return "forward" not in module.__dict__

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self._active and not args and not kwargs:
            return self._compute(self._module, x)
        return self.original(self._module, x, *args, **kwargs)

    @staticmethod
    def original(module: nn.Module, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Calls the `forward` of the module's class, including whatever the host has patched into the class."""
        result: Tensor = type(module).forward(module, x, *args, **kwargs)
        return result

    def remove(self) -> None:
        """Restores `forward`. If another program has wrapped it since, this patch only passes calls on."""
        self._active = False
        if self._module.__dict__.get("forward") is self:
            del self._module.forward
