"""SD.Next: a WebUI of A1111's family that draws with diffusers pipelines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypernet.errors import NO_EFFECT, HypernetError
from hypernet.webui.catalogue import Catalogue
from hypernet.webui.dialects.common import WebUI
from hypernet.webui.dialects.sdnext_passes import Passes
from hypernet.webui.host import Handler, Processing, RunClock

if TYPE_CHECKING:
    from torch import Tensor, nn

_COMPILERS = frozenset({"onediff", "oneflow", "sfast", "pruna", "optimum"})


class SDNext(WebUI):
    """The host through its own modules and the pipelines that it draws with."""

    def __init__(self) -> None:
        self._then: Callable[[], None] | None = None
        self._passes: Passes | None = None

    def cache_dir(self) -> Path | None:
        """Where the hash cache is kept: among the host's data."""
        from modules import paths

        folder = Path(paths.data_path) / "data"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    # The model

    def find_unet(self, p: Processing) -> nn.Module:
        from torch import nn

        from hypernet.sites import fused

        pipe = _pipe(p)
        unet = getattr(pipe, "unet", None)
        if not isinstance(unet, nn.Module):
            raise HypernetError(NO_EFFECT)
        if _compiled(pipe, unet):
            raise HypernetError(
                "The model runs compiled, where hypernetworks can't reach it: take “Model” out of Settings > "
                "Model compile, then load the model again."
            )
        if fused(unet):
            raise HypernetError(
                "Hypernetworks can't act on fused projections: turn the setting “Fused projections” off, "
                "then load the model again."
            )
        return unet

    def read_weight(self, module: nn.Module) -> Tensor | None:
        """Offloading replaces a projection's call and quantising its class: both are beyond reading."""
        from hypernet.engine.tensors import readable_weight

        quantised = hasattr(module, "sdnq_dequantizer")
        forward: Any = type(module).forward
        return None if quantised or forward.__module__ != "torch.nn.modules.linear" else readable_weight(module)

    def new_clock(self, p: Processing) -> RunClock:
        from hypernet.webui.dialects.pass_clock import PassClock

        return PassClock(lambda: _pipe(p), lambda: self.is_hires(p))

    # The picture

    def is_request(self, p: Processing) -> bool:
        """Whether p asks for pictures."""
        return hasattr(p, "extra_generation_params")

    def inner_pass_tags(self, p: Processing) -> list[Any] | None:
        """The tags of the detailer's and of the refiner's pass."""
        return None if self._passes is None else self._passes.tags(p)

    def add_comment(self, p: Processing, text: str) -> None:
        """The host loses comments, and its Control tab has no place for any: a message in the browser, where one is."""
        with suppress(Exception):  # nobody may be at a browser now
            self.warn(text)

    def on_close(self, p: Processing, then: Callable[[], None]) -> None:
        """Requests are drawn one after the other, and the host says when one is through."""
        self._then = then

    def _done(self, p: Processing) -> None:
        """A request ended; the host says so after errors and interrupts, too."""
        if self._passes is not None:
            self._passes.end()
        then, self._then = self._then, None
        if then is not None:
            then()

    # The interface

    def install(self, handler: Handler, catalogue: Catalogue) -> None:
        """Registers the handler, also for the passes that the host activates nothing for."""
        from modules import extra_networks, processing_args, script_callbacks

        self.uninstall()
        self._passes = Passes(handler, extra_networks, processing_args)
        extra_networks.register_extra_network(self._passes)
        script_callbacks.on_after_process(self._done)

    def show_page(self, catalogue: Catalogue) -> None:
        from modules import shared, ui_extra_networks

        from hypernet.webui.dialects.sdnext_page import TITLE, make_page

        pages = shared.extra_networks
        pages[:] = [page for page in pages if page.title != TITLE]
        ui_extra_networks.register_page(make_page(ui_extra_networks, catalogue))

    def route_options(self, app: Any) -> Mapping[str, Any] | None:
        """What a route of the host's own API is guarded by; None where that API is off."""
        from fastapi import Depends
        from modules import shared

        api = getattr(shared, "api", None)
        if api is None:
            return None
        return {"dependencies": [Depends(api.auth)]} if api.credentials else {}

    def uninstall(self) -> None:
        """Gives the host its own function back."""
        if self._passes is not None:
            self._passes.release()


def _pipe(p: Processing) -> Any:
    """The pipeline that makes p's next step."""
    from modules import shared

    return shared.sd_refiner if getattr(p, "is_refiner_pass", False) else shared.sd_model


def _compiled(pipe: Any, unet: nn.Module) -> bool:
    """Whether code that was compiled before, and knows no hooks, runs in the UNet's place."""
    made_by = {type(each).__module__.partition(".")[0] for each in (pipe, unet)}
    if made_by & _COMPILERS or getattr(pipe, "sfast", False) or hasattr(unet, "_orig_mod"):
        return True
    return any(getattr(module, "_compiled_call_impl", None) is not None for module in unet.modules())
