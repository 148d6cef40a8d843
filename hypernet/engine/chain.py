"""One site's nets at one moment, applied in the order of the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hypernet.engine.strategies import stream
from hypernet.engine.tensors import autocast_dtype
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


Chain = tuple[Link, ...]


def apply(chain: Chain, x: Tensor, weights: DeviceWeights) -> Tensor:
    """x: (batch, tokens, width) -> the context after every net of the chain, in x's dtype."""
    if weights.dtype is None:
        return _apply(chain, x, weights, autocast_dtype(x.device) or x.dtype)
    with torch.autocast(x.device.type, enabled=False):
        return _apply(chain, x.to(weights.dtype), weights, weights.dtype).to(x.dtype)


def _apply(chain: Chain, x: Tensor, weights: DeviceWeights, dtype: torch.dtype) -> Tensor:
    for link in chain:
        net = weights.get(link.net, x.device, dtype)
        if link.rows is None:
            x = stream.run(net, x, link.strength).to(x.dtype)
        elif any(link.rows):
            rows = _rows(link.rows, x)
            changed = stream.run(net, x[rows], link.strength).to(x.dtype)
            x = x.clone()
            x[rows] = changed
    return x


def _rows(rows: Sequence[bool], x: Tensor) -> Tensor:
    """The mask for x's batch. Hypertile and its like cut each row into several, one after the other."""
    mask = torch.tensor(rows, device=x.device)
    return mask.repeat_interleave(x.shape[0] // len(rows)) if x.shape[0] % len(rows) == 0 else mask[: x.shape[0]]
