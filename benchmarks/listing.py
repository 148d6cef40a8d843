"""How long a library takes to list thousands of files, beside a plain os.walk over the same folders.

    python benchmarks/listing.py [--files 5000] [--folders 50] [--runs 7]

Each file has a preview and notes beside it, as after a visit of Civitai Helper. Prints the median of the runs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hypernet.library import Library


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--folders", type=int, default=50)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        fill(Path(root), options.files, options.folders)
        walk = median(lambda: list(os.walk(root)), options.runs)
        listing = median(lambda: list_anew(root, options.files), options.runs)
        library = Library([root])
        library.scan()
        again = median(library.names, options.runs)
        cards = median(lambda: [library.preview(entry) for entry in library.entries()], options.runs)
    print(f"{options.files} files in {options.folders} folders, with as many previews and notes")
    print(f"os.walk                     {walk * 1000:8.1f} ms")
    print(f"list anew                   {listing * 1000:8.1f} ms   {listing / walk:.1f} times os.walk")
    print(f"names, nothing changed      {again * 1000:8.1f} ms")
    print(f"the preview of every file   {cards * 1000:8.1f} ms")


def fill(root: Path, files: int, folders: int) -> None:
    for number in range(files):
        folder = root / f"folder {number % folders}"
        folder.mkdir(exist_ok=True)
        for suffix in (".pt", ".preview.png", ".json"):
            (folder / f"network {number}{suffix}").touch()
    long_ago = time.time() - 60
    for folder in (root, *root.iterdir()):
        os.utime(folder, (long_ago, long_ago))  # a folder that changed just now is never taken for unchanged


def list_anew(root: str, expected: int) -> None:
    names = Library([root]).names()
    assert len(names) == expected


def median(run: Callable[[], object], runs: int) -> float:
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
