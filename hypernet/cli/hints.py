"""Commands that hints show, quoted so that they work in bash, cmd.exe and PowerShell."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def python_on(system: str) -> str:
    """What starts Python on a system of this `os.name`."""
    return "py" if system == "nt" else "python3"


PYTHON = python_on(os.name)
"""What starts Python here."""


def pip_install(*packages: str) -> str:
    """The command that installs them."""
    return f"{PYTHON} -m pip install {' '.join(packages)}"


def as_called() -> str:
    """How this program was started."""
    if Path(sys.argv[0]).name != "__main__.py":
        return "hypernet"
    return f"{PYTHON} run.py" if Path("run.py").is_file() and Path("hypernet").is_dir() else f"{PYTHON} -m hypernet"
