"""AUTOMATIC1111's dialect: stable-diffusion-webui 1.9 and later, and what its descendants share with it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any

from hypernet.errors import NO_EFFECT, HypernetError
from hypernet.webui.catalogue import Catalogue
from hypernet.webui.dialects.cfg_clock import CfgClock
from hypernet.webui.dialects.common import WebUI
from hypernet.webui.dialects.native import NativeEngine, NativeList
from hypernet.webui.host import Handler, Processing, RunClock

if TYPE_CHECKING:
    from torch import Tensor, nn


class A1111(WebUI):
    """stable-diffusion-webui itself."""

    def __init__(self) -> None:
        self._native_list = NativeList()
        self._lent = Lent()

    # Places and options

    def cache_dir(self) -> Path | None:
        """Where the hash cache is kept: beside the host's own caches."""
        from modules import paths

        folder = Path(os.environ.get("SD_WEBUI_CACHE_DIR") or Path(paths.data_path) / "cache")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def restore_after(self, p: Processing, keys: Sequence[str]) -> None:
        """The host restores only what it finds in its data, and a setting that was never saved may not be there."""
        from modules import shared

        for key in keys:
            if key in (getattr(p, "override_settings", None) or {}) and key in shared.opts.data_labels:
                shared.opts.data.setdefault(key, shared.opts.get_default(key))

    # The model

    def find_unet(self, p: Processing) -> nn.Module:
        from modules import sd_unet, shared
        from torch import nn

        if getattr(sd_unet, "current_unet", None) is not None:
            raise HypernetError(
                "The model runs compiled (setting “SD Unet”), where hypernetworks can't reach it: set SD Unet to None."
            )
        model = getattr(p, "sd_model", None) or shared.sd_model
        unet = getattr(getattr(model, "model", None), "diffusion_model", None)
        if not isinstance(unet, nn.Module):
            raise HypernetError(NO_EFFECT)
        return unet

    def read_weight(self, module: nn.Module) -> Tensor | None:
        """The built-in Lora changes a weight as late as in the call that uses it; what other patches do is unknown."""
        from modules import shared

        from hypernet.engine.tensors import readable_weight

        if getattr(shared.sd_model, "lowvram", False):  # comes and goes
            return None
        forward: Any = type(module).forward
        lora: Any = sys.modules.get("networks")
        if forward is getattr(lora, "network_Linear_forward", None):
            forward = lora.originals.Linear_forward
            if getattr(shared.opts, "lora_functional", False):
                if lora.loaded_networks:
                    return None
            else:
                lora.network_apply_weights(module)
        return readable_weight(module) if forward.__module__ == "torch.nn.modules.linear" else None

    def watch(self, unet: nn.Module, found: Callable[[nn.Module], None]) -> Callable[[], None]:
        """The native engine acts in ControlNets, too."""
        from hypernet.webui.dialects.controlnet import ControlNetWatch

        return ControlNetWatch(unet, found).stop

    def new_clock(self, p: Processing) -> RunClock:
        return CfgClock()

    def lend_memory(self) -> None:
        """As “Unload SD checkpoint to RAM” in the host's settings."""
        from modules import sd_models
        from modules.call_queue import queue_lock

        model = sd_models.model_data.sd_model
        if model is not None:

            def back() -> None:
                if sd_models.model_data.sd_model is model:  # nobody chose another one meanwhile
                    sd_models.send_model_to_device(model)

            with queue_lock:
                self._lent.lend(lambda: sd_models.send_model_to_cpu(model), back)

    def claim_memory(self) -> None:
        """As “Load SD checkpoint to VRAM from RAM”."""
        self._lent.claim()

    # The picture

    def is_request(self, p: Processing) -> bool:
        """Whether p asks for pictures: the host's warm-up of a model has no prompts."""
        return getattr(p, "all_prompts", None) is not None

    def add_comment(self, p: Processing, text: str) -> None:
        """Shows a sentence under the picture."""
        p.comment(text)

    def on_close(self, p: Processing, then: Callable[[], None]) -> None:
        """Whoever makes a p closes it, also after an error."""
        p.close = _Closing(p, then)

    # The interface

    def install(self, handler: Handler, catalogue: Catalogue) -> None:
        """Registers the handler in place of the host's own, which stays reachable as `native`."""
        from modules import extra_networks, shared

        before = extra_networks.extra_network_registry.get(handler.name)
        if before is not None and before is not handler:
            self.native = NativeEngine(before, shared)
            self.native.clear()  # nobody else would, from now on
        extra_networks.register_extra_network(handler)
        self._native_list.replace(catalogue)

    def show_page(self, catalogue: Catalogue) -> None:
        from modules import ui_extra_networks

        from hypernet.webui.dialects.a1111_page import make_page

        pages = ui_extra_networks.extra_pages
        pages[:] = [page for page in pages if page.name != "hypernetworks"]
        ui_extra_networks.register_page(make_page(ui_extra_networks, catalogue))

    def route_options(self, app: Any) -> Mapping[str, Any] | None:
        """What a route of the host's own API is guarded by; None where that API is off."""
        own = [route for route in app.routes if getattr(route, "path", "").startswith("/sdapi/v1/")]
        return {"dependencies": list(own[0].dependencies)} if own else None

    def on_api_infotext(self, rename: Callable[[dict[str, Any]], None]) -> None:
        """The API reads each field by itself, with a function where the field has one; the browser's paste doesn't."""
        try:
            from modules import infotext_utils
        except ImportError:
            return  # before 1.8
        for tab in getattr(infotext_utils, "paste_fields", {}).values():
            for field in tab.get("fields") or ():
                label = getattr(field, "label", None)
                if getattr(field, "api", None) and label in ("Prompt", "Hires prompt"):
                    field.function = _renamed(rename, label)

    def uninstall(self) -> None:
        """Gives the host its own list of files back."""
        self._native_list.restore()


class Lent:
    """A model that left the GPU, and the way back, which is gone once: by the next request or when training ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._back: Callable[[], None] | None = None

    def lend(self, leave: Callable[[], None], back: Callable[[], None]) -> None:
        """leave: what takes the model away, unless it is away already; back: what brings it back."""
        with self._lock:
            if self._back is None:
                leave()
                self._back = back

    def claim(self) -> None:
        """Brings the model back, if it is away."""
        with self._lock:
            back, self._back = self._back, None
            if back is not None:
                back()


def _renamed(rename: Callable[[dict[str, Any]], None], label: str) -> Callable[[dict[str, Any]], Any]:
    """A field's value, after `rename` changed the parameters."""

    def value(params: dict[str, Any]) -> Any:
        changed = dict(params)
        rename(changed)
        return changed.get(label)

    return value


class _Closing:
    """A request's `close` and what comes after it. Doing this again for one request takes the place of the first."""

    def __init__(self, p: Processing, then: Callable[[], None]) -> None:
        before = p.close
        self._close = before._close_of(p) if isinstance(before, _Closing) else before
        self._then = then

    def __call__(self) -> None:
        try:
            self._close()
        finally:
            self._then()

    def _close_of(self, p: Processing) -> Any:
        """The host's own `close`, of p: a copy of a request has the wrapper of the one that it was made of."""
        function = getattr(self._close, "__func__", None)
        return self._close if function is None else MethodType(function, p)
