"""The command `hypernet`. Heavy imports wait inside the commands, so that `--help` and completion answer at once."""

from __future__ import annotations

import sys


def main() -> None:
    try:
        from hypernet.cli.commands import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich", "click"):
            raise
        sys.exit("The command line needs typer and rich: pip install 'hypernet[cli]'.")
    app(prog_name="hypernet")
