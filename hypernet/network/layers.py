"""The layers of a net as plain data, each a function of its input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from hypernet.network.activations import ACTIVATIONS


@dataclass(frozen=True, eq=False)
class Linear:
    """`x W^T + b`. weight: (out, in); bias: (out,)."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def to(self, device: torch.device, dtype: torch.dtype) -> Linear:
        """The layer on a device in a type."""
        return Linear(self.weight.to(device, dtype), None if self.bias is None else self.bias.to(device, dtype))


@dataclass(frozen=True, eq=False)
class LayerNorm:
    """Layer normalisation over the last axis. weight, bias: (width,)."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias)

    def to(self, device: torch.device, dtype: torch.dtype) -> LayerNorm:
        """The layer on a device in a type."""
        return LayerNorm(self.weight.to(device, dtype), self.bias.to(device, dtype))


@dataclass(frozen=True, eq=False)
class Activation:
    """One of `ACTIVATIONS`; or PReLU, which learns its slope, weight: (1,) or (width,)."""

    name: str
    weight: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if self.weight is None:
            return ACTIVATIONS[self.name](x)
        return torch.where(x >= 0, x, self.weight * x)

    def in_place(self, x: Tensor) -> Tensor:
        """The same, overwriting x where PyTorch can."""
        known = ACTIVATIONS[self.name].in_place if self.weight is None else None
        return self(x) if known is None else known(x)

    @property
    def mixes_tokens(self) -> bool:
        """Whether a token's result depends on other tokens, or on the number of axes."""
        return self.weight is None and ACTIVATIONS[self.name].mixes_tokens

    def to(self, device: torch.device, dtype: torch.dtype) -> Activation:
        """The layer on a device in a type."""
        return self if self.weight is None else replace(self, weight=self.weight.to(device, dtype))


@dataclass(frozen=True, eq=False)
class Residual:
    """MonkeyPatch's block: `skip(x) + block(x)`. Without a weight the skip path resizes x (see `resize`).

    width: the block's output width; skip: (out, in) or None.
    """

    block: tuple[Layer, ...]
    width: int
    skip: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        through = run(self.block, x)
        if self.skip is not None:
            return F.linear(x, self.skip) + through
        return resize(x, self.width) + through

    def to(self, device: torch.device, dtype: torch.dtype) -> Residual:
        """The layer on a device in a type."""
        skip = None if self.skip is None else self.skip.to(device, dtype)
        return Residual(tuple(layer.to(device, dtype) for layer in self.block), self.width, skip)


Layer: TypeAlias = "Linear | LayerNorm | Activation | Residual"
"""What a net is made of."""


def resize(x: Tensor, width: int) -> Tensor:
    """Exact nearest-neighbour resize of the last axis. x: (batch, tokens, any) -> (batch, tokens, width)."""
    return x if x.shape[-1] == width else F.interpolate(x, size=width, mode="nearest-exact")


def run(layers: Iterable[Layer], x: Tensor) -> Tensor:
    """x through the layers, one after the other. x: (batch, tokens, any)."""
    for layer in layers:
        x = layer(x)
    return x


def tensors_of(layers: Iterable[Layer]) -> Iterator[Tensor]:
    """All weights of the layers, in the order they are applied; a block's skip weight comes after the block."""
    for layer in layers:
        if isinstance(layer, Residual):
            yield from tensors_of(layer.block)
            found: tuple[Tensor | None, ...] = (layer.skip,)
        elif isinstance(layer, Activation):
            found = (layer.weight,)
        else:
            found = (layer.weight, layer.bias)
        yield from (tensor for tensor in found if tensor is not None)
