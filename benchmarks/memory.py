"""How much memory a hypernetwork takes beside the UNet: each case in a process of its own."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import psutil
import torch
from torch import nn

from benchmarks.networks import NETWORKS, native
from benchmarks.steps import plan_for
from benchmarks.table import Options, Say, Table
from benchmarks.unets import TEXT, make_call, make_unet
from hypernet.engine import Engine
from hypernet.network import Network

_CASES = ("linear [1,2,1]", "relu + layer norm [1,2,1]", "relu, text only")
_MB = 1e6


def run(options: Options, say: Say) -> Table:
    """MB above the same steps without a network, on the device, or on a CPU in the process. `file`: its weights."""
    table = Table("Memory beside the UNet, MB", dict.fromkeys(("file", "native", "ours", "after ours"), ",.0f"))
    for name in _CASES:
        say(name)
        none, native, ours = (_apart(options, name, way) for way in _WAYS)
        table.rows.append(
            {
                "network": name,
                "file": ours.file,
                "native": native.during - none.during,
                "ours": ours.during - none.during,
                "after ours": ours.after - none.after,
            }
        )
    return table


@dataclass(frozen=True)
class Held:
    """MB that a process has taken since its UNet was ready, during and after the steps, and the network's weights."""

    during: float
    after: float
    file: float


def _apart(options: Options, name: str, way: str) -> Held:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_case, (options, name, way))


def _case(options: Options, name: str, way: str) -> Held:
    unet = make_unet("sd15", options)
    call = make_call(unet, "sd15", 256, options)
    networks = NETWORKS[name](TEXT["sd15"])
    call()
    before = _held(options)
    with _WAYS[way](unet, networks):
        for _ in range(3):
            call()
        during = _held(options)
    return Held(during - before, _held(options) - before, sum(one.nbytes for one in networks) / _MB)


@contextmanager
def _ours(unet: nn.Module, networks: list[Network]) -> Iterator[None]:
    engine = Engine()
    engine.attach(unet, plan_for(unet, networks, 0.7))
    try:
        yield
    finally:
        engine.detach()


_WAYS: dict[str, Callable[[nn.Module, list[Network]], AbstractContextManager[None]]] = {
    "none": lambda unet, networks: nullcontext(),
    "native": native,
    "ours": _ours,
}


def _held(options: Options) -> float:
    """MB in use now: of the device, or of the process alone."""
    gc.collect()
    if options.device == "cuda":
        return torch.cuda.memory_allocated() / _MB
    return float(psutil.Process().memory_full_info().uss) / _MB
