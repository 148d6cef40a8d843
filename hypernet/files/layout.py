"""_Named tensors -> layers. The layers come from the tensors' shapes and indices, not from what the file claims.

    linear.N.weight (out, in), .bias (out)      a linear layer (also linear1, linear2: NovelAI and the first A1111)
    linear.N.weight (width), .bias (width)      layer norm
    linear.N.weight (1), no bias                PReLU
    linear.N.linear.M.*, linear.N.upsample_layer.weight    a residual block of MonkeyPatch

Numbers without a tensor stand for parts without weights: an activation, or dropout, which does nothing here. The order
is A1111's: linear, activation, layer norm, dropout; in a residual block: linear, layer norm, dropout, activation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from hypernet.files.errors import FormatError, shown
from hypernet.files.limits import MAX_LAYER_TENSORS
from hypernet.files.metadata import activation_of
from hypernet.network import Activation, Layer, LayerNorm, Linear, Metadata, Net, Network, Pair, Residual
from hypernet.network.activations import IDENTITY, LEARNED

_NAME = re.compile(r"linear(?:\.(0|[1-9][0-9]{0,4})|([12]))\.(.+)", re.DOTALL)

_Named = tuple[str, Tensor]
"""A tensor and its name in the file."""


@dataclass
class _Chain:
    """Layers while they are put together; width: of what flows out of the last one."""

    width: int
    layers: list[Layer] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


def build(nets: Mapping[int, tuple[Mapping[str, Tensor], Mapping[str, Tensor]]], metadata: Metadata) -> Network:
    """The network of these tensors: width -> (K, V), each name -> tensor. Raises FormatError where they don't fit."""
    activation = activation_of(metadata)
    pairs = {}
    for width, (k, v) in nets.items():
        try:
            pairs[width] = Pair(_net(width, k, activation, metadata), _net(width, v, activation, metadata))
        except FormatError as error:
            raise FormatError(f"width {width}: {error.problem}", error.advice) from None
    return Network(pairs, metadata)


def _net(width: int, tensors: Mapping[str, Tensor], activation: str | None, metadata: Metadata) -> Net:
    if not tensors:
        raise FormatError("the network for K or for V is empty.")
    if len(tensors) > MAX_LAYER_TENSORS:
        raise FormatError(f"it has {len(tensors):,} weights; no hypernetwork has more than {MAX_LAYER_TENSORS}.")
    parts = _by_index({name: (name, tensor) for name, tensor in tensors.items()})
    chain = _Chain(width)
    if "linear.0.weight" in parts[0]:
        _add_blocks(chain, parts, activation)
    else:
        _add_parts(chain, parts, activation, metadata)
    if chain.width != width:
        raise FormatError(f"its last layer gives {chain.width} values instead of {width}.")
    return Net(width, tuple(chain.layers), tuple(chain.names))


def _by_index(tensors: Mapping[str, _Named]) -> dict[int, dict[str, _Named]]:
    """Index -> the rest of the name (`weight`, `bias`, or a name within a residual block) -> tensor. In order."""
    parts: dict[int, dict[str, _Named]] = {}
    for inner, named in tensors.items():
        match = _NAME.fullmatch(inner)
        if not match:
            raise _unknown(named[0])
        index, old, rest = match.groups()
        part = parts.setdefault(int(index) if index else int(old) - 1, {})
        if rest in part:
            raise FormatError(f"{shown(named[0])} is there twice.")
        part[rest] = named
    if 0 not in parts:
        raise FormatError("its first layer is missing.")
    return {index: parts[index] for index in sorted(parts)}


def _add_parts(chain: _Chain, parts: dict[int, dict[str, _Named]], activation: str | None, metadata: Metadata) -> None:
    """A1111's sequence. An activation goes where the file leaves an index free for it, or at the end if it says so."""
    indices = list(parts)
    for index, following in zip(indices, [*indices[1:], None], strict=True):
        layer = _add(chain, parts[index])
        gap = 0 if following is None else following - index - 1
        if gap > 2:
            raise FormatError(f"a layer is missing between linear.{index} and linear.{following}.")
        if gap and activation is None and not _has_dropout(metadata):
            raise FormatError("its layers leave room for an activation, but the file doesn't name one.")
        if isinstance(layer, Linear) and (gap or (following is None and metadata.activate_output)):
            chain.layers += _activations(activation)
    if not any(isinstance(layer, Linear) for layer in chain.layers):
        raise FormatError("it has no linear layer.")


def _add_blocks(chain: _Chain, blocks: dict[int, dict[str, _Named]], activation: str | None) -> None:
    """MonkeyPatch's residual blocks, `skip(x) + block(x)`. Each ends with the activation, also the last one."""
    if list(blocks) != list(range(len(blocks))):
        raise FormatError("a block is missing between the others.")
    for block in blocks.values():
        skip_name, skip = block.pop("upsample_layer.weight", (None, None))
        inner = _Chain(chain.width)
        for part in _by_index(block).values():
            _add(inner, part)
        if sum(isinstance(layer, Linear) for layer in inner.layers) != 1:
            raise FormatError("a residual block has not one linear layer.")
        if skip_name is not None and skip is not None:
            _fit(skip_name, skip, (inner.width, chain.width))
            inner.names.append(skip_name)
        chain.layers.append(Residual((*inner.layers, *_activations(activation)), inner.width, skip))
        chain.names += inner.names
        chain.width = inner.width


def _add(chain: _Chain, part: dict[str, _Named]) -> Layer:
    """Appends the one layer these tensors make."""
    for rest, (name, _) in part.items():
        if rest not in ("weight", "bias"):
            raise _unknown(name)
        if "weight" not in part:
            raise FormatError(f"{shown(name)} has no weight beside it.")
    (name, weight), (bias_name, bias) = part["weight"], part.get("bias", ("", None))
    layer: Layer
    if weight.ndim == 2:
        _fit(name, weight, (weight.shape[0], chain.width))
        chain.width = weight.shape[0]
        layer = Linear(weight, bias)
    elif bias is not None:
        _fit(name, weight, (chain.width,))
        layer = LayerNorm(weight, bias)
    else:
        _fit(name, weight, (1,))
        layer = Activation(LEARNED, weight)
    chain.layers.append(layer)
    chain.names.append(name)
    if bias is not None:
        _fit(bias_name, bias, (chain.width,))
        chain.names.append(bias_name)
    return layer


def _activations(activation: str | None) -> list[Activation]:
    """The activation without weights that a file names, if it names one. PReLU is there as a tensor."""
    return [] if activation is None or activation in (IDENTITY, LEARNED) else [Activation(activation)]


def _fit(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tensor.shape != shape or 0 in shape:
        found, needed = ("x".join(map(str, sizes)) for sizes in (tensor.shape, shape))
        raise FormatError(f"{shown(name)} has the shape {found or '()'}, not {needed}.")


def _has_dropout(metadata: Metadata) -> bool:
    return metadata.use_dropout or any(metadata.dropout_structure or ())


def _unknown(name: str) -> FormatError:
    return FormatError(f"{shown(name)} is no name of a hypernetwork's weight.", "Check which kind of model it is.")
