#!/usr/bin/env python3
"""Sets everything up in .venv, then does the job.

python3 run.py                    draw a first picture with a hypernetwork
python3 run.py test               check the code and run the tests (what follows goes to pytest)
python3 run.py generate "..."     or any other command of hypernet: list, info, convert, ...

Needs Python 3.10 or newer and nothing else. The first call installs packages into .venv; later ones start at once.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
OLDEST = (3, 10)

TORCH = "requirements-torch.txt"
NEEDED_TO = {"run": "requirements.txt", "test": "requirements-dev.txt"}  # the second holds all of the first


class SetupError(Exception):
    """Why the job can't begin, and what to do."""


def main(arguments: list[str]) -> int:
    if arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    try:
        check_python(sys.version_info[:2], importlib.util.find_spec("ensurepip") is not None)
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
    """Raises SetupError where the set-up could only fail later and less clearly."""
    found = ".".join(map(str, version))
    if version < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise SetupError(f"This is Python {found}; hypernet needs {oldest} or newer. Call this file with a newer one.")
    if not can_make_venv:
        raise SetupError(
            f"This Python {found} can't make virtual environments: its venv module is not complete.\n"
            f"On Debian or Ubuntu: sudo apt install python{found}-venv. Then run this again."
        )


def set_up(purpose: str) -> None:
    """Makes .venv hold what the purpose needs. Does nothing when it already does. Raises SetupError."""
    if is_set_up(purpose):
        return
    print(f"Setting up in {VENV}: once, a few minutes.", flush=True)
    steps = setup_steps(purpose)
    for number, (what, command) in enumerate(steps, 1):
        print(f"\n[{number}/{len(steps)}] {what}", flush=True)
        if subprocess.call(command, cwd=ROOT):
            raise SetupError(
                "This step failed; the lines above say why. Without a network connection nothing can be installed.\n"
                "Run the same command again to go on from here."
            )
    stamp_file(purpose).write_text(fingerprint(purpose))
    print("\nEverything is set up.\n", flush=True)


def setup_steps(purpose: str) -> list[tuple[str, list[str]]]:
    """What is done to .venv, each step in words and as a command."""
    needed = NEEDED_TO[purpose]
    install = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check"]
    make_venv = ("Making the virtual environment.", [sys.executable, "-m", "venv", "--clear", str(VENV)])
    return [
        *([] if venv_works() else [make_venv]),
        (
            f"Installing {count_packages(needed)} packages, each checked against its known hash.",
            [*install, "--require-hashes", "--no-deps", "-r", needed],
        ),
        (
            "Installing PyTorch, the largest. On Linux its usual build brings CUDA along: some gigabytes.",
            [*install, "-r", TORCH],
        ),
        (
            "Installing hypernet itself, from this folder.",
            [*install, "--quiet", "--no-deps", "--no-build-isolation", "--editable", "."],
        ),
    ]


def is_set_up(purpose: str) -> bool:
    """Whether .venv was set up for this purpose, or one that needs more, with the files as they are now."""
    enough = {"run": ("run", "test"), "test": ("test",)}[purpose]
    return venv_works() and any(
        stamp_file(other).is_file() and stamp_file(other).read_text() == fingerprint(other) for other in enough
    )


def venv_works() -> bool:
    """False too when the Python that .venv was made from was removed, or its folder moved."""
    if not PYTHON.exists():
        return False
    try:
        probe = [str(PYTHON), "-c", "import sys; print(sys.prefix)"]
        prefix = subprocess.run(probe, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    return Path(prefix.strip()).resolve() == VENV.resolve()


def stamp_file(purpose: str) -> Path:
    return VENV / f"set-up-for-{purpose}"


def fingerprint(purpose: str) -> str:
    """Changes whenever the set-up must be done again."""
    digest = hashlib.sha256(f"{platform.python_version()} {ROOT}".encode())
    for name in (NEEDED_TO[purpose], TORCH, "pyproject.toml"):
        digest.update(hashlib.sha256((ROOT / name).read_bytes()).digest())
    return digest.hexdigest()


def count_packages(requirements: str) -> int:
    """The number of packages, counting one that is pinned for several Pythons once."""
    lines = (ROOT / requirements).read_text(encoding="utf-8").splitlines()
    return len({line.partition("==")[0] for line in lines if "==" in line and line[0].isalpha()})


def run_checks(pytest_arguments: list[str]) -> int:
    """All of them, whatever fails; pytest last, so that its summary closes the output."""
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
                print(f"{' '.join(check)} FAILED. The others still run.", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
