"""How long an 88 MB hypernetwork takes to load, beside PyTorch's and safetensors' own loaders on the same numbers.

    python benchmarks/load.py [--runs 21] [--cold]

The loaders take turns in one process, so that a busy machine slows all of them alike; each figure is a median. Each is
timed until its tensors exist (and how much of that the processor worked), and until all of them have been read once.
--cold asks the system to forget the files before every run (Linux), so that they come from the disk.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

import hypernet
from hypernet.files import peek

WIDTHS = (320, 640, 768, 1280)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=21)
    parser.add_argument("--cold", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        torch_file, ours = Path(folder) / "file.pt", Path(folder) / "file.safetensors"
        write(torch_file, ours)
        print(
            f"{torch_file.stat().st_size / 1e6:.1f} MB, {'cold' if options.cold else 'warm'}, {options.runs} runs each"
        )
        files = (torch_file, ours) if options.cold else ()
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
        report(measure(loaders, files, options.runs))


def write(torch_file: Path, ours: Path) -> None:
    """The usual network, [1, 2, 1] on four widths, in both formats."""
    content = {width: tuple(net(width) for _ in "kv") for width in WIDTHS}
    torch.save(content, torch_file)
    hypernet.save(hypernet.load(torch_file), ours)


def net(width: int) -> dict[str, Tensor]:
    shapes = {"linear.0.weight": (2 * width, width), "linear.0.bias": (2 * width,)}
    shapes |= {"linear.1.weight": (width, 2 * width), "linear.1.bias": (width,)}
    return {name: torch.randn(shape) for name, shape in shapes.items()}


@dataclass(frozen=True)
class Times:
    """In milliseconds: until loaded, processor time of that, until every weight was read."""

    loaded: float
    worked: float
    read: float


def measure(loaders: dict[str, Callable[[], Any]], cold: Iterable[Path], runs: int) -> dict[str, Times]:
    """Name of a loader -> medians of its times."""
    samples: dict[str, list[tuple[float, float, float]]] = {name: [] for name in loaders}
    for _ in range(runs):
        for name, load in loaders.items():
            forget(cold)
            begin, worked = time.perf_counter(), time.thread_time()
            result = load()
            worked, loaded = time.thread_time() - worked, time.perf_counter() - begin
            for tensor in tensors(result):
                tensor.sum()
            samples[name].append((loaded * 1e3, worked * 1e3, (time.perf_counter() - begin) * 1e3))
            del result
    return {name: Times(*map(statistics.median, zip(*each, strict=True))) for name, each in samples.items()}


def tensors(loaded: Any) -> Iterable[Tensor]:
    if isinstance(loaded, Tensor):
        yield loaded
    elif isinstance(loaded, hypernet.Network):
        for each in loaded.nets():
            yield from each.tensors()
    elif isinstance(loaded, (dict, tuple)):
        for item in loaded.values() if isinstance(loaded, dict) else loaded:
            yield from tensors(item)


def forget(files: Iterable[Path]) -> None:
    for path in files:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def report(times: dict[str, Times]) -> None:
    print(f"{'milliseconds':44}{'loaded':>9}{'worked':>9}{'read':>9}   beside the loader above it")
    reference = None
    for name, own in times.items():
        ours = name.startswith("hypernet.load")
        reference = reference if name.startswith("hypernet") else own
        print(f"{name:44}{own.loaded:9.2f}{own.worked:9.2f}{own.read:9.2f}", end="")
        if ours and reference:
            print(f"   {own.loaded / reference.loaded:.2f}, {own.worked / reference.worked:.2f},", end="")
            print(f" {own.read / reference.read:.2f} times", end="")
        print()


if __name__ == "__main__":
    main()
