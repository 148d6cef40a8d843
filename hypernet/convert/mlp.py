"""Several nets as one, exactly: chains and sums of MLPs are MLPs again, with their layers side by side.

In a chain `x -> x + s1 f1(x) -> ...`, x and what was added so far must get past the activations of the next net:

- For some activations act(x) - act(-x) = c x (relu, gelu, silu, softplus, ...): two units carry a number past them.
  The result is an ordinary net, which every program reads.
- For all others with act(0) = 0 (tanh, softsign, elu, mish, ...), the skip paths of MonkeyPatch's residual blocks do.

Nets without an activation are plain maps and need no layer of their own. Layer norm mixes all units, so it has no
such form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hypernet.network import ACTIVATIONS, Activation, Layer, Linear, Net, Residual

PAIRS = {
    "gelu": 1.0,
    "hardswish": 1.0,
    "leakyrelu": 1.01,
    "logsigmoid": 1.0,
    "relu": 1.0,
    "rrelu": 1 + (1 / 8 + 1 / 3) / 2,
    "silu": 1.0,
    "softplus": 1.0,
    "swish": 1.0,
}
"""Activations with act(x) - act(-x) = c x, by name, and their c."""
_NOT_ZERO_AT_ZERO = frozenset({"sigmoid", "hardsigmoid", "softplus", "logsigmoid"})


@dataclass(frozen=True, eq=False)
class Map:
    """`weight h + bias`: (out, in), (out,); float32."""

    weight: Tensor
    bias: Tensor

    def after(self, first: Map) -> Map:
        """This map applied to the result of the first."""
        return Map(self.weight @ first.weight, self.weight @ first.bias + self.bias)

    def __add__(self, other: Map) -> Map:
        return Map(self.weight + other.weight, self.bias + other.bias)

    def __mul__(self, factor: float) -> Map:
        return Map(self.weight * factor, self.bias * factor)

    @classmethod
    def of(cls, layer: Linear) -> Map:
        """The map that a linear layer is."""
        weight = layer.weight.float()
        return cls(weight, torch.zeros(len(weight)) if layer.bias is None else layer.bias.float())

    @classmethod
    def identity(cls, width: int) -> Map:
        """The map that changes nothing."""
        return cls(torch.eye(width), torch.zeros(width))

    @classmethod
    def zero(cls, width: int) -> Map:
        """The map whose result is 0."""
        return cls(torch.zeros(width, width), torch.zeros(width))


def stacked(maps: Sequence[Map]) -> Map:
    """Maps of the same input; their outputs are concatenated."""
    return Map(torch.cat([each.weight for each in maps]), torch.cat([each.bias for each in maps]))


def beside(maps: Sequence[Map]) -> Map:
    """Maps of concatenated inputs; their outputs are concatenated too."""
    weight: Tensor = torch.block_diag(*(each.weight for each in maps))  # type: ignore[no-untyped-call]
    return Map(weight, torch.cat([each.bias for each in maps]))


@dataclass(frozen=True, eq=False)
class Mlp:
    """A net's change f: maps with one activation between them; `activation` is None if there is only one map."""

    maps: tuple[Map, ...]
    activation: str | None

    @property
    def width(self) -> int:
        """The width of its input."""
        return self.maps[0].weight.shape[1]

    @property
    def depth(self) -> int:
        """How many times the activation acts."""
        return len(self.maps) - 1

    def net(self) -> Net:
        """As a net of the ordinary kind: no activation behind the last layer."""
        layers: list[Layer] = []
        for each in self.maps:
            layers += [Activation(self.activation)] if layers and self.activation else []
            layers.append(Linear(each.weight, each.bias))
        return Net(self.width, tuple(layers))


def mlp_of(net: Net) -> Mlp | None:
    """The net as an Mlp; None for one with layer norm, skip paths or an activation that isn't elementwise."""
    maps: list[Map] = []
    names: set[str] = set()
    open_ended = False
    for layer in net.layers:
        if isinstance(layer, Linear):
            step = Map.of(layer)
            if open_ended:
                maps[-1] = step.after(maps[-1])
            else:
                maps.append(step)
            open_ended = True
        elif isinstance(layer, Activation) and _of_each_number(layer) and open_ended:
            names.add(layer.name)
            open_ended = False
        else:
            return None
    if not open_ended:
        maps.append(Map.identity(net.width))
    if len(names) > 1:
        return None
    return Mlp(tuple(maps), names.pop() if names else None)


def _of_each_number(layer: Activation) -> bool:
    return layer.weight is None and not ACTIVATIONS[layer.name].mixes_tokens


def common_activation(parts: Sequence[Mlp]) -> str | None:
    """The activation that acts in them; None for none. Raises ValueError for several."""
    names = {part.activation for part in parts} - {None}
    if len(names) > 1:
        raise ValueError(f"different activations: {', '.join(sorted(filter(None, names)))}")
    return names.pop() if names else None


def sum_of(parts: Sequence[tuple[Mlp, float]]) -> Mlp | None:
    """`s1 f1(x) + s2 f2(x) + ...`: the parts side by side. None if that is no Mlp."""
    try:
        activation = common_activation([part for part, _ in parts])
    except ValueError:
        return None
    depth = max(part.depth for part, _ in parts)
    deep = [_deepened(part, depth, activation) for part, _ in parts]
    if any(part is None for part in deep):
        return None
    maps = [part.maps for part in deep if part is not None]
    if depth == 0:
        total = Map.zero(parts[0][0].width)
        for (only,), (_, strength) in zip(maps, parts, strict=True):
            total += only * strength
        return Mlp((total,), None)
    first = stacked([each[0] for each in maps])
    middle = [beside([each[i] for each in maps]) for i in range(1, depth)]
    last = Map(
        torch.cat([each[-1].weight * strength for each, (_, strength) in zip(maps, parts, strict=True)], dim=1),
        torch.stack([each[-1].bias * strength for each, (_, strength) in zip(maps, parts, strict=True)]).sum(0),
    )
    return Mlp((first, *middle, last), activation)


