"""Full-size UNets with random weights, and something to call them with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.table import Options

TEXT = {"sd15": 768, "sdxl": 2048}
"""Width of a model's text context."""


def make_unet(model: str, options: Options) -> nn.Module:
    """A UNet of full size with random weights. model: sd15 or sdxl."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    with torch.device(options.device):
        default = torch.get_default_dtype()
        torch.set_default_dtype(options.dtype)  # never two types of it in memory
        try:
            unet: nn.Module = UNet2DConditionModel(**_CONFIGS[model]).eval()
            return unet
        finally:
            torch.set_default_dtype(default)


_CONFIGS: dict[str, dict[str, Any]] = {
    "sd15": {"cross_attention_dim": 768, "sample_size": 64, "attention_head_dim": 8},
    "sdxl": {
        "cross_attention_dim": 2048,
        "sample_size": 128,
        "attention_head_dim": (5, 10, 20),
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}


def make_call(unet: nn.Module, model: str, size: int, options: Options) -> Callable[[], None]:
    """One step: the UNet on `batch` pictures of size x size pixels and 77 tokens of text."""
    where: dict[str, Any] = {"device": options.device, "dtype": options.dtype}
    x = torch.randn(options.batch, 4, size // 8, size // 8, **where)
    text = torch.randn(options.batch, 77, TEXT[model], **where)
    more = None
    if model == "sdxl":
        more = {
            "text_embeds": torch.randn(options.batch, 1280, **where),
            "time_ids": torch.zeros(options.batch, 6, **where),
        }

    def call() -> None:
        with torch.no_grad():
            unet(x, 500, text, added_cond_kwargs=more)
            if x.is_cuda:
                torch.cuda.synchronize()

    return call
