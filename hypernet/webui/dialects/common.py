"""What stable-diffusion-webui and all that came from it, SD.Next included, have in the same places."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypernet.webui.host import Native, Processing

if TYPE_CHECKING:
    from torch import nn

_NO_MARKUP = str.maketrans("<>", "‹›")
"""gradio 3 shows a sentence as text, gradio 4 as HTML: no stranger's picture may bring a script into either."""


class WebUI:
    """Through the host's own modules, which are imported when they are needed: by then they all are there."""

    native: Native | None = None

    def model_dirs(self) -> Sequence[Path]:
        """The folder of the command line, or the one beside the other models."""
        from modules import paths, shared

        folder = getattr(shared.cmd_opts, "hypernetwork_dir", None)
        folder = Path(folder) if folder else Path(paths.models_path) / "hypernetworks"
        folder.mkdir(parents=True, exist_ok=True)
        return (folder,)

    def may_hash(self) -> bool:
        """Whether files may be hashed (`--no-hashing`)."""
        from modules import shared

        return not getattr(shared.cmd_opts, "no_hashing", False)

    def option(self, key: str, default: Any) -> Any:
        """A setting of the host, or of ours in it; the default where there is none of that name."""
        from modules import shared

        return getattr(shared.opts, key, default)

    def watch(self, unet: nn.Module, found: Callable[[nn.Module], None]) -> Callable[[], None]:
        """Most hosts' hypernetworks act in the UNet alone."""
        return lambda: None

    def model_base(self) -> str:
        """By what the host says of the model in memory; none is loaded for this."""
        models = sys.modules.get("modules.sd_models")
        model = getattr(getattr(models, "model_data", None), "sd_model", None)
        for flag, base in (("is_sdxl", "SDXL"), ("is_sd2", "SD2"), ("is_sd1", "SD1")):
            if getattr(model, flag, False) is True:
                return base
        return "unknown"

    def page_guards(self) -> Sequence[Any]:
        """What guards the routes that the page itself asks: the login of the page, where there is one."""
        from fastapi import Depends

        from hypernet.webui.dialects.login import logged_in

        return [Depends(logged_in)]

    def reserve_memory(self, p: Processing, nbytes: int) -> None:
        """Most hosts offer no way to reserve any."""

    # Other files

    def checkpoints(self) -> Mapping[str, Path]:
        """The checkpoints that the host lists: title -> file or folder."""
        from modules import sd_models

        return {title: Path(info.filename) for title, info in dict(sd_models.checkpoints_list).items()}

    def checkpoints_changed(self) -> None:
        """Makes the host list its checkpoints anew."""
        from modules import sd_models

        sd_models.list_models()

    def lora_dir(self) -> Path:
        """The folder of the command line or of the settings, or the one beside the other models."""
        from modules import paths, shared

        folder = getattr(shared.cmd_opts, "lora_dir", None) or getattr(shared.opts, "lora_dir", None)
        return Path(folder) if folder else Path(paths.models_path) / "Lora"

    def checkpoint_path(self) -> Path | None:
        """Of the model in memory, or of the one that would be loaded next."""
        from modules import sd_models

        model = getattr(getattr(sd_models, "model_data", None), "sd_model", None)
        info = getattr(model, "sd_checkpoint_info", None) or sd_models.select_checkpoint()
        place = getattr(info, "path", None) or getattr(info, "filename", None)
        return Path(place).absolute() if place else None

    def lend_memory(self) -> None:
        """Most hosts have no safe way."""

    def claim_memory(self) -> None:
        """Nothing was lent."""

    # The request

    def is_hires(self, p: Processing) -> bool:
        """Whether p is in its hires pass."""
        return bool(getattr(p, "is_hr_pass", False))

    def networks_disabled(self, p: Processing) -> bool:
        """Whether p asks for a picture without extra networks."""
        return bool(getattr(p, "disable_extra_networks", False))

    def sampled_request(self, params: Any) -> Processing | None:
        """The p of a `CFGDenoiserParams`; its denoiser knows it."""
        return getattr(getattr(params, "denoiser", None), "p", None)

    def inner_pass_tags(self, p: Processing) -> list[Any] | None:
        """Most hosts activate the tags of every pass by themselves."""
        return None

    def batch_prompts(self, p: Processing) -> tuple[Sequence[str], Sequence[str]]:
        """The batch's part of all of p's prompts, and of its negative ones."""
        hires = "hr_" if self.is_hires(p) else ""
        return _batch(p, f"all_{hires}prompts"), _batch(p, f"all_{hires}negative_prompts")

    def add_to_prompts(self, p: Processing, tag: str) -> None:
        """Writes a tag that a setting adds into all of p's prompts."""
        p.all_prompts = [prompt if tag in prompt else prompt + tag for prompt in p.all_prompts]

    def parameters(self, p: Processing) -> dict[str, Any]:
        """What is written below p's pictures, to be changed in place."""
        params: dict[str, Any] = p.extra_generation_params
        return params

    def restore_after(self, p: Processing, keys: Sequence[str]) -> None:
        """Most hosts restore what a request changed, saved before or not."""

    def add_late_comments(self, processed: Any, texts: Sequence[str]) -> None:
        """Adds what is not there yet to the comments of a result that is already made."""
        comments = getattr(processed, "comments", None)
        if isinstance(comments, str):
            processed.comments = comments + "".join(f"{text}\n" for text in texts if text not in comments)

    # Messages

    def warn(self, text: str) -> None:
        """Shows a sentence to whoever is at the browser now."""
        import gradio

        gradio.Warning(text.translate(_NO_MARKUP))

    # The interface

    def publish(self, files: Mapping[str, str]) -> None:
        """Fills the list that other extensions and the host's API read."""
        from modules import shared

        shared.hypernetworks = dict(files)

    def option_info(self) -> Any:
        """The class of a setting's description."""
        from modules import shared

        return shared.OptionInfo

    def add_settings(self, section: tuple[str, str], infos: Mapping[str, Any]) -> None:
        """infos: key -> `OptionInfo`."""
        from modules import shared

        for key, info in infos.items():
            info.section = section
            info.category_id = "sd"  # where the hosts have the settings of all extra networks
            shared.opts.add_option(key, info)

    def axes(self) -> Sequence[Any]:
        """The modules that hold the axes of the X/Y/Z plot."""
        from modules import scripts

        modules = (getattr(data, "module", None) for data in scripts.scripts_data)
        return [module for module in modules if hasattr(module, "axis_options") and hasattr(module, "AxisOption")]

    def on_api_infotext(self, rename: Callable[[dict[str, Any]], None]) -> None:
        """Most hosts' API takes no infotext."""


def _batch(p: Processing, name: str) -> Sequence[str]:
    """The texts of the batch that is drawn now; name: of a list with the texts of all batches."""
    size, begin = int(getattr(p, "batch_size", 1)), int(getattr(p, "iteration", 0))
    texts = list(getattr(p, name, None) or ())[begin * size : (begin + 1) * size]
    return [str(text) for text in texts]
