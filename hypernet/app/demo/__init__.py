"""The embedded demo: a small Stable Diffusion and three hypernetworks, made by `tools/train_demo.py`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

WEIGHTS = Path(__file__).parent / "weights"
"""The folder of the model, as diffusers writes one."""

NETWORKS = Path(__file__).parent / "hypernetworks"
"""The folder of its hypernetworks."""


def load_demo(folder: Path = WEIGHTS, dtype: torch.dtype | None = None) -> Any:
    """The demo as a diffusers pipeline, in float32 unless told otherwise. Raises FileNotFoundError.

    `pipe("a red circle", num_inference_steps=20, guidance_scale=3)` draws without a network connection.
    """
    import torch
    from diffusers import StableDiffusionPipeline

    if not (folder / "model_index.json").is_file():
        raise FileNotFoundError(f"{folder}: the demo model is not here; `python tools/train_demo.py` makes it")
    pipe = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    wanted = dtype or torch.float32
    for part in (pipe.unet, pipe.vae, pipe.text_encoder):
        if part.dtype != wanted:
            part.to(wanted)
    pipe.set_progress_bar_config(disable=True)
    return pipe
