"""What a hypernetwork costs a whole request in a real WebUI, from the outside: prompt in, picture out.

The folders of real hosts are named by the same variables as for the tests (`HYPERNET_A1111`, `HYPERNET_FORGE`, ...).
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypernet
from benchmarks.networks import SD1_WIDTHS, network
from benchmarks.table import Options, Row, Say, Table
from benchmarks.timing import seconds
from hypernet.network import Metadata, Network

_NORM = Metadata(activation_func="relu", activate_output=False, is_layer_norm=True)
_NETWORKS: dict[str, Callable[[], Network]] = {
    "linear [1,2,1]": lambda: network(SD1_WIDTHS),
    "relu + layer norm [1,2,1]": lambda: replace(network(SD1_WIDTHS, relu=True, norm=True), metadata=_NORM),
}
_STEPS = 8
_COLUMNS = dict.fromkeys(("native", "ours"), ".3f") | {"none, s": ".2f"}


def run(options: Options, say: Say) -> Table:
    """A request of eight steps without, with the host's own engine where it has one, and with ours, taking turns."""
    from tests.hosts.conftest import REAL
    from tests.hosts.real import running

    table = Table("A whole request, as a ratio to one without hypernetwork", _COLUMNS)
    for kind in REAL:
        if folder := os.environ.get(f"HYPERNET_{kind.upper()}"):
            say(f"starting {kind}")
            with running(Path(folder), kind) as host:
                table.rows.extend(_rows(host, options, say))
    return table


def _rows(host: Any, options: Options, say: Say) -> Iterator[Row]:
    for number, make in enumerate(_NETWORKS.values()):
        hypernet.save(make(), host.folder / f"bench-{number}.pt")  # the one format that native engines know
    host.call("/hypernet/v1/refresh", {})
    for number, name in enumerate(_NETWORKS):
        for size in options.sizes:
            say(f"{host.kind} {size}x{size} {name}")
            ways = _ways(host, f"a cat <hypernet:bench-{number}:0.7>", size)
            yield {"host": host.kind, "size": str(size), "network": name} | _compare(ways, options.rounds)


def _ways(host: Any, prompt: str, size: int) -> dict[str, Callable[[], Any]]:
    """Name -> what draws; each gives the picture's `pixels`."""
    request = {"width": size, "height": size, "steps": _STEPS}
    ways: dict[str, Callable[[], Any]] = {
        "none": lambda: host.draw("a cat", **request),
        "ours": lambda: host.draw(prompt, **request),
    }
    if host.native:
        ways["native"] = lambda: host.draw(prompt, options={"hypernet_native": True}, **request)
    return ways


def _compare(ways: dict[str, Callable[[], Any]], rounds: int) -> Row:
    """Medians over the rounds. A round before them warms up, and shows that each way does something."""
    plain, *others = (draw().pixels for draw in ways.values())
    if any((plain == other).all() for other in others):
        raise RuntimeError("A hypernetwork did nothing.")
    samples = [{name: seconds(draw) for name, draw in ways.items()} for _ in range(rounds)]
    ratios: Row = {name: statistics.median(each[name] / each["none"] for each in samples) for name in ways}
    return ratios | {"none": 1.0, "none, s": statistics.median(each["none"] for each in samples)}
