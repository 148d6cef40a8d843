"""What stable-diffusion-webui and all that came from it, SD.Next included, have in the same places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hypernet.webui.host import Native, Processing

_NO_MARKUP = str.maketrans("<>", "‹›")
"""gradio 3 shows a sentence as text, gradio 4 as HTML: no stranger's picture may bring a script into either."""


class WebUI:
    """Through the host's own modules, which are imported when they are needed: by then they all are there."""

    native: Native | None = None

    def model_dirs(self) -> Sequence[Path]:
        from modules import paths, shared

        folder = getattr(shared.cmd_opts, "hypernetwork_dir", None)
        folder = Path(folder) if folder else Path(paths.models_path) / "hypernetworks"
        folder.mkdir(parents=True, exist_ok=True)
        return (folder,)

    def may_hash(self) -> bool:
        from modules import shared

        return not getattr(shared.cmd_opts, "no_hashing", False)

    def option(self, key: str, default: Any) -> Any:
        from modules import shared

        return getattr(shared.opts, key, default)

    def outlast(self, p: Processing, keys: Sequence[str]) -> None:
        """Most hosts restore what a request changed, saved before or not."""

    def reserve_memory(self, p: Processing, nbytes: int) -> None:
        """Most hosts offer no way to reserve any."""

    def part_of_run(self, p: Processing) -> list[Any] | None:
        return None

    def tell(self, text: str) -> None:
        import gradio

        gradio.Warning(text.translate(_NO_MARKUP))

    def publish(self, files: Mapping[str, str]) -> None:
        from modules import shared

        shared.hypernetworks = dict(files)

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
