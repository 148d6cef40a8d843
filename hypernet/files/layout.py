"""Named tensors -> layers. The layers come from the tensors' shapes and indices, not from what the file claims.

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

from hypernet.files.metadata import activation_of
from hypernet.files.refused import Refused, shown
from hypernet.network import Activation, Layer, LayerNorm, Linear, Metadata, Net, Network, Pair, Residual

MAX_WEIGHTS = 512
"""Named tensors of one net. A1111's largest known has some 20."""

_INDEX = r"(0|[1-9][0-9]{0,4})"
NAME = re.compile(rf"linear(?:\.{_INDEX}|([12]))\.(?:linear\.{_INDEX}\.|(upsample_layer)\.)?(weight|bias)")


@dataclass
class _Part:
    """The tensors under one index: name and tensor."""

    weight: tuple[str, Tensor] | None = None
    bias: tuple[str, Tensor] | None = None


@dataclass
class _Block:
    """What lies under one index of the outer sequence: a part, or the parts of a residual block."""

    own: _Part = field(default_factory=_Part)
    parts: dict[int, _Part] = field(default_factory=dict)
    skip: _Part = field(default_factory=_Part)


@dataclass
class _Chain:
    """Layers while they are put together; width: of what flows out of the last one."""

    width: int
    layers: list[Layer] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


def build(nets: Mapping[int, tuple[Mapping[str, Tensor], Mapping[str, Tensor]]], metadata: Metadata) -> Network:
    """The network of these tensors: width -> (K, V), each name -> tensor. Raises Refused where they don't fit."""
    activation = activation_of(metadata)
    pairs = {}
    for width, (k, v) in nets.items():
        try:
            pairs[width] = Pair(_net(width, k, activation, metadata), _net(width, v, activation, metadata))
        except Refused as refused:
            raise Refused(f"Width {width}: {refused.problem}", refused.advice) from None
    return Network(pairs, metadata)


def _net(width: int, tensors: Mapping[str, Tensor], activation: str | None, metadata: Metadata) -> Net:
    blocks = _blocks(tensors)
    chain = _Chain(width)
    if any(block.parts for block in blocks.values()):
        for block in blocks.values():
            _add_residual(chain, block, activation)
    else:
        _add_parts(chain, {index: block.own for index, block in blocks.items()}, activation, metadata)
    if chain.width != width:
        raise Refused(f"its last layer gives {chain.width} values instead of {width}.")
    return Net(width, tuple(chain.layers), tuple(chain.names))


def _blocks(tensors: Mapping[str, Tensor]) -> dict[int, _Block]:
    """The tensors by index, in the order of their indices."""
    if not tensors:
        raise Refused("the network for K or for V is empty.")
    if len(tensors) > MAX_WEIGHTS:
        raise Refused(f"it has {len(tensors):,} weights; no hypernetwork has more than {MAX_WEIGHTS}.")
    blocks: dict[int, _Block] = {}
    for name, tensor in tensors.items():
        match = NAME.fullmatch(name)
        if not match:
            raise Refused(f"{shown(name)} is no name of a hypernetwork's weight.", "Check which kind of model it is.")
        outer, old, inner, skip, kind = match.groups()
        index = int(outer) if outer else int(old) - 1
        block = blocks.get(index) or blocks.setdefault(index, _Block())
        part = block.skip if skip else block.parts.setdefault(int(inner), _Part()) if inner else block.own
        if getattr(part, kind) is not None:
            raise Refused(f"{shown(name)} is there twice.")
        setattr(part, kind, (name, tensor))
    return dict(sorted(blocks.items()))


def _add_parts(chain: _Chain, parts: dict[int, _Part], activation: str | None, metadata: Metadata) -> None:
    """A1111's sequence. An activation goes where the file leaves an index free for it, or at the end if it says so."""
    indices = list(parts)
    linears = [index for index in indices if _is_linear(parts[index])]
    if indices[0] != 0:
        raise Refused("its first layer is missing.")
    for index, following in zip(indices, [*indices[1:], None], strict=True):
        _add(chain, parts[index])
        gap = 0 if following is None else following - index - 1
        if gap > 2:
            raise Refused(f"a layer is missing between linear.{index} and linear.{following}.")
        if gap and activation is None and not _has_dropout(metadata):
            raise Refused("its layers leave room for an activation, but the file doesn't name one.")
        if index in linears and activation not in (None, "linear", "prelu"):
            assert activation is not None
            if gap or (following is None and metadata.activate_output):
                chain.layers.append(Activation(activation))
    if not linears:
        raise Refused("it has no linear layer.")


def _add_residual(chain: _Chain, block: _Block, activation: str | None) -> None:
    """`skip(x) + block(x)`: every block ends with the activation, also the last one."""
    if block.own.weight or block.own.bias or not block.parts or block.skip.bias:
        raise Refused("it mixes residual blocks with other layers.")
    inner = _Chain(chain.width)
    for index in sorted(block.parts):
        _add(inner, block.parts[index])
    if activation not in (None, "linear", "prelu"):
        assert activation is not None
        inner.layers.append(Activation(activation))
    chain.names += inner.names
    skip = None
    if block.skip.weight:
        name, skip = block.skip.weight
        if tuple(skip.shape) != (inner.width, chain.width):
            raise Refused(f"{shown(name)} has the shape {_shape(skip)}, not {inner.width}x{chain.width}.")
        chain.names.append(name)
    chain.layers.append(Residual(tuple(inner.layers), inner.width, skip))
    chain.width = inner.width


def _add(chain: _Chain, part: _Part) -> None:
    """Appends the one layer these tensors make."""
    if part.weight is None:
        raise Refused(f"{shown(part.bias[0] if part.bias else '')} has no weight beside it.")
    name, weight = part.weight
    bias = part.bias[1] if part.bias else None
    if _is_linear(part):
        _fit(name, weight, (weight.shape[0], chain.width))
        chain.layers.append(Linear(weight, bias))
        chain.width = weight.shape[0]
    elif bias is not None:
        _fit(name, weight, (chain.width,))
        chain.layers.append(LayerNorm(weight, bias))
    else:
        _fit(name, weight, (1,))
        chain.layers.append(Activation("prelu", weight))
    if part.bias:
        _fit(part.bias[0], part.bias[1], (chain.width,))
    chain.names += [named[0] for named in (part.weight, part.bias) if named]


def _is_linear(part: _Part) -> bool:
    return part.weight is not None and part.weight[1].ndim == 2


def _fit(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape or 0 in shape:
        raise Refused(f"{shown(name)} has the shape {_shape(tensor)}, not {'x'.join(map(str, shape))}.")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "()"


def _has_dropout(metadata: Metadata) -> bool:
    return metadata.use_dropout or any(metadata.dropout_structure or ())
