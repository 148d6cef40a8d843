"""The maths of a hypernetwork, as plain functions on plain tensors.

A network holds, for each context width, two small MLPs: one on the path to K, one on the path to V. Each is residual:
`x + strength * f(x)`. Nothing here is an `nn.Module`: WebUIs patch `nn.Linear` for LoRA and half precision, and a
hypernetwork must not go through their patches.

The formulas follow AUTOMATIC1111/stable-diffusion-webui 1.10.1 `modules/hypernetworks/hypernetwork.py` and, for
residual blocks, aria1th/Hypernetwork-MonkeyPatch-Extension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor


def _implicit_dim(x: Tensor) -> int:
    """The axis torch takes when a softmax is built without one, as A1111 builds it."""
    return 0 if x.ndim in (0, 1, 3) else 1


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "celu": F.celu,
        "elu": F.elu,
        "gelu": F.gelu,
        "hardshrink": F.hardshrink,
        "hardsigmoid": F.hardsigmoid,
        "hardswish": F.hardswish,
        "hardtanh": F.hardtanh,
        "leakyrelu": F.leaky_relu,
        "logsigmoid": F.logsigmoid,
        "logsoftmax": lambda x: F.log_softmax(x, _implicit_dim(x)),
        "mish": F.mish,
        "relu": F.relu,
        "relu6": F.relu6,
        "rrelu": F.rrelu,
        "selu": F.selu,
        "sigmoid": torch.sigmoid,
        "silu": F.silu,
        "softmax": lambda x: F.softmax(x, _implicit_dim(x)),
        "softmax2d": lambda x: F.softmax(x, -3),
        "softmin": lambda x: F.softmin(x, _implicit_dim(x)),
        "softplus": F.softplus,
        "softshrink": F.softshrink,
        "softsign": F.softsign,
        "swish": F.hardswish,  # A1111's "swish" is torch.nn.Hardswish, not SiLU
        "tanh": torch.tanh,
        "tanhshrink": F.tanhshrink,
    }
)
"""Every stateless activation A1111 can apply, by the (lower-case) name its files carry. `linear` and `prelu` apart."""


@dataclass(frozen=True, eq=False)
class Linear:
    """`x W^T + b`. weight: (out, in); bias: (out,)."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def to(self, device: torch.device, dtype: torch.dtype) -> Linear:
        return Linear(self.weight.to(device, dtype), None if self.bias is None else self.bias.to(device, dtype))


@dataclass(frozen=True, eq=False)
class LayerNorm:
    """Layer normalisation over the last axis. weight, bias: (width,)."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias)

    def to(self, device: torch.device, dtype: torch.dtype) -> LayerNorm:
        return LayerNorm(self.weight.to(device, dtype), self.bias.to(device, dtype))


@dataclass(frozen=True, eq=False)
class Activation:
    """One of `ACTIVATIONS`; or `prelu`, which learns its slope, weight: (1,) or (width,)."""

    name: str
    weight: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if self.weight is None:
            return ACTIVATIONS[self.name](x)
        return torch.where(x >= 0, x, self.weight * x)

    def to(self, device: torch.device, dtype: torch.dtype) -> Activation:
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
        through = _run(self.block, x)
        if self.skip is not None:
            return F.linear(x, self.skip) + through
        return resize(x, self.width) + through

    def to(self, device: torch.device, dtype: torch.dtype) -> Residual:
        skip = None if self.skip is None else self.skip.to(device, dtype)
        return Residual(tuple(layer.to(device, dtype) for layer in self.block), self.width, skip)


Layer: TypeAlias = "Linear | LayerNorm | Activation | Residual"


def resize(x: Tensor, width: int) -> Tensor:
    """Exact nearest-neighbour resize of the last axis. x: (batch, tokens, any) -> (batch, tokens, width)."""
    return x if x.shape[-1] == width else F.interpolate(x, size=width, mode="nearest-exact")


def _run(layers: Iterable[Layer], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


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
        out = _run(self.layers, x)
        return out - x if self.residual else out

    @property
    def residual(self) -> bool:
        return any(isinstance(layer, Residual) for layer in self.layers)

    @property
    def linear(self) -> bool:
        """Whether f is affine: no activation, no layer norm. Such a net can be folded into a projection."""
        return all(isinstance(layer, Linear) for layer in self.layers)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Net:
        device = torch.device(device)
        return replace(self, layers=tuple(layer.to(device, dtype) for layer in self.layers))

    def tensors(self) -> Iterator[Tensor]:
        """All weights, in the order they are applied."""
        return _tensors(self.layers)


def _tensors(layers: Iterable[Layer]) -> Iterator[Tensor]:
    for layer in layers:
        if isinstance(layer, Residual):
            yield from _tensors(layer.block)
            found: tuple[Tensor | None, ...] = (layer.skip,)
        elif isinstance(layer, Activation):
            found = (layer.weight,)
        else:
            found = (layer.weight, layer.bias)
        yield from (tensor for tensor in found if tensor is not None)


@dataclass(frozen=True, eq=False)
class Pair:
    """The two nets of one width."""

    k: Net
    v: Net


@dataclass(frozen=True)
class Metadata:
    """What a file says about itself, besides weights. The names are A1111's; None or the default where absent."""

    name: str | None = None
    step: int | None = None
    layer_structure: tuple[float, ...] | None = None
    activation_func: str | None = None
    is_layer_norm: bool = False
    activate_output: bool = True
    weight_initialization: str | None = None
    use_dropout: bool = False
    dropout_structure: tuple[float, ...] | None = None
    last_layer_dropout: bool = False
    sd_checkpoint: str | None = None
    sd_checkpoint_name: str | None = None
    optional_info: str | None = None
    skip_connection: bool = False
    upsample_linear: str | bool | None = None
    extra: Mapping[str, object] = field(default_factory=dict)
    """Keys no known program writes: kept for the reader, never interpreted."""
    keys: tuple[str, ...] | None = None
    """The keys the file itself had, in its order, so that it can be written again as it was; None: all of A1111's."""


TEXT_WIDTHS: Mapping[int, str] = MappingProxyType({768: "SD1", 1024: "SD2", 2048: "SDXL"})
"""Width of a base model's text context -> its name. 320, 640 and 1280 are UNet channels that base models share."""


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
        return tuple(sorted(self.pairs))

    @property
    def base(self) -> str:
        """'SD1', 'SD2', 'SDXL' or 'unknown': the base model whose text context this file changes."""
        bases = {TEXT_WIDTHS[width] for width in self.pairs if width in TEXT_WIDTHS}
        return bases.pop() if len(bases) == 1 else "unknown"

    @property
    def linear(self) -> bool:
        """Whether every net is affine, so that it costs nothing once folded."""
        return all(net.linear for net in self.nets())

    def nets(self) -> Iterator[Net]:
        for pair in self.pairs.values():
            yield pair.k
            yield pair.v

    @property
    def nbytes(self) -> int:
        """Bytes of all weights in the type they are stored in."""
        return sum(tensor.numel() * tensor.element_size() for net in self.nets() for tensor in net.tensors())

    @property
    def parameters(self) -> int:
        return sum(tensor.numel() for net in self.nets() for tensor in net.tensors())
