"""Measures what hypernetworks cost on this machine, and writes tables, results.json and steps.png.

    python -m benchmarks                      everything, about half an hour on two cores
    python -m benchmarks steps --sizes 256    one part of it
    python -m benchmarks steps kernels --device cuda --dtype float16 --models sd15 sdxl --batch 8

Other programs at work distort the figures; ratios suffer less than times.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table as Printed

from benchmarks import kernels, listing, loading, memory, plot, requests, starting, steps, training
from benchmarks.table import Options, Part, Table

PARTS: dict[str, Part] = {
    "steps": steps.run,
    "kernels": kernels.run,
    "memory": memory.run,
    "loading": loading.run,
    "listing": listing.run,
    "starting": starting.run,
    "requests": requests.run,
    "training": training.run,
}
"""Name -> what it measures."""
_console = Console(width=None)


def main() -> None:
    """Runs the parts that the command line names."""
    arguments = _parser().parse_args()
    options = Options(
        arguments.device,
        getattr(torch, arguments.dtype),
        tuple(arguments.models),
        tuple(arguments.sizes),
        arguments.batch,
        arguments.rounds,
        arguments.only,
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, object] = {"machine": _machine(options)}
    for name in arguments.parts or PARTS:
        table = measure(PARTS[name], options)
        show(table, PARTS[name].__doc__ or "")
        results[name] = table.rows
        (arguments.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        if name == "steps":
            plot.draw(table, arguments.out / "steps.png")
    _console.print(f"Written to {arguments.out}.")


def measure(part: Part, options: Options) -> Table:
    """Runs one part, with a line that tells where it is."""
    with _console.status("") as status:
        return part(options, status.update)


def show(table: Table, note: str) -> None:
    """Prints a table. note: the sentence under it."""
    columns = list(dict.fromkeys(name for row in table.rows for name in row))
    printed = Printed(title=table.title, caption=" ".join(note.split()), title_justify="left", caption_justify="left")
    for name in columns:
        printed.add_column(name, justify="right" if name in table.columns else "left")
    for row in table.rows:
        cells = table.write(row)
        printed.add_row(*(cells.get(name, "") for name in columns))
    _console.print(printed)


def _machine(options: Options) -> dict[str, str | int]:
    gpu = torch.cuda.get_device_name() if options.device == "cuda" else "none"
    return {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "dtype": str(options.dtype),
        "batch": options.batch,
        "torch": torch.__version__,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    default = Options()
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[], metavar="part", help=", ".join(PARTS))
    parser.add_argument("--out", type=Path, default=Path("benchmark-results"), help="folder for what is written")
    parser.add_argument("--device", default=default.device)
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float32")
    parser.add_argument("--models", nargs="+", choices=["sd15", "sdxl"], default=default.models)
    parser.add_argument("--sizes", nargs="+", type=int, default=default.sizes, help="sides of the picture in pixels")
    parser.add_argument("--batch", type=int, default=default.batch)
    parser.add_argument("--rounds", type=int, default=default.rounds)
    parser.add_argument("--only", default="", help="measure only networks with this in their name")
    return parser


if __name__ == "__main__":
    main()
