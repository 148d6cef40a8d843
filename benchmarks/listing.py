"""How long a library takes to list thousands of files, beside a plain os.walk over the same folders.

Each file has a preview and notes beside it, as after a visit of Civitai Helper.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.table import Options, Say, Table
from benchmarks.timing import seconds
from hypernet.library import Library

FILES, FOLDERS = 5000, 50
"""How many files are listed, in how many folders."""


def run(options: Options, say: Say) -> Table:
    """Medians, and ratios to os.walk."""
    with tempfile.TemporaryDirectory() as root:
        say(f"writing {FILES} files")
        _fill(Path(root))
        say("listing")
        library = Library([root])
        seconds = {
            "os.walk": _median(lambda: list(os.walk(root)), options.rounds),
            "list anew": _median(lambda: _list_anew(root), options.rounds),
            "names, nothing changed": _median(library.names, options.rounds),
            "the preview of every file": _median(
                lambda: [library.preview(entry) for entry in library.entries()], options.rounds
            ),
        }
    table = Table(f"Listing {FILES} files in {FOLDERS} folders", {"ms": ".1f", "ratio": ".1f"})
    table.rows += [{"what": name, "ms": 1e3 * s, "ratio": s / seconds["os.walk"]} for name, s in seconds.items()]
    return table


def _fill(root: Path) -> None:
    for number in range(FILES):
        folder = root / f"folder {number % FOLDERS}"
        folder.mkdir(exist_ok=True)
        for suffix in (".pt", ".preview.png", ".json"):
            (folder / f"network {number}{suffix}").touch()
    long_ago = time.time() - 60
    for folder in (root, *root.iterdir()):
        os.utime(folder, (long_ago, long_ago))  # a folder that changed just now is never taken for unchanged


def _list_anew(root: str) -> None:
    names = Library([root]).names()
    assert len(names) == FILES


def _median(run: Callable[[], object], runs: int) -> float:
    return statistics.median(seconds(run) for _ in range(runs))
