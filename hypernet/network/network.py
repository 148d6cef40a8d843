"""Networks: for each width a K net and a V net, made of layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from hypernet.network.bases import base_of
from hypernet.network.layers import Layer, Linear, Residual, run, tensors_of
from hypernet.network.metadata import Metadata


@dataclass(frozen=True, eq=False)
class Net:
    """One MLP of a network, for one width and one of K and V.

    `net(x, s)` is `x + s * f(x)`, x: (batch, tokens, width), any floating dtype; the result has x's shape and dtype.
    A net that carries its own skip path (`residual`) is trained as `net(x)`, so there `f(x) = layers(x) - x`.
    """

    width: int
    layers: tuple[Layer, ...]
    names: tuple[str, ...] = ()
    """The weights' names in the file (`linear.0.weight`, ...), beside `tensors()`; empty for a net made in code."""

    def __call__(self, x: Tensor, strength: float = 1.0) -> Tensor:
        return torch.add(x, self.delta(x), alpha=strength)

    def delta(self, x: Tensor) -> Tensor:
        """f(x), the change that a strength of 1 adds."""
        out = run(self.layers, x)
        return out - x if self.residual else out

    @property
    def residual(self) -> bool:
        """Whether the net carries its own skip path (MonkeyPatch's blocks)."""
        return any(isinstance(layer, Residual) for layer in self.layers)

    @property
    def linear(self) -> bool:
        """Whether f is affine: no activation, no layer norm. Such a net can be folded into a projection."""
        return all(isinstance(layer, Linear) for layer in self.layers)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Net:
        """The net on a device in a type; weights that are there already are shared, not copied."""
        device = torch.device(device)
        return replace(self, layers=tuple(layer.to(device, dtype) for layer in self.layers))

    def tensors(self) -> Iterator[Tensor]:
        """All weights, in the order they are applied."""
        return tensors_of(self.layers)


@dataclass(frozen=True, eq=False)
class Pair:
    """The two nets of one width."""

    k: Net
    v: Net


@dataclass(frozen=True, eq=False)
class Network:
    """The weights of one file: for each width a K net and a V net, and what the file says about itself."""

    pairs: Mapping[int, Pair]
    metadata: Metadata = field(default_factory=Metadata)

    def __call__(self, context: Tensor, strength: float = 1.0) -> tuple[Tensor, Tensor]:
        """The contexts K and V are made from. context: (batch, tokens, width) -> two of the same shape and dtype.

        A width the file lacks leaves the context untouched.
        """
        pair = self.pairs.get(context.shape[-1])
        if pair is None:
            return context, context
        k, v = (net.to(context.device, context.dtype) for net in (pair.k, pair.v))
        return k(context, strength), v(context, strength)

    @property
    def widths(self) -> tuple[int, ...]:
        """The context widths it has nets for, in rising order."""
        return tuple(sorted(self.pairs))

    @property
    def base(self) -> str:
        """'SD1', 'SD2', 'SDXL' or 'unknown': the base model whose text context this file changes."""
        return base_of(self.pairs)

    @property
    def linear(self) -> bool:
        """Whether every net is affine, so that it costs nothing once folded."""
        return all(net.linear for net in self.nets())

    def nets(self) -> Iterator[Net]:
        """All nets: for each width K, then V."""
        for pair in self.pairs.values():
            yield pair.k
            yield pair.v

    @property
    def nbytes(self) -> int:
        """Bytes of all weights in the type they are stored in."""
        return sum(tensor.numel() * tensor.element_size() for net in self.nets() for tensor in net.tensors())

    @property
    def parameters(self) -> int:
        """How many numbers all weights have together."""
        return sum(tensor.numel() for net in self.nets() for tensor in net.tensors())
