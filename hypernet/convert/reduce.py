"""Makes a network smaller: fewer widths, fewer units, half precision. The loss is measured.

A linear net of several layers is really one matrix. Stored as one layer it is a quarter the size of [1, 2, 1] and loses
nothing. Two thin layers with the matrix's strongest directions are smaller still, and lose the other directions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hypernet.convert.affine import Affine
from hypernet.convert.contexts import Contexts
from hypernet.convert.fit import factorise
from hypernet.errors import HypernetError
from hypernet.network import Linear, Net, Network, Pair

_ONE_LAYER = 0.5
"""With at least this part of the width as inner units, two layers are no smaller than one."""

Nets = Mapping[tuple[int, str], Net]


@dataclass(frozen=True)
class Reduced:
    """network: in the type it is stored in. errors: (width, 'k' or 'v') -> the part of the change that is lost.

    Measured on contexts of that width if there were any, otherwise on the weights of linear nets. Others are left out.
    """

    network: Network
    errors: Mapping[tuple[int, str], float]
    measured: bool


def reduce(
    network: Network,
    *,
    only: Collection[int] = (),
    without: Collection[int] = (),
    fraction: float | None = None,
    energy: float | None = None,
    half: bool = False,
    contexts: Contexts | None = None,
    progress: Callable[[int], Callable[[int], None]] = lambda total: lambda done: None,
) -> Reduced:
    """A smaller network. only: the widths to keep; without: the widths to drop. fraction: inner units as a part of the
    width; energy: instead, as few units as keep this part of the change in every net, 0 to 1. Neither: nothing is lost.

    Raises HypernetError for widths that aren't there, and if units are to be dropped from a network that isn't linear.
    """
    kept = _widths(network, only, without)
    nets: Nets = {(width, kind): getattr(network.pairs[width], kind) for width in kept for kind in ("k", "v")}
    rows = {width: _rows(contexts, width) for width in kept}
    linear = all(net.linear for net in nets.values())
    if not linear and (fraction is not None or energy is not None):
        raise HypernetError(
            "Only linear networks can be made of fewer units: this one has an activation or a layer norm. "
            "Half precision and fewer widths are possible."
        )
    advance = progress(len(nets))
    metadata = network.metadata
    made: Nets = nets
    if linear:
        if energy is not None:
            fraction = _least(nets, rows, energy)
        small = fraction is not None and fraction < _ONE_LAYER
        share = fraction if small and fraction is not None else 1.0
        made = {at: _smaller(net, share, rows[at[0]], advance) for at, net in nets.items()}
        metadata = replace(
            metadata,
            layer_structure=(1, share, 1) if small else (1, 1),
            activation_func="linear",
            use_dropout=False,
            dropout_structure=None,
            last_layer_dropout=False,
        )
    if half:
        made = {at: net.to("cpu", torch.float16) for at, net in made.items()}
    errors = {at: error for at, net in made.items() if (error := _error(nets[at], net, rows[at[0]])) is not None}
    pairs = {width: Pair(made[width, "k"], made[width, "v"]) for width in kept}
    return Reduced(Network(pairs, metadata), errors, any(each is not None for each in rows.values()))


def _widths(network: Network, only: Collection[int], without: Collection[int]) -> tuple[int, ...]:
    for width in (*only, *without):
        if width not in network.pairs:
            raise HypernetError(f"It has no width {width}; it has {', '.join(map(str, network.widths))}.")
    kept = tuple(width for width in network.widths if (not only or width in only) and width not in without)
    if not kept:
        raise HypernetError("No width would be left.")
    return kept


def _rows(contexts: Contexts | None, width: int) -> tuple[Tensor, Tensor] | None:
    """Contexts of this width: for the fit, and for measuring."""
    found = [each for each in (contexts or {}).values() if each.fit.shape[1] == width]
    if not found:
        return None
    return torch.cat([each.fit for each in found]), torch.cat([each.measure for each in found])


def _least(nets: Nets, rows: Mapping[int, tuple[Tensor, Tensor] | None], energy: float) -> float:
    """The smallest part of the width that keeps the energy in every net."""
    parts = []
    for (width, _), net in nets.items():
        x = rows[width]
        rank = factorise(Affine.of(net).delta, rank=None, energy=energy, x=None if x is None else x[0]).rank
        parts.append(rank / width)
    return math.ceil(1000 * max(parts)) / 1000


def _smaller(net: Net, fraction: float, rows: tuple[Tensor, Tensor] | None, advance: Callable[[int], None]) -> Net:
    affine = Affine.of(net)
    advance(1)
    if fraction == 1:
        return affine.net()
    units = max(int(net.width * fraction), 1)  # as A1111 counts them
    factors = factorise(affine.delta, rank=units, energy=1.0, x=None if rows is None else rows[0])
    return Net(net.width, (Linear(factors.down, torch.zeros(units)), Linear(factors.up, affine.shift)))


def _error(net: Net, made: Net, rows: tuple[Tensor, Tensor] | None) -> float | None:
    full, small = net.to("cpu", torch.float32), made.to("cpu", torch.float32)
    if rows is not None:
        x = rows[1][None]
        wanted, got = full.delta(x), small.delta(x)
    elif net.linear:
        wanted, got = Affine.of(full).delta, Affine.of(small).delta
    else:
        return None
    return float((got - wanted).norm() / wanted.norm().clamp_min(1e-12))
