#!/usr/bin/env python3
"""Runs the tests on the Pythons and PyTorches that WebUIs come with: `python3 tools/matrix.py [ROW ...]`.

Without a row it runs them all. `--list` shows them. Each row gets a virtual environment in build/matrix. It takes up to
5 GB, as PyTorch for Linux usually comes with CUDA, or less if PIP_EXTRA_INDEX_URL names an index of CPU builds.

A row's Python is looked for on PATH and in ~/.pyenv. A row whose Python is not here is reported and skipped.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The repository."""
ENVIRONMENTS = ROOT / "build" / "matrix"
"""The folder of the virtual environments."""

TOOLS = (
    *("safetensors", "pytest>=8", "hypothesis>=6.100", "pillow", "typer>=0.12", "rich>=13"),
    *("requests>=2.28", "fastapi>=0.94", "httpx"),
)
"""What each row installs besides its own packages. Tests that need more skip themselves."""


@dataclass(frozen=True)
class Row:
    """One environment."""

    python: str
    packages: tuple[str, ...]


NEWEST = ("torch", "numpy", "diffusers", "transformers", "accelerate")
"""Whatever is newest."""

ROWS = {
    "torch-2.0": Row("3.10", ("torch==2.0.1", "numpy==1.26.4")),
    "torch-2.1": Row("3.10", ("torch==2.1.2", "numpy==1.26.4")),
    "torch-2.3": Row(
        "3.11",
        ("torch==2.3.1", "numpy==1.26.4", "diffusers==0.31.0", "transformers==4.46.3", "accelerate==1.1.1"),
    ),
    "newest-3.10": Row("3.10", NEWEST),
    "newest-3.11": Row("3.11", NEWEST),
    "newest-3.12": Row("3.12", NEWEST),
    "newest-3.13": Row("3.13", NEWEST),
}
"""Name -> environment. A1111 1.6, A1111 1.10 and Forge install the first three; the third has the oldest diffusers."""


def find_python(version: str) -> str | None:
    """The path of a Python of that minor version."""
    kept = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    for candidate in (f"python{version}", *map(str, reversed(kept))):
        path = shutil.which(candidate)
        if path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0:
            return path
    return None


def make_environment(name: str, row: Row, python: str) -> Path:
    """The Python of the row's environment, made and filled if need be. Raises CalledProcessError."""
    folder = ENVIRONMENTS / name
    inside = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / "installed"
    wanted = "\n".join((*row.packages, *TOOLS))
    if not stamp.is_file() or stamp.read_text() != wanted:
        subprocess.run([python, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(inside), "-m", "pip", "install", "--quiet", *row.packages, *TOOLS], check=True)
        stamp.write_text(wanted)
    return inside


def run_row(name: str, row: Row, arguments: list[str]) -> str:
    """The outcome in a word or a few: passed, failed, or why it was not run."""
    python = find_python(row.python)
    if python is None:
        return f"not run: there is no Python {row.python} here"
    try:
        inside = make_environment(name, row, python)
    except subprocess.CalledProcessError:
        return "not run: its packages could not be installed"
    world = {**os.environ, "PYTHONPATH": str(ROOT)}
    tests = [str(inside), "-m", "pytest", "-p", "no:cacheprovider", *(arguments or ["tests"])]
    return "passed" if subprocess.run(tests, cwd=ROOT, env=world).returncode == 0 else "FAILED"


def main() -> int:
    """Returns 1 if a row failed or a row that was asked for could not be run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--list", action="store_true", help="show the rows")
    parser.add_argument("--pytest", default="", help="arguments for pytest, as one text; without them: tests")
    given = parser.parse_args()
    unknown = set(given.rows) - ROWS.keys()
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    if given.list:
        for name, row in ROWS.items():
            print(f"{name:12} Python {row.python:5} {' '.join(row.packages)}")
        return 0
    outcomes = {}
    for name in given.rows or ROWS:
        print(f"== {name}", flush=True)
        outcomes[name] = run_row(name, ROWS[name], given.pytest.split())
    for name, outcome in outcomes.items():
        print(f"{name:12} {outcome}")
    return int(any(outcome == "FAILED" or (given.rows and outcome != "passed") for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
