"""Small random networks for a host's UNet, strong enough to be seen and weak enough not to overflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

import hypernet
from hypernet.network import Activation, Layer, LayerNorm, Linear, Metadata, Net, Network, Pair

SDXL = 2048


def network(
    widths: Sequence[int],
    seed: int,
    activation: str | None = None,
    norm: bool = False,
    dropout: bool = False,
    share: float = 0.5,
) -> Network:
    """layer structure 1, share, 1; activation and norm after the first layer only, as A1111 does without
    `activate_output`; dropout: only marked, as nothing acts while a picture is made."""
    generator = torch.Generator().manual_seed(seed)

    def linear(out: int, into: int) -> Linear:
        weight = torch.randn(out, into, generator=generator) * 0.8 / into**0.5
        return Linear(weight, torch.randn(out, generator=generator) * 0.05)

    def norm_layer(width: int) -> LayerNorm:
        scale = 1 + 0.1 * torch.randn(width, generator=generator)
        return LayerNorm(scale, 0.05 * torch.randn(width, generator=generator))

    def net(width: int) -> Net:
        hidden = max(int(width * share), 1)
        layers: list[Layer] = [linear(hidden, width)]
        layers += [Activation(activation)] if activation else []
        layers += [norm_layer(hidden)] if norm else []
        layers += [linear(width, hidden)]
        layers += [norm_layer(width)] if norm else []
        return Net(width, tuple(layers))

    metadata = Metadata(
        name=f"seed{seed}",
        step=100 * seed,
        layer_structure=(1, share, 1),
        activation_func=activation or "linear",
        is_layer_norm=norm,
        activate_output=False,
        use_dropout=dropout,
        dropout_structure=(0, 0.1, 0) if dropout else None,
    )
    return Network({width: Pair(net(width), net(width)) for width in widths}, metadata)


def write(folder: Path, widths: Sequence[int]) -> None:
    """The networks that tests name, for a UNet of these widths."""
    text = [width for width in widths if width in (768, 1024, SDXL)]
    for name, made in {
        "t-linear.pt": network(widths, 1),
        "t-norm.pt": network(widths, 2, "relu", norm=True),
        "t-swish.pt": network(widths, 3, "swish", dropout=True),
        "t-text.pt": network(text, 4, "relu"),
        "t-safe.safetensors": network(widths, 5, "relu"),
        "t-sdxl.pt": network([SDXL if SDXL not in widths else 768], 6),
    }.items():
        hypernet.save(made, folder / name)
    (folder / "t-broken.pt").write_bytes(b"PK\3\4 this is no archive")


def write_lora(file: Path, shapes: Mapping[str, Sequence[int]]) -> None:
    """shapes: of the UNet's K and V projections, by the name that a LoRA calls them."""
    generator = torch.Generator().manual_seed(7)
    tensors = {}
    for name, (out, into) in shapes.items():
        tensors[f"{name}.lora_down.weight"] = torch.randn(4, into, generator=generator) / into**0.5
        tensors[f"{name}.lora_up.weight"] = torch.randn(out, 4, generator=generator) * 0.3
        tensors[f"{name}.alpha"] = torch.tensor(4.0)
    save_file(tensors, file)
