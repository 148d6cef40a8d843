"""Models that a host's own features want, with random weights: a ControlNet, an IP-Adapter, UNets in GGUF.

Nothing is downloaded. Every file has the names and shapes that hosts recognise published models by, so that the host's
own code loads and runs it; what they draw is noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

UNET = "model.diffusion_model."
_SD1_CROSS_WIDTHS = (320, 320, 640, 640, 1280, 1280, 1280, 1280, 1280, 640, 640, 640, 320, 320, 320, 1280)
"""Of SD1's 16 cross-attentions, in the order in which IP-Adapters number theirs."""


@contextmanager
def file(path: Path, write: Callable[[Path], None]) -> Iterator[Path]:
    """Makes the file for the time of the block. An existing file stays as it is."""
    if path.exists():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write(path)
        yield path
    finally:
        path.unlink(missing_ok=True)


def write_controlnet(path: Path) -> None:
    """For SD1, under diffusers' names."""
    from diffusers import ControlNetModel

    with torch.device("meta"):
        model = ControlNetModel(cross_attention_dim=768, attention_head_dim=8)
    save_file(_random(model.state_dict()), path)


def write_clip_vision(path: Path) -> None:
    """An image encoder of the size L/14: tokens of 768."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        patch_size=14,
        projection_dim=768,
    )
    with torch.device("meta"):
        model = CLIPVisionModelWithProjection(config)
    tensors = _random(model.state_dict())
    tensors["vision_model.embeddings.position_ids"] = torch.arange(257)[None]
    save_file(tensors, path)


def write_ip_adapter(path: Path) -> None:
    """For SD1 and `write_clip_vision`'s tokens: four tokens of 768 for each picture."""
    shapes = {
        "image_proj.proj.weight": (4 * 768, 768),
        "image_proj.proj.bias": (4 * 768,),
        "image_proj.norm.weight": (768,),
        "image_proj.norm.bias": (768,),
    }
    for index, width in enumerate(_SD1_CROSS_WIDTHS):
        for part in ("k", "v"):
            shapes[f"ip_adapter.{2 * index + 1}.to_{part}_ip.weight"] = (width, 768)
    save_file(_random({name: torch.empty(shape, device="meta") for name, shape in shapes.items()}), path)


def write_gguf(path: Path, checkpoint: Path, kind: str) -> None:
    """The checkpoint's UNet as GGUF: its matrices in that type ('Q8_0', 'Q4_0', ...), everything else in float16."""
    import gguf

    writer = gguf.GGUFWriter(path, "sd1")
    unet = {name: tensor for name, tensor in load_file(checkpoint).items() if name.startswith(UNET)}
    for name, tensor in unet.items():
        into = gguf.GGMLQuantizationType[kind if tensor.ndim == 2 else "F16"]
        data = gguf.quants.quantize(tensor.float().numpy(), into)
        writer.add_tensor(name.removeprefix(UNET), data, raw_dtype=into)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_rest(path: Path, checkpoint: Path) -> None:
    """All of a checkpoint but its UNet."""
    save_file({name: tensor for name, tensor in load_file(checkpoint).items() if not name.startswith(UNET)}, path)


def _random(like: Mapping[str, Any]) -> dict[str, Tensor]:
    """Float16 of these shapes: products keep the size of what they are given, norms change nothing."""
    generator = torch.Generator().manual_seed(11)
    return {name: _tensor(name, tensor.shape, generator).half() for name, tensor in like.items()}


def _tensor(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    if len(shape) > 1:
        return torch.randn(shape, generator=generator) / shape[1:].numel() ** 0.5
    return torch.ones(shape) if name.endswith("weight") else 0.02 * torch.randn(shape, generator=generator)
