"""ControlNets on AUTOMATIC1111. Its own hypernetworks act in them too, as they are made of its class of attention.

A ControlNet hangs in no place that one could look up: the extension that brings it replaces the UNet's `forward`, and
calls it from there. So while a UNet whose `forward` was replaced is running, the calls of all modules are watched.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from weakref import WeakSet, ref

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

from hypernet.sites import find_sites

_log = logging.getLogger("hypernet")


class ControlNetWatch:
    """Calls `found` once for each module beside the UNet that is of its kind and runs within its calls."""

    def __init__(self, unet: nn.Module, found: Callable[[nn.Module], None]) -> None:
        self._unet, self._found = ref(unet), found
        self._known: WeakSet[nn.Module] = WeakSet(unet.modules())
        self._kinds = _attention_classes(unet)
        self._watching: RemovableHandle | None = None
        self._handles = (
            unet.register_forward_pre_hook(self._begin),
            unet.register_forward_hook(self._end),
        )

    def stop(self) -> None:
        """Leaves the UNet as it was."""
        self._end()
        for handle in self._handles:
            handle.remove()

    def _begin(self, unet: nn.Module, args: Any) -> None:
        if self._watching is None and "forward" in unet.__dict__:
            self._watching = register_module_forward_pre_hook(self._see)

    def _end(self, *_: Any) -> None:
        if self._watching is not None:
            self._watching.remove()
            self._watching = None

    def _see(self, module: nn.Module, args: Any) -> None:
        unet = self._unet()
        if module in self._known or unet is None:
            return
        self._known.update(unet.modules())  # something may have been put into it since
        if module in self._known:
            return
        self._known.update(module.modules())
        try:
            if _attention_classes(module) & self._kinds:
                self._found(module)
        except Exception:  # nothing of ours may stop the host's picture
            _log.exception("hypernetworks can't act in %s", type(module).__name__)


def _attention_classes(model: nn.Module) -> set[type]:
    return {type(model.get_submodule(site.attention)) for site in find_sites(model)}
