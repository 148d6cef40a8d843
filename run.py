#!/usr/bin/env python3
"""Sets up .venv, then runs a command of hypernet in it.

python3 run.py                    draw a first picture with a hypernetwork
python3 run.py test               check the code and run the tests; further arguments go to pytest
python3 run.py generate "..."     or any other command of hypernet: list, info, convert, ...

Needs only Python 3.10 or newer. The first call installs packages into .venv; later calls start at once.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent
"""This folder."""
VENV = ROOT / ".venv"
"""The virtual environment."""
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
"""Its Python."""
OLDEST, NEWEST = (3, 10), (3, 14)
"""The Pythons that PyTorch is built for."""

TORCH = "requirements/torch.txt"
"""The file that pins PyTorch, without a hash."""
NEEDED_TO = {"run": "requirements/run.txt", "test": "requirements/test.txt"}
"""Purpose -> the packages it needs. Those of `test` include those of `run`."""


class SetupError(Exception):
    """Why the set-up failed, and what to do."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    try:
        check_python(sys.version_info[:2], importlib.util.find_spec("ensurepip") is not None)
        check_system(sysconfig.get_platform(), platform.machine(), system_version())
        if arguments[:1] == ["test"]:
            set_up("test")
            return run_checks(arguments[1:])
        set_up("run")
        return subprocess.call([str(PYTHON), "-m", "hypernet", *(arguments or ["demo"])])
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Run it again to go on.", file=sys.stderr)
        return 130


def check_python(version: tuple[int, ...], can_make_venv: bool) -> None:
    """Raises SetupError if this Python can't do the job. version: major and minor."""
    found = ".".join(map(str, version))
    oldest, newest = (".".join(map(str, limit)) for limit in (OLDEST, NEWEST))
    if version < OLDEST:
        raise SetupError(f"This is Python {found}; hypernet needs {oldest} or newer. Call this file with a newer one.")
    if version > NEWEST:
        raise SetupError(
            f"There is no PyTorch for Python {found} yet. Call this file with one from {oldest} to {newest}."
        )
    if not can_make_venv:
        raise SetupError(
            f"This Python {found} can't make virtual environments: its venv module is incomplete.\n"
            f"On Debian or Ubuntu: sudo apt install python{found}-venv. Then run this again."
        )


def check_system(system: str, machine: str, version: tuple[int, ...]) -> None:
    """Raises SetupError if PyTorch is not built for this system. For the arguments see `without_pytorch`."""
    lacking = without_pytorch(system, machine, version)
    if not lacking:
        return
    pinned = (ROOT / TORCH).read_text(encoding="utf-8").split("torch==")[-1].strip()
    raise SetupError(
        f"PyTorch {pinned}, which this file installs, is not built for {lacking}.\n"
        "An older PyTorch will do, from 2.0 on. Install one yourself in an environment of your own, and then:\n"
        '    pip install ".[cli,diffusers]" "numpy<2"\n'
        "    hypernet demo"
    )


def without_pytorch(system: str, machine: str, version: tuple[int, ...]) -> str:
    """What about this system PyTorch is not built for; empty if it is.

    system: as `sysconfig.get_platform()` names it; version: of macOS or of glibc, empty if unknown.
    """
    if system.startswith("win"):
        return {"win-amd64": "", "win-arm64": "Windows on ARM"}.get(system, "32-bit Python")
    if system.startswith("macosx"):
        if machine != "arm64":
            return "Macs with an Intel processor"
        return "macOS before 14" if (11,) <= version < (14,) else ""
    if machine not in ("x86_64", "aarch64") or sys.maxsize < 2**32:
        return f"{machine} with {system}"
    return "" if version >= (2, 28) else "a Linux without glibc 2.28 or newer"


def system_version() -> tuple[int, ...]:
    """Of macOS or of glibc; empty on other systems."""
    name, version = platform.libc_ver()
    text = platform.mac_ver()[0] or (version if name == "glibc" else "")
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def set_up(purpose: str) -> None:
    """Installs into .venv what the purpose needs, if it isn't there yet. Raises SetupError."""
    if is_set_up(purpose):
        return
    print(f"Setting up {VENV}. This happens once and takes a few minutes.", flush=True)
    steps = setup_steps(purpose)
    for number, (what, command) in enumerate(steps, 1):
        print(f"\n[{number}/{len(steps)}] {what}", flush=True)
        if subprocess.call(command, cwd=ROOT):
            raise SetupError(
                "This step failed; the lines above say why. Installing needs a network connection.\n"
                "Run the same command again to continue from here."
            )
    stamp_file(purpose).write_text(fingerprint(purpose))
    print("\nEverything is set up.\n", flush=True)


def setup_steps(purpose: str) -> list[tuple[str, list[str]]]:
    """The steps that set up .venv, each in words and as a command."""
    needed = NEEDED_TO[purpose]
    install = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check"]
    make_venv = ("Making the virtual environment.", [sys.executable, "-m", "venv", "--clear", str(VENV)])
    return [
        *([] if venv_works() else [make_venv]),
        (
            f"Installing {count_packages(needed)} packages, each checked against its hash.",
            [*install, "--require-hashes", "--no-deps", "-r", needed],
        ),
        (
            "Installing PyTorch, the largest. On Linux it usually comes with CUDA, which is several gigabytes.",
            [*install, "-r", TORCH],
        ),
        (
            "Installing hypernet itself, from this folder.",
            [*install, "--quiet", "--no-deps", "--no-build-isolation", "--editable", "."],
        ),
    ]


def is_set_up(purpose: str) -> bool:
    """Whether .venv was set up for this purpose, or for one that includes it, from the files as they are now."""
    enough = {"run": ("run", "test"), "test": ("test",)}[purpose]
    return venv_works() and any(
        stamp_file(other).is_file() and stamp_file(other).read_text() == fingerprint(other) for other in enough
    )


def venv_works() -> bool:
    """Whether .venv has a working Python. It has none after its folder moved or the Python it came from was removed."""
    if not PYTHON.exists():
        return False
    try:
        probe = [str(PYTHON), "-c", "import sys; print(sys.prefix)"]
        prefix = subprocess.run(probe, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    return Path(prefix.strip()).resolve() == VENV.resolve()


def stamp_file(purpose: str) -> Path:
    """Holds the fingerprint of the last set-up for this purpose."""
    return VENV / f"set-up-for-{purpose}"


def fingerprint(purpose: str) -> str:
    """A digest that changes whenever the set-up must be done again."""
    digest = hashlib.sha256(f"{platform.python_version()} {ROOT}".encode())
    for name in (NEEDED_TO[purpose], TORCH, "pyproject.toml"):
        digest.update(hashlib.sha256((ROOT / name).read_bytes()).digest())
    return digest.hexdigest()


def count_packages(requirements: str) -> int:
    """The number of packages in a file. One that is pinned for several Pythons counts once."""
    lines = (ROOT / requirements).read_text(encoding="utf-8").splitlines()
    return len({line.partition("==")[0] for line in lines if "==" in line and line[0].isalpha()})


def run_checks(pytest_arguments: list[str]) -> int:
    """Runs every check even if one fails; pytest is last, so that its summary comes last. Returns the exit code."""
    checks = [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["pytest", *pytest_arguments],
    ]
    failed = False
    for check in checks:
        print(f"$ {' '.join(check)}", flush=True)
        if subprocess.call([str(PYTHON), "-m", *check], cwd=ROOT):
            failed = True
            if check is not checks[-1]:
                print(f"{' '.join(check)} FAILED. The remaining checks still run.", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
