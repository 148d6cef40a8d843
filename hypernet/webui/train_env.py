"""The Python that a training runs in: the host's where it has all that is needed, else one of our own, made here.

Our own is a virtual environment in the extension's folder. It sees the host's packages, PyTorch above all, and holds
only what is newer or missing there; into the host's Python nothing is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path

NEEDED: Mapping[str, tuple[int, int]] = {"diffusers": (0, 31), "transformers": (4, 44), "accelerate": (0, 30)}
"""Package -> the oldest version that trains."""
WANTED = ("diffusers>=0.31,<0.33", "transformers>=4.44,<4.50", "accelerate>=0.30,<1.3")
"""What is installed: versions that run with every PyTorch from 2.0 on."""
FOLDER = ".train-venv"
"""Our environment's folder."""
USUAL = ".venv"
"""The folder of the environment that run.py makes, which can train as well."""
_LINES = 12
"""Of the output, that are shown."""


class Environment:
    """Where trainings of this WebUI run. root: the extension's folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._output: deque[str] = deque(maxlen=_LINES)
        self._thread: threading.Thread | None = None
        self.failed = False
        """Whether the last installation did not succeed."""

    def python(self) -> Path | None:
        """The interpreter that can train; None where one must be set up first."""
        if not lacking(sys.path):
            return Path(sys.executable)
        if self.installing:
            return None
        for folder in (self._root / FOLDER, self._root / USUAL):
            site = _site(folder)
            whole = site is not None and ((site / "torch").is_dir() or (site / _HOST).is_file())
            if site is not None and whole and not lacking([str(site)]):
                return interpreter(folder)
        return None

    def lacking(self) -> list[str]:
        """What the host's Python would need to train, in words."""
        return lacking(sys.path)

    @property
    def installing(self) -> bool:
        """Whether an installation is under way."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def output(self) -> str:
        """The last lines of what the installation told."""
        return "\n".join(self._output)

    def install(self) -> None:
        """Sets our environment up in the background; nothing where that is under way."""
        if not self.installing:
            self._output.clear()
            self.failed = False
            self._thread = threading.Thread(target=self._install, name="hypernet-install", daemon=True)
            self._thread.start()

    def _install(self) -> None:
        folder = self._root / FOLDER
        try:
            shutil.rmtree(folder, ignore_errors=True)
            self._run([sys.executable, "-m", "venv", str(folder)])
            site = _site(folder)
            if site is None:
                raise OSError(f"There is no Python in {folder}.")
            (site / _HOST).write_text("\n".join(host_packages()), encoding="utf-8")
            install = [str(interpreter(folder)), "-m", "pip", "install", "--disable-pip-version-check"]
            self._run([*install, *WANTED])
            self._output.append("Everything is set up.")
        except (OSError, subprocess.SubprocessError) as error:
            self.failed = True
            self._output.append(f"It did not work: {error}")

    def _run(self, command: Sequence[str]) -> None:
        """Raises OSError, or CalledProcessError where the command fails; its output is kept."""
        self._output.append("> " + " ".join(command))
        clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PIP_TARGET")}
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=clean,
            text=True,
            errors="replace",
        ) as process:
            for line in process.stdout or ():
                self._output.append(line.rstrip())
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command[:4])


_HOST = "host.pth"
"""The file in our environment that makes it see the host's packages."""


def lacking(places: Iterable[str]) -> list[str]:
    """What is needed and not there. places: folders of packages, of which the first that has one counts."""
    found: dict[str, str] = {}
    for each in distributions(path=list(places)):
        name = (each.metadata["Name"] or "").lower()
        if name in NEEDED:
            found.setdefault(name, each.version)
    return [
        f"{name} {least[0]}.{least[1]} or newer ({f'there is {found[name]}' if name in found else 'there is none'})"
        for name, least in NEEDED.items()
        if name not in found or _version(found[name]) < least
    ]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def interpreter(folder: Path) -> Path:
    """The Python of a virtual environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def host_packages() -> list[str]:
    """The folders that the host's Python has its packages in."""
    return [place for place in sys.path if Path(place).name in ("site-packages", "dist-packages")]


def _site(folder: Path) -> Path | None:
    """Where a virtual environment has its packages; None where it has no Python."""
    if not interpreter(folder).exists():
        return None
    found = [*folder.glob("lib/python*/site-packages"), *folder.glob("Lib/site-packages")]
    return found[0] if found else None
