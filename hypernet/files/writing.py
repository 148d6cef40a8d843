"""`save`: a network into a `.pt` or `.safetensors`, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from hypernet.atomic import writing
from hypernet.errors import HypernetError
from hypernet.files import safetensors
from hypernet.files.errors import FormatError, shown
from hypernet.files.metadata import values_to_write
from hypernet.files.pt import writer
from hypernet.files.reading import outline
from hypernet.files.summary import flat, structure
from hypernet.files.weights import INFINITY
from hypernet.network import Activation, Layer, LayerNorm, Linear, Metadata, Net, Network, Residual

_WRITERS = {".pt": writer.write, ".safetensors": safetensors.write}


def save(
    network: Network, path: str | os.PathLike[str], *, dtype: torch.dtype | None = None, overwrite: bool = False
) -> None:
    """Writes the network; the suffix says how: `.safetensors`, or `.pt` for programs that read nothing else.

    dtype: type of the stored weights; as they are when None. Without it nothing is lost: weights, names and metadata
    come back bit for bit. An existing file is only replaced with `overwrite`, and then whole or not at all. What was
    written is read before it takes its place, so that no file is left that gives another network, or none.
    A network made in code whose metadata names no activation gets what its layers tell.
    Raises HypernetError: another suffix, a file in the way, a type that can't hold the weights, layers or metadata that
    no file can carry; OSError from the disk.
    """
    target = Path(path)
    write = _WRITERS.get(target.suffix.lower())
    if write is None:
        raise HypernetError(f"{target.name}: a hypernetwork is saved as .safetensors or .pt. Choose one of the two.")
    if not overwrite and os.path.lexists(target):
        raise HypernetError(
            f"{target.name}: there is a file of this name already. Choose another name or overwrite it."
        )
    network = _described(network)
    stored = {width: tuple(_stored(net, dtype, target.name) for net in pair) for width, pair in named(network).items()}
    try:
        with writing(target) as stream:
            write(network, stored, stream)
            stream.flush()
            _check(outline(stream.name), network)
    except FormatError as error:
        raise HypernetError(f"{target.name}: {error.problem} {error.for_writers}") from None


def _described(network: Network) -> Network:
    """The network with metadata that tell of its layers, where it was made in code and says nothing of them."""
    metadata = network.metadata
    names = {layer.name for net in network.nets() for layer in flat(net.layers) if isinstance(layer, Activation)}
    if metadata.keys is not None or metadata.activation_func is not None or not names:
        return network
    if len(names) > 1:
        raise HypernetError(f"A network has one activation for all its layers, not {' and '.join(sorted(names))}.")
    net = next(network.nets())
    layers = list(flat(net.layers))
    told = replace(
        metadata,
        activation_func=names.pop(),
        activate_output=net.residual or isinstance(layers[-1], Activation),
        is_layer_norm=any(isinstance(layer, LayerNorm) for layer in layers),
        layer_structure=metadata.layer_structure or structure(net),
    )
    return replace(network, metadata=told)


def _check(written: Network, network: Network) -> None:
    """Raises FormatError unless the nets are the same: readers build them from the weights' names and the metadata."""
    if _forms(written) != _forms(network):
        raise FormatError(
            "its layers are not those that its names and metadata tell of.",
            "Correct activation_func and activate_output in its metadata, or leave them out.",
        )
    if lost := values_to_write(network.metadata).keys() - values_to_write(written.metadata).keys():
        raise FormatError(
            f"its metadata holds what this kind of file can't carry: {shown(min(lost))}.", "Leave it out."
        )


def _forms(network: Network) -> object:
    """The nets without their weights' values."""
    return {
        (width, which): [[_form(layer) for layer in net.layers], list(_named(net, network.metadata))]
        for width, pair in network.pairs.items()
        for which, net in (("k", pair.k), ("v", pair.v))
    }


def _form(layer: Layer) -> object:
    match layer:
        case Residual(block, width, skip):
            return [_form(inner) for inner in block], width, skip is None
        case Activation(name, weight):
            return name, weight is None
        case Linear(weight, bias) | LayerNorm(weight, bias):
            return type(layer), weight.shape, bias is None


def named(network: Network) -> dict[int, tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """The weights by width, K or V, and name, in the order of the layers."""
    return {
        width: (_named(pair.k, network.metadata), _named(pair.v, network.metadata))
        for width, pair in network.pairs.items()
    }


def _named(net: Net, metadata: Metadata) -> dict[str, Tensor]:
    tensors = list(net.tensors())
    names = net.names if len(net.names) == len(tensors) else a1111_names(net.layers, metadata)
    return dict(zip(names, tensors, strict=True))


def _stored(net: Mapping[str, Tensor], dtype: torch.dtype | None, file: str) -> dict[str, Tensor]:
    """The weights as they go into the file: in memory, in one piece, of a type every reader knows."""
    made = {}
    for name, tensor in net.items():
        cast = tensor.detach().to("cpu", dtype or tensor.dtype).contiguous()
        if cast.dtype not in INFINITY:
            raise HypernetError(f"{file}: weights can't be saved as {str(cast.dtype).removeprefix('torch.')}.")
        if not bool(torch.isfinite(cast).all()):
            raise HypernetError(f"{file}: some weights are not finite in this type, so that nothing was saved.")
        made[name] = cast
    return made


def a1111_names(layers: tuple[Layer, ...], metadata: Metadata) -> tuple[str, ...]:
    """The names A1111 gives these layers: their place in its sequence, in which activation and dropout count."""
    names: list[str] = []
    index, linears = 0, 0
    dropout = metadata.dropout_structure or ()
    for position, layer in enumerate(layers):
        if isinstance(layer, Residual):
            names += [
                f"linear.{position}.linear.{name.removeprefix('linear.')}"
                for name in a1111_names(layer.block, Metadata())
            ]
            names += [f"linear.{position}.upsample_layer.weight"] if layer.skip is not None else []
            continue
        if isinstance(layer, Linear):
            linears += 1
        has_bias = isinstance(layer, LayerNorm) or (isinstance(layer, Linear) and layer.bias is not None)
        if not isinstance(layer, Activation) or layer.weight is not None:
            names.append(f"linear.{index}.weight")
        names += [f"linear.{index}.bias"] if has_bias else []
        index += 1
        last_of_stage = position + 1 == len(layers) or isinstance(layers[position + 1], Linear)
        if last_of_stage and linears < len(dropout) and dropout[linears] > 0:
            index += 1
    return tuple(names)
