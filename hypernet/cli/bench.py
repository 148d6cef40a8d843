"""`bench`: how much longer a step takes with a hypernetwork, on this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hypernet.cli.console import counting, note, out, show_json, table, waiting
from hypernet.cli.options import AsJson, Checkpoint
from hypernet.errors import HypernetError

if TYPE_CHECKING:
    from hypernet.network import Net, Network
    from hypernet.plan import Plan
    from hypernet.sites import Site

_CALLS = 3
NONE = "none"
"""The name of the case without a hypernetwork."""


def bench(
    file: Annotated[
        Path | None, typer.Argument(help="A hypernetwork file. Without it: random ones, [1, 2, 1].")
    ] = None,
    checkpoint: Checkpoint = None,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="How often to measure each case.")] = 5,
    explain: Annotated[bool, typer.Option("--explain", help="Tell how each projection is computed, and why.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure the time of a step with and without a hypernetwork, as a ratio.

    [bold]Examples[/bold]

    hypernet bench

    hypernet bench ink.pt --checkpoint model.safetensors

    hypernet bench --explain
    """
    with waiting("Loading the model"):
        from hypernet.app import drawing
        from hypernet.sites import find_sites

        pipe = drawing.open_model(checkpoint, []).pipe
    sites = find_sites(pipe.unet)
    networks = _given(file) if file is not None else _random(sites)
    plans: dict[str, Plan | None] = {NONE: None} | {name: _plan(one, sites) for name, one in networks.items()}
    if explain:
        _explain(pipe.unet, plans, as_json)
        return
    with counting("Measuring", rounds * len(plans)) as advance:
        seconds = measure(pipe.unet, plans, rounds, advance)
    if as_json:
        show_json({name: {"ms": 1000 * taken, "ratio": taken / seconds[NONE]} for name, taken in seconds.items()})
        return
    rows = [(name, f"{1000 * taken:.1f}", f"{taken / seconds[NONE]:.2f}") for name, taken in seconds.items()]
    out.print(table("network", ">ms per step", ">ratio", rows=rows))
    note(f"Medians of {rounds * _CALLS} steps with a batch of 2, on {pipe.device}. Other busy programs distort them.")


def _explain(unet: Any, plans: Mapping[str, Plan | None], as_json: bool) -> None:
    """Prints how each network would be computed. Measures nothing."""
    from hypernet.engine import Engine

    engine, rows = Engine(), []
    for name, plan in plans.items():
        if plan is not None:
            engine.attach(unet, plan)
            rows += [
                (name, "text" if alike.cross else "picture", alike.width, count, alike.strategy, alike.cost, alike.why)
                for alike, count in engine.details().items()
            ]
            engine.detach()
    columns = ("network", "sees", "width", "projections", "strategy", "costs", "why")
    if as_json:
        show_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    out.print(table(*columns[:2], ">width", ">projections", "strategy", "a step costs", "because", rows=rows))


def measure(
    unet: Any, plans: Mapping[str, Plan | None], rounds: int, advance: Callable[[], None]
) -> Mapping[str, float]:
    """Median seconds of a UNet call for each plan. The cases take turns, so that a slow moment hits them all."""
    import torch

    from hypernet.engine import Engine

    taken: dict[str, list[float]] = {name: [] for name in plans}
    call, engine = _call(unet), Engine()
    with torch.no_grad():
        for _ in range(rounds):
            for name, plan in plans.items():
                if plan is not None:
                    engine.attach(unet, plan)
                try:
                    call()  # folds, fills caches
                    taken[name] += [_seconds(call) for _ in range(_CALLS)]
                    if engine.failures:
                        raise HypernetError(engine.failures[0])
                finally:
                    engine.detach()
                advance()
    return {name: statistics.median(times) for name, times in taken.items()}


def _seconds(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _call(unet: Any) -> Callable[[], None]:
    """One step with guidance, at the size that the model is made for."""
    import torch

    config, options = unet.config, {"device": unet.device, "dtype": unet.dtype}
    sample = torch.randn(2, config.in_channels, config.sample_size, config.sample_size, **options)
    context = torch.randn(2, 77, config.cross_attention_dim, **options)
    more: dict[str, Any] = {}
    if config.addition_embed_type == "text_time":
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        more = {"text_embeds": torch.randn(2, pooled, **options), "time_ids": torch.zeros(2, 6, **options)}

    def call() -> None:
        unet(sample, 500, context, added_cond_kwargs=more or None)
        if unet.device.type == "cuda":
            torch.cuda.synchronize()

    return call


def _given(file: Path) -> Mapping[str, Network]:
    from hypernet.files import load

    return {file.stem: load(file)}


def _random(sites: tuple[Site, ...]) -> Mapping[str, Network]:
    from hypernet.network import Network, Pair

    widths = sorted({site.width for site in sites})
    return {
        kind: Network({width: Pair(_net(width, kind == "relu"), _net(width, kind == "relu")) for width in widths})
        for kind in ("linear", "relu")
    }


def _net(width: int, relu: bool) -> Net:
    import torch

    from hypernet.network import Activation, Linear, Net

    def linear(outside: int, inside: int) -> Linear:
        return Linear(torch.randn(outside, inside) / 100, torch.zeros(outside))

    first, last = linear(2 * width, width), linear(width, 2 * width)
    return Net(width, (first, Activation("relu"), last) if relu else (first, last))


def _plan(network: Network, sites: tuple[Site, ...]) -> Plan:
    from hypernet.plan import make_plan, open_tags
    from hypernet.tags import parse

    uses, _ = open_tags(parse("<hypernet:bench>").tags, lambda name: network)
    plan = make_plan(uses, sites)
    if plan.notes:
        raise HypernetError(plan.notes[0].removeprefix("bench: "))
    return plan
