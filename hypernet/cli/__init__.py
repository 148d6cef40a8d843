"""The command `hypernet`. Commands import what is slow only when they run, so that `--help` answers at once."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line."""
    try:
        from hypernet.cli.commands import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich", "click"):
            raise
        sys.exit("The command line needs typer and rich: pip install 'hypernet[cli]'.")
    app(prog_name="hypernet")
