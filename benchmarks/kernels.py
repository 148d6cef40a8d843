"""Each kernel alone, on as many tokens as a 512x512 step with a batch of two gives a layer of that width."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.networks import net
from benchmarks.table import Options, Row, Say, Table
from benchmarks.timing import seconds
from hypernet.engine.chain import Link
from hypernet.engine.chunked import run_chunked
from hypernet.engine.strategies.fold import fold
from hypernet.engine.weights import DeviceWeights
from hypernet.network import collapse

TOKENS = {320: 4096, 640: 1024, 768: 77, 1280: 256}
"""Width -> tokens of a picture (768: of the text)."""


def run(options: Options, say: Say) -> Table:
    """Thousands of tokens a second. `products` are the net's matrix products alone, which stream can't beat."""
    table = Table(
        "Each kernel alone, thousand tokens a second",
        dict.fromkeys(("products", "plain", "stream", "collapse", "projection"), ",.0f") | {"fold, ms": ".2f"},
    )
    for width, tokens in TOKENS.items():
        say(f"width {width}")
        table.rows.append(_measure(width, tokens * options.batch, options))
    return table


def _measure(width: int, tokens: int, options: Options) -> Row:
    where: dict[str, Any] = {"device": options.device, "dtype": options.dtype}
    x = torch.randn(1, tokens, width, **where)
    curved = net(width, (1, 2, 1), relu=True, norm=True).to(options.device, options.dtype)
    straight = collapse(net(width, (1, 2, 1), relu=False, norm=False))
    placed = straight.to(options.device, options.dtype)
    first, _, _, last, _ = curved.layers
    weight = torch.randn(width, width, **where)
    kernels: dict[str, Callable[[], object]] = {
        "products": lambda: last(first(x)),
        "plain": lambda: curved(x, 0.7),
        "stream": lambda: run_chunked(curved, x, 0.7),
        "collapse": lambda: run_chunked(placed, x, 0.7),
        "projection": lambda: torch.nn.functional.linear(x, weight),
        "fold, ms": partial(fold, weight, None, (Link(straight, 0.7),), DeviceWeights(keep=True)),
    }
    samples: dict[str, list[float]] = {name: [] for name in kernels}
    with torch.no_grad():
        for _ in range(10 * options.rounds):
            for name, kernel in kernels.items():
                samples[name].append(seconds(kernel, options.device))
    medians = {name: statistics.median(each) for name, each in samples.items()}
    rates: Row = {name: 1000 * s if name == "fold, ms" else tokens / s / 1000 for name, s in medians.items()}
    return {"width": str(width)} | rates
