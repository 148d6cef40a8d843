"""One site's nets at one moment, applied in the order of the prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

import torch
from torch import Tensor

from hypernet.engine.chunked import run_chunked
from hypernet.engine.tensors import autocast_dtype, needs_gradient
from hypernet.engine.weights import DeviceWeights
from hypernet.network import Net


@dataclass(frozen=True)
class Link:
    """A net with the strength it has now."""

    net: Net
    strength: float
    rows: tuple[bool, ...] | None = None
    """The rows of the batch it acts on; None for all."""
    varies: bool = False
    """Whether the strength moves from step to step."""


Chain: TypeAlias = tuple[Link, ...]
"""A site's nets, in the order they act."""


def apply(chain: Chain, x: Tensor, weights: DeviceWeights) -> Tensor:
    """x: (batch, tokens, width) -> the context after every net of the chain, in x's dtype."""
    if weights.dtype is None:
        return _apply(chain, x, weights, autocast_dtype(x.device) or x.dtype)
    with _without_autocast(x.device):
        return _apply(chain, x.to(weights.dtype), weights, weights.dtype).to(x.dtype)


def learns(chain: Chain) -> bool:
    """Whether any net's weights need gradients."""
    return needs_gradient(tensor for link in chain for tensor in link.net.tensors())


def _apply(chain: Chain, x: Tensor, weights: DeviceWeights, dtype: torch.dtype) -> Tensor:
    for link in chain:
        net = _net(link, x.device, dtype, weights)
        if link.rows is None:
            x = run_chunked(net, x, link.strength).to(x.dtype)
        elif any(link.rows):
            x = x.clone()
            for rows in _stretches(link.rows, x.shape[0]):
                x[rows] = run_chunked(net, x[rows], link.strength).to(x.dtype)
    return x


def _net(link: Link, device: torch.device, dtype: torch.dtype, weights: DeviceWeights) -> Net:
    """The net on that device. A kept copy passes no gradients to the original, so a net that learns is copied anew."""
    return link.net.to(device, dtype) if learns((link,)) else weights.get(link.net, device, dtype)


def _stretches(rows: Sequence[bool], batch: int) -> Iterator[slice]:
    """The marked rows of a batch as slices: unlike a mask, they make no device wait.

    Hypertile and its like split each row into several consecutive ones.
    """
    each = batch // len(rows) if batch % len(rows) == 0 else 1
    start = 0
    for marked, group in groupby(rows):
        stop = start + each * len(list(group))
        if marked and start < batch:
            yield slice(start, stop)
        start = stop


def _without_autocast(device: torch.device) -> AbstractContextManager[object]:
    return nullcontext() if autocast_dtype(device) is None else torch.autocast(device.type, enabled=False)
