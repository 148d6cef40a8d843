"""The Forge family: A1111's dialect around a model that Forge's own backend runs (Forge, reForge, Classic, Neo).

Their hypernetworks are gone, or load files for nothing; the rest of the dialect is as it was. Differences between the
four are found by feature: models live in `forge_objects`, projections are of the backend's own classes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypernet.errors import NO_EFFECT, HypernetError
from hypernet.webui.catalogue import Catalogue
from hypernet.webui.dialects.a1111 import A1111
from hypernet.webui.dialects.cfg_clock import CfgClock
from hypernet.webui.host import Handler, Processing, RunClock

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hypernet.schedule import Moment

_BACKENDS = ("backend.operations", "ldm_patched.modules.ops", "torch.nn.modules.linear")
"""Where the calls come from that multiply by the weight and do nothing else."""

_CHANGES = ("scale_weight", "forge_online_loras", "weight_function", "bias_function")
"""What the backends hang on a projection when its call does more than that."""


class Forge(A1111):
    """Forge, reForge, Forge Classic and Neo."""

    def find_unet(self, p: Processing) -> nn.Module:
        from torch import nn

        objects = getattr(_model(p), "forge_objects", None)
        if objects is None:
            raise HypernetError("No model is loaded, or not one that Forge runs: hypernetworks have no effect.")
        unet = getattr(getattr(objects.unet, "model", None), "diffusion_model", None)
        if not isinstance(unet, nn.Module):
            raise HypernetError(NO_EFFECT)
        return unet

    def read_weight(self, module: nn.Module) -> Tensor | None:
        """Dense weights as they lie there. LoRA is merged into them before sampling, by replacing them."""
        from hypernet.engine.tensors import dense_weight

        if getattr(type(module).forward, "__module__", None) not in _BACKENDS:
            return None  # quantised by another extension, or patched: it may do anything
        if any(_set(getattr(module, change, None)) for change in _CHANGES):
            return None
        weight = dense_weight(module)
        return None if weight is None else _with_version(weight)

    def watch(self, unet: nn.Module, found: Callable[[nn.Module], None]) -> Callable[[], None]:
        """These hosts have no hypernetworks to be equal to: theirs act in the UNet alone."""
        return lambda: None

    def new_clock(self, p: Processing) -> RunClock:
        return _ForgeClock()

    def reserve_memory(self, p: Processing, nbytes: int) -> None:
        """On a clone, as Forge asks of extensions: it lasts for this pass, and the next begins with the original."""
        objects = getattr(_model(p), "forge_objects", None)
        if objects is not None and hasattr(objects.unet, "add_extra_preserved_memory_during_sampling"):
            unet = objects.unet.clone()
            unet.add_extra_preserved_memory_during_sampling(nbytes)
            objects.unet = unet

    def lend_memory(self) -> None:
        """The backend loads models anew whenever it needs them."""
        from modules.call_queue import queue_lock

        for name in ("backend.memory_management", "ldm_patched.modules.model_management"):
            if name in sys.modules:
                with queue_lock:
                    sys.modules[name].unload_all_models()
                return

    def install(self, handler: Handler, catalogue: Catalogue) -> None:
        """The host's own handler, where one is left, loads every file and applies none: it is no alternative."""
        super().install(handler, catalogue)
        self.native = None


class _ForgeClock(CfgClock):
    """The backends say with each UNet call which parts of its batch are positive."""

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Moment:
        moment = super().__call__(args, kwargs)
        parts = (kwargs.get("transformer_options") or {}).get("cond_or_uncond")
        batch = args[0] if args else kwargs.get("x")
        if not parts or batch is None or batch.shape[0] % len(parts):
            return replace(moment, cond=None)
        each = batch.shape[0] // len(parts)
        return replace(moment, cond=tuple(part == 0 for part in parts for _ in range(each)))


def _model(p: Processing) -> Any:
    from modules import shared

    return getattr(p, "sd_model", None) or shared.sd_model


def _set(change: Any) -> bool:
    """An empty list or dict is no change; a tensor is one whatever it holds."""
    return change is not None and (not isinstance(change, (list, tuple, dict)) or bool(change))


def _with_version(weight: Tensor) -> Tensor:
    """The same memory as a tensor that can be watched: Forge loads models in inference mode, whose tensors can't."""
    import torch

    if not weight.is_inference():
        return weight
    with torch.inference_mode(False):
        same = torch.empty(0, dtype=weight.dtype, device=weight.device)
        return same.set_(weight.untyped_storage(), weight.storage_offset(), weight.shape, weight.stride())
