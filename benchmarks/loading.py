"""How long an 88 MB hypernetwork takes to load, beside PyTorch's and safetensors' own loaders on the same numbers.

The loaders take turns in one process, so that a busy machine slows all of them alike; each figure is a median.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

import hypernet
from benchmarks.networks import SD1_WIDTHS
from benchmarks.table import Options, Say, Table
from hypernet.files import peek

_COLUMNS = dict.fromkeys(("loaded, ms", "worked, ms", "read, ms"), ".2f") | dict.fromkeys(("loaded", "read"), ".2f")


def run(options: Options, say: Say) -> Table:
    """Until the tensors exist, processor time of that, until each weight was read once; and ratios to the loader above.

    `cold`: the system was asked to forget the file before (Linux), so it comes from the disk.
    """
    table = Table("Loading 88 MB", _COLUMNS)
    with tempfile.TemporaryDirectory() as folder:
        torch_file, ours = Path(folder) / "file.pt", Path(folder) / "file.safetensors"
        _write(torch_file, ours)
        loaders: dict[str, Callable[[], Any]] = {
            "torch.load(weights_only=True)": lambda: torch.load(torch_file, weights_only=True),
            "hypernet.load, .pt": lambda: hypernet.load(torch_file),
            "hypernet.load, .pt, mapped=False": lambda: hypernet.load(torch_file, mapped=False),
            "safetensors.torch.load_file": lambda: load_file(ours),
            "hypernet.load, .safetensors": lambda: hypernet.load(ours),
            "hypernet.load, .safetensors, mapped=False": lambda: hypernet.load(ours, mapped=False),
            "hypernet.files.peek, .pt": lambda: peek(torch_file),
            "hypernet.files.peek, .safetensors": lambda: peek(ours),
        }
        for state, files in {"warm": (), "cold": (torch_file, ours)}.items():
            say(state)
            _add_rows(table, state, _measure(loaders, files, 3 * options.rounds))
    return table


def _write(torch_file: Path, ours: Path) -> None:
    """The usual network, [1, 2, 1] on four widths, in both formats."""
    torch.save({width: tuple(_net(width) for _ in "kv") for width in SD1_WIDTHS}, torch_file)
    hypernet.save(hypernet.load(torch_file), ours)


def _net(width: int) -> dict[str, Tensor]:
    shapes = {"linear.0.weight": (2 * width, width), "linear.0.bias": (2 * width,)}
    shapes |= {"linear.1.weight": (width, 2 * width), "linear.1.bias": (width,)}
    return {name: torch.randn(shape) for name, shape in shapes.items()}


def _measure(
    loaders: dict[str, Callable[[], Any]], cold: Iterable[Path], runs: int
) -> dict[str, tuple[float, float, float]]:
    samples: dict[str, list[tuple[float, float, float]]] = {name: [] for name in loaders}
    for _ in range(runs):
        for name, load in loaders.items():
            _forget(cold)
            samples[name].append(_times(load))
    return {name: _medians(each) for name, each in samples.items()}


def _medians(samples: list[tuple[float, float, float]]) -> tuple[float, float, float]:
    loaded, worked, read = (statistics.median(each) for each in zip(*samples, strict=True))
    return loaded, worked, read


def _times(load: Callable[[], Any]) -> tuple[float, float, float]:
    begin, worked = time.perf_counter(), time.thread_time()
    result = load()
    worked, loaded = time.thread_time() - worked, time.perf_counter() - begin
    for tensor in _tensors(result):
        tensor.sum()
    return 1e3 * loaded, 1e3 * worked, 1e3 * (time.perf_counter() - begin)


def _tensors(loaded: Any) -> Iterable[Tensor]:
    if isinstance(loaded, Tensor):
        yield loaded
    elif isinstance(loaded, hypernet.Network):
        for each in loaded.nets():
            yield from each.tensors()
    elif isinstance(loaded, (dict, tuple)):
        for item in loaded.values() if isinstance(loaded, dict) else loaded:
            yield from _tensors(item)


def _forget(files: Iterable[Path]) -> None:
    for path in files:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def _add_rows(table: Table, state: str, times: dict[str, tuple[float, float, float]]) -> None:
    reference = (1.0, 1.0, 1.0)
    for name, own in times.items():
        reference = reference if name.startswith("hypernet") else own
        loaded, worked, read = own
        table.rows.append(
            {
                "file": state,
                "loader": name,
                "loaded, ms": loaded,
                "worked, ms": worked,
                "read, ms": read,
                "loaded": loaded / reference[0],
                "read": read / reference[2],
            }
        )
