"""The command `hypernet`. Commands import what is slow only when they run, so that `--help` answers at once."""

from __future__ import annotations

import sys
from io import TextIOWrapper

from hypernet.cli.hints import pip_install


def main() -> None:
    """Runs the command line."""
    try:
        from hypernet.cli.commands import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich", "click"):
            raise
        sys.exit(f"The command line needs typer and rich: {pip_install('typer', 'rich')}")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # in a file, Windows has no letter for most of the world's names
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="hypernet")
