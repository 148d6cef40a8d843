"""AUTOMATIC1111's dialect: stable-diffusion-webui 1.9 and later, and what its descendants share with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypernet.errors import HypernetError
from hypernet.hosts.cfg_clock import CfgClock
from hypernet.hosts.host import Handler, Native, Processing, RunClock

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hypernet.session import Session

_NO_MARKUP = str.maketrans("<>", "‹›")
"""gradio 3 shows a sentence as text, gradio 4 as HTML: no stranger's picture may bring a script into either."""


class A1111:
    """The host through its own modules, which are imported when they are needed: by then they all are there."""

    def __init__(self) -> None:
        self.native: Native | None = None
        self._list_native: Callable[[str], dict[str, str]] | None = None

    # Places and options

    def model_dirs(self) -> Sequence[Path]:
        from modules import paths, shared

        folder = getattr(shared.cmd_opts, "hypernetwork_dir", None)
        folder = Path(folder) if folder else Path(paths.models_path) / "hypernetworks"
        folder.mkdir(parents=True, exist_ok=True)
        return (folder,)

    def cache_dir(self) -> Path | None:
        from modules import paths

        folder = Path(os.environ.get("SD_WEBUI_CACHE_DIR") or Path(paths.data_path) / "cache")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def may_hash(self) -> bool:
        from modules import shared

        return not getattr(shared.cmd_opts, "no_hashing", False)

    def option(self, key: str, default: Any) -> Any:
        from modules import shared

        return getattr(shared.opts, key, default)

    def outlast(self, p: Processing, keys: Sequence[str]) -> None:
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
            raise HypernetError("Hypernetworks have no effect on this kind of model.")
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

    def new_clock(self, p: Processing) -> RunClock:
        return CfgClock()

    def reserve_memory(self, p: Processing, nbytes: int) -> None:
        """This host manages no memory."""

    # The picture

    def is_run(self, p: Processing) -> bool:
        return getattr(p, "all_prompts", None) is not None

    def part_of_run(self, p: Processing) -> list[Any] | None:
        return None

    def comment(self, p: Processing, text: str) -> None:
        p.comment(text)

    def tell(self, text: str) -> None:
        import gradio

        gradio.Warning(text.translate(_NO_MARKUP))

    def when_done(self, p: Processing, then: Callable[[], None]) -> None:
        """Whoever makes a p closes it, also after an error."""
        close = p.close

        def close_and_tell() -> None:
            try:
                close()
            finally:
                then()

        p.close = close_and_tell

    # The interface

    def take_over(self, handler: Handler) -> None:
        from modules import extra_networks, shared

        before = extra_networks.extra_network_registry.get(handler.name)
        if before is not None and before is not handler:
            self.native = _Native(before, shared)
            self.native.clear()  # nobody else would, from now on
        extra_networks.register_extra_network(handler)
        native: Any = sys.modules.get("modules.hypernetworks.hypernetwork")
        if native is not None and self._list_native is None:
            self._list_native = native.list_hypernetworks
            native.list_hypernetworks = lambda path: dict(handler.list_files())

    def publish(self, files: Mapping[str, str]) -> None:
        from modules import shared

        shared.hypernetworks = dict(files)

    def show_page(self, session: Session) -> None:
        from modules import ui_extra_networks

        from hypernet.ui.cards import make_page

        pages = ui_extra_networks.extra_pages
        pages[:] = [page for page in pages if page.name != "hypernetworks"]
        ui_extra_networks.register_page(make_page(ui_extra_networks, session))

    def option_info(self) -> Any:
        from modules import shared

        return shared.OptionInfo

    def add_settings(self, section: tuple[str, str], infos: Mapping[str, Any]) -> None:
        from modules import shared

        for key, info in infos.items():
            info.section = section
            shared.opts.add_option(key, info)

    def axes(self) -> Sequence[Any]:
        """The modules that hold the axes of the X/Y/Z plot."""
        from modules import scripts

        modules = (getattr(data, "module", None) for data in scripts.scripts_data)
        return [module for module in modules if hasattr(module, "axis_options") and hasattr(module, "AxisOption")]

    def route_options(self, app: Any) -> Mapping[str, Any] | None:
        """What a route of the host's own API is guarded by; None where that API is off."""
        own = [route for route in app.routes if getattr(route, "path", "").startswith("/sdapi/v1/")]
        return {"dependencies": list(own[0].dependencies)} if own else None

    def release(self) -> None:
        native: Any = sys.modules.get("modules.hypernetworks.hypernetwork")
        if native is not None and self._list_native is not None:
            native.list_hypernetworks, self._list_native = self._list_native, None


class _Native:
    """The host's own handler and its list of what is applied."""

    def __init__(self, handler: Any, shared: Any) -> None:
        self._handler, self._shared = handler, shared

    def activate(self, p: Processing, params_list: list[Any]) -> None:
        self._handler.activate(p, params_list)

    def loaded(self) -> Sequence[str]:
        return [str(getattr(each, "name", each)) for each in self._shared.loaded_hypernetworks]

    def clear(self) -> None:
        self._shared.loaded_hypernetworks.clear()
