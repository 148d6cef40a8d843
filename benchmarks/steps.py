"""What a hypernetwork adds to a step, as ratios to the same UNet without one, in turns in one process.

Beside our engine runs the native way: every net of every site in float32 on every call, as AUTOMATIC1111 does it.
Each round is `none, native, ours (new network), ours, none, ours (new strength), ours`; a ratio is taken to the mean of
the round's two steps without, so that a machine that slows down slows both; figures are medians over the rounds.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

from torch import nn

from benchmarks.networks import NETWORKS, copies, native
from benchmarks.table import Options, Row, Say, Table
from benchmarks.timing import seconds
from benchmarks.unets import TEXT, make_call, make_unet
from hypernet.engine import Engine
from hypernet.network import Network
from hypernet.plan import Plan, make_plan, open_tags
from hypernet.sites import find_sites
from hypernet.tags import parse

_COLUMNS = dict.fromkeys(("native", "ours", "new network", "new strength"), ".3f") | {"none, s": ".3f"}


def run(options: Options, say: Say) -> Table:
    """Ratios to a step without hypernetwork. `new ...`: the first step after it, which includes what is done once."""
    table = Table("A step, as a ratio to one without hypernetwork", _COLUMNS)
    for model in options.models:
        unet = make_unet(model, options)
        for size in options.sizes:
            call = make_call(unet, model, size, options)
            call()
            for name, make in NETWORKS.items():
                if options.only in name:
                    say(f"{model} {size}x{size} {name}")
                    row: Row = {"model": model, "size": str(size), "network": name}
                    table.rows.append(row | _compare(unet, call, make(TEXT[model]), options.rounds))
    return table


def _compare(unet: nn.Module, call: Callable[[], None], networks: list[Network], rounds: int) -> Row:
    samples = [_round(unet, call, networks) for _ in range(rounds)]
    ratios: Row = {name: statistics.median(each[name] for each in samples) for name in samples[0]}
    return ratios | {"ways": _ways(unet, networks)}


def _round(unet: nn.Module, call: Callable[[], None], networks: list[Network]) -> dict[str, float]:
    engine, new = Engine(keep_weights=True), copies(networks)
    none = [seconds(call)]
    with native(unet, networks):
        old = seconds(call)
    engine.attach(unet, plan_for(unet, new, 0.7))
    new_network, ours = seconds(call), [seconds(call)]
    engine.detach()
    none.append(seconds(call))
    engine.attach(unet, plan_for(unet, new, 0.8))
    new_strength = seconds(call)
    ours.append(seconds(call))
    if engine.failures:
        raise RuntimeError(engine.failures[0])
    engine.detach()
    without = statistics.mean(none)
    return {
        "native": old / without,
        "ours": statistics.mean(ours) / without,
        "new network": new_network / without,
        "new strength": new_strength / without,
        "none, s": without,
    }


def _ways(unet: nn.Module, networks: list[Network]) -> str:
    engine = Engine()
    engine.attach(unet, plan_for(unet, networks, 0.7))
    ways = engine.explain()
    engine.detach()
    return ", ".join(f"{way} {count}" for way, count in ways.items())


def plan_for(unet: nn.Module, networks: list[Network], strength: float) -> Plan:
    """The plan of a prompt that names all the networks at one strength."""
    prompt = "".join(f"<hypernet:{number}:{strength}>" for number in range(len(networks)))
    uses, _ = open_tags(parse(prompt).tags, lambda name: networks[int(name)])
    return make_plan(uses, find_sites(unet))