def _deepened(part: Mlp, depth: int, activation: str | None) -> Mlp | None:
    """The same function with the activation acting `depth` times; None if numbers can't get past it."""
    if part.depth == depth:
        return part
    if activation not in PAIRS:
        return None
    maps, c, width = list(part.maps), PAIRS[activation], part.width
    while len(maps) <= depth:
        last = maps.pop()
        both = torch.cat([torch.eye(width), -torch.eye(width)])
        maps += [Map(both, torch.zeros(2 * width)).after(last), Map(both.T / c, torch.zeros(width))]
    return Mlp(tuple(maps), activation)


def chain_of(parts: Sequence[tuple[Mlp, float]]) -> Mlp | Net | None:
    """`y - x` for x -> x + s1 f1(x) -> ... -> y, as an Mlp; as a Net of residual blocks where only these can hold it.

    None where neither can.
    """
    try:
        activation = common_activation([part for part, _ in parts])
    except ValueError:
        return None
    if activation is None or activation in PAIRS:
        return _by_pairs(parts, activation)
    return None if activation in _NOT_ZERO_AT_ZERO else _by_skips(parts, activation)


class _State:
    """While a chain is put together: maps from the current units to x and to what was added so far."""

    def __init__(self, width: int) -> None:
        self.x, self.added = Map.identity(width), Map.zero(width)

    def context(self) -> Map:
        """x + added: what the next net sees."""
        return self.x + self.added


def _by_pairs(parts: Sequence[tuple[Mlp, float]], activation: str | None) -> Mlp:
    width = parts[0][0].width
    state, maps = _State(width), []
    for number, (part, strength) in enumerate(parts):
        last, first = number == len(parts) - 1, number == 0
        inner = part.maps[0].after(state.context())
        for step in part.maps[1:]:
            passed = ([] if last else [state.x]) + ([] if first else [state.added])
            maps.append(stacked([inner, *(half for each in passed for half in (each, each * -1.0))]))
            state, inner = _past_pairs(len(inner.bias), len(passed), last, first, width, activation, step)
        state.added += inner * strength
    return Mlp((*maps, state.added), activation if maps else None)


def _past_pairs(
    units: int, passed: int, last: bool, first: bool, width: int, activation: str | None, step: Map
) -> tuple[_State, Map]:
    """After an activation: the maps to x and to what was added, and the net's own next map."""
    assert activation is not None
    total, c = units + 2 * passed * width, PAIRS[activation]

    def read(number: int) -> Map:
        at = units + 2 * number * width
        return Map((_columns(width, at, total) - _columns(width, at + width, total)) / c, torch.zeros(width))

    nothing = Map(torch.zeros(width, total), torch.zeros(width))
    state = _State(width)
    state.x = nothing if last else read(0)
    state.added = nothing if first else read(passed - 1)
    own = Map(torch.cat([step.weight, torch.zeros(len(step.bias), total - units)], dim=1), step.bias)
    return state, own


def _by_skips(parts: Sequence[tuple[Mlp, float]], activation: str) -> Net:
    """Residual blocks `skip h + act(W h + b)`: x and what was added go along the skip paths; one unit is constant."""
    width = parts[0][0].width
    state, blocks = _State(width), list[Residual]()
    for part, strength in parts:
        inner = part.maps[0].after(state.context())
        for step in part.maps[1:]:
            blocks.append(_block(inner, state, activation, first=not blocks))
            units, total = len(inner.bias), blocks[-1].width
            state.x = Map(_columns(width, units, total), state.x.bias)
            state.added = Map(_columns(width, units + width, total), state.added.bias)
            inner = Map(torch.cat([step.weight, torch.zeros(len(step.bias), total - units)], dim=1), step.bias)
        state.added += inner * strength
    result = state.context()
    skip = result.weight.clone()
    skip[:, -1] += result.bias / float(ACTIVATIONS[activation](torch.ones(1)))
    silent = Linear(torch.zeros_like(skip), torch.zeros(width))
    return Net(width, (*blocks, Residual((silent, Activation(activation)), width, skip)))


def _block(inner: Map, state: _State, activation: str, first: bool) -> Residual:
    """One block. Its units: the net's own, x, what was added, and the constant act(1)."""
    kept = torch.cat([state.x.weight, state.added.weight])  # their biases stay with whoever reads them
    units, total = len(inner.bias), len(inner.bias) + len(kept) + 1
    weight, bias, skip = torch.zeros(total, kept.shape[1]), torch.zeros(total), torch.zeros(total, kept.shape[1])
    weight[:units], bias[:units], skip[units:-1] = inner.weight, inner.bias, kept
    if first:
        bias[-1] = 1.0
    else:
        skip[-1, -1] = 1.0
    return Residual((Linear(weight, bias), Activation(activation)), total, skip)


def _columns(width: int, at: int, total: int) -> Tensor:
    """Reads `width` units from `at` on: (width, total)."""
    weight = torch.zeros(width, total)
    weight[:, at : at + width] = torch.eye(width)
    return weight
