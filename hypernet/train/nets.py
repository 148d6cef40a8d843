"""Networks to be trained: made anew as A1111 makes them, or copied from a file, with weights that take gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from hypernet.errors import HypernetError
from hypernet.network import ACTIVATIONS, Activation, Layer, LayerNorm, Linear, Metadata, Net, Network, Pair

INITS = ("Normal", "KaimingNormal", "KaimingUniform", "XavierNormal", "XavierUniform")
"""How weights begin, in A1111's names. With Normal a network begins near zero; the others begin loudly."""


@dataclass(frozen=True)
class Structure:
    """The shape of each net, in A1111's words.

    layers: widths of the net's layers as multiples of its own; the first and the last are 1.
    dropout: the rate after each, as long as `layers`, 0 at both ends; or empty.
    """

    layers: tuple[float, ...] = (1, 2, 1)
    activation: str = "linear"
    layer_norm: bool = False
    init: str = "Normal"
    dropout: tuple[float, ...] = ()

    def check(self) -> None:
        """Raises HypernetError, with the reason, for a structure that can't be."""
        if len(self.layers) < 2 or self.layers[0] != 1 or self.layers[-1] != 1:
            raise HypernetError("The layer structure must begin and end with 1, such as 1, 2, 1.")
        if not all(0 < size <= 16 for size in self.layers):
            raise HypernetError("The sizes in a layer structure lie above 0 and up to 16.")
        if self.activation not in ACTIVATIONS and self.activation != "linear":
            known = ", ".join(["linear", *ACTIVATIONS])
            raise HypernetError(f"There is no activation “{self.activation}”. Choose one of {known}.")
        if self.init not in INITS:
            raise HypernetError(f"There is no initialisation “{self.init}”. Choose one of {', '.join(INITS)}.")
        if self.dropout and (len(self.dropout) != len(self.layers) or self.dropout[0] or self.dropout[-1]):
            raise HypernetError("Dropout needs a rate for each size in the layer structure, 0 at both ends.")
        if not all(0 <= rate < 1 for rate in self.dropout):
            raise HypernetError("Dropout rates lie between 0 and 1.")


def new_network(widths: Sequence[int], structure: Structure, seed: int) -> Network:
    """A fresh network in float32; the same seed gives the same one. Raises HypernetError for a bad structure."""
    structure.check()
    generator = torch.Generator().manual_seed(seed)
    metadata = Metadata(
        step=0,
        layer_structure=structure.layers,
        activation_func=structure.activation,
        is_layer_norm=structure.layer_norm,
        activate_output=False,
        weight_initialization=structure.init,
        use_dropout=any(structure.dropout),
        dropout_structure=structure.dropout or (0,) * len(structure.layers),
    )
    pairs = {
        width: Pair(_new_net(width, structure, generator), _new_net(width, structure, generator)) for width in widths
    }
    return Network(pairs, metadata)


def _new_net(width: int, structure: Structure, generator: torch.Generator) -> Net:
    sizes = [max(1, int(width * size)) for size in structure.layers]
    layers: list[Layer] = []
    for place, (inside, outside) in enumerate(pairwise(sizes)):
        layers.append(Linear(_weight(outside, inside, structure, generator), torch.zeros(outside)))
        if structure.activation != "linear" and place + 2 < len(sizes):
            layers.append(Activation(structure.activation))
        if structure.layer_norm:
            layers.append(LayerNorm(torch.randn(outside, generator=generator) * 0.01, torch.zeros(outside)))
    return Net(width, tuple(layers))


def _weight(outside: int, inside: int, structure: Structure, generator: torch.Generator) -> Tensor:
    slope: Literal["leaky_relu", "relu"] = "leaky_relu" if structure.activation == "leakyrelu" else "relu"
    fill: Mapping[str, Callable[..., Tensor]] = {
        "Normal": partial(nn.init.normal_, std=0.01),
        "KaimingNormal": partial(nn.init.kaiming_normal_, nonlinearity=slope),
        "KaimingUniform": partial(nn.init.kaiming_uniform_, nonlinearity=slope),
        "XavierNormal": nn.init.xavier_normal_,
        "XavierUniform": nn.init.xavier_uniform_,
    }
    return _seeded(fill[structure.init], torch.empty(outside, inside), generator)


def _seeded(fill: Callable[..., Tensor], weight: Tensor, generator: torch.Generator) -> Tensor:
    """torch 2.0's initialisers take no generator: they draw from the global one, which is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(1 << 62, (), generator=generator)))
        return fill(weight)


def trainable(network: Network, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Network:
    """A copy whose weights take gradients, but for those without an effect: these are 0 (see `idle_biases`)."""
    pairs = {
        width: Pair(_trainable(pair.k, True, device, dtype), _trainable(pair.v, False, device, dtype))
        for width, pair in network.pairs.items()
    }
    return Network(pairs, network.metadata)


def _trainable(net: Net, key: bool, device: torch.device | str, dtype: torch.dtype) -> Net:
    copy = net.to(device, dtype)
    idle = idle_biases(copy.layers) if key else 0
    layers = list(copy.layers)
    for place, layer in enumerate(copy.layers):
        held = place >= len(layers) - idle
        layers[place] = _leaf(layer, held)
    return replace(copy, layers=tuple(layers))


def _leaf(layer: Layer, held: bool) -> Layer:
    def leaf(tensor: Tensor) -> Tensor:
        return tensor.detach().clone().contiguous().requires_grad_()

    if isinstance(layer, (Linear, LayerNorm)):
        bias = layer.bias
        if bias is not None:
            bias = torch.zeros_like(bias) if held else leaf(bias)
        return replace(layer, weight=leaf(layer.weight), bias=bias)  # type: ignore[arg-type]
    if isinstance(layer, Activation):
        return layer if layer.weight is None else replace(layer, weight=leaf(layer.weight))
    raise HypernetError("Networks with residual blocks can be used, but not trained.")


def idle_biases(layers: Sequence[Layer]) -> int:
    """How many layers at the end of a K net have a bias that does nothing: it adds the same to every key, which the
    softmax over the keys cancels. An optimizer would make steps out of its gradient's rounding noise."""
    count = 0
    for layer in reversed(layers):
        if not isinstance(layer, (Linear, LayerNorm)):
            break
        count += 1
        if isinstance(layer, LayerNorm):
            break
    return count


def all_weights(network: Network) -> list[Tensor]:
    """Every weight in the order A1111 numbers them in a `.optim`: widths as in the file, K before V, layer by layer."""
    return [tensor for net in network.nets() for tensor in net.tensors()]


def parameters(network: Network) -> list[Tensor]:
    """The weights that are trained, in the same order."""
    return [tensor for tensor in all_weights(network) if tensor.requires_grad]


def drop_rates(net: Net, metadata: Metadata) -> tuple[float, ...]:
    """Dropout after each layer of a net: it comes last in each stage of linear layer, activation and layer norm."""
    structure = metadata.dropout_structure or ()
    rates, stage = [], 0
    for place, layer in enumerate(net.layers):
        stage += isinstance(layer, Linear)
        last = place + 1 == len(net.layers) or isinstance(net.layers[place + 1], Linear)
        rates.append(float(structure[stage]) if last and stage < len(structure) else 0.0)
    return tuple(rates)


def finite(network: Network) -> bool:
    """Whether every weight is a number."""
    return all(math.isfinite(float(tensor.detach().sum())) for tensor in all_weights(network))
