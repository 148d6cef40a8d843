"""run.py, as far as it goes without installing anything."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def run() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run", ROOT / "run.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fresh(run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """run.py in a folder of its own, with an empty .venv."""
    (tmp_path / "requirements").mkdir()
    for name in (*run.NEEDED_TO.values(), run.TORCH, "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / ".venv").mkdir()
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(run, "venv_works", lambda: True)
    return run


@pytest.fixture
def calls(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Every command that would have run."""
    noted: list[list[str]] = []

    def call(command: list[str], **_: object) -> int:
        noted.append(command)
        return int("check" in command)  # ruff finds something

    monkeypatch.setattr(subprocess, "call", call)
    return noted


def test_an_old_python_is_told_which_one_is_needed(run: ModuleType) -> None:
    with pytest.raises(run.SetupError, match=r"This is Python 3\.9; hypernet needs 3\.10 or newer"):
        run.check_python((3, 9), True)


def test_a_python_without_venv_is_told_the_package_to_install(run: ModuleType) -> None:
    with pytest.raises(run.SetupError, match=r"apt install python3\.11-venv"):
        run.check_python((3, 11), False)


def test_a_python_that_pytorch_is_not_built_for_is_told_which_one_to_take(run: ModuleType) -> None:
    with pytest.raises(run.SetupError, match=r"no PyTorch for Python 3\.15 yet.* from 3\.10 to 3\.14"):
        run.check_python((3, 15), True)


@pytest.mark.parametrize(
    ("system", "machine", "version", "lacking"),
    [
        ("macosx-10.9-x86_64", "x86_64", (13, 6), "Macs with an Intel processor"),
        ("macosx-11.0-arm64", "arm64", (13, 6), "macOS before 14"),
        ("win-arm64", "ARM64", (), "Windows on ARM"),
        ("win32", "AMD64", (), "32-bit Python"),
        ("linux-armv7l", "armv7l", (2, 31), "armv7l"),
        ("linux-x86_64", "x86_64", (), "a Linux without glibc"),
        ("linux-x86_64", "x86_64", (2, 17), "a Linux without glibc"),
    ],
)
def test_a_system_that_pytorch_is_not_built_for_is_named_before_anything_is_installed(
    run: ModuleType, system: str, machine: str, version: tuple[int, ...], lacking: str
) -> None:
    with pytest.raises(run.SetupError, match=rf"not built for {lacking}(.|\n)*from 2\.0 on"):
        run.check_system(system, machine, version)


@pytest.mark.parametrize(
    ("system", "machine", "version"),
    [
        ("macosx-11.0-arm64", "arm64", (15, 1)),
        ("macosx-10.9-universal2", "arm64", (10, 16)),  # what newer ones call themselves to a Python built for old ones
        ("win-amd64", "AMD64", ()),
        ("linux-x86_64", "x86_64", (2, 28)),
        ("linux-aarch64", "aarch64", (2, 39)),
    ],
)
def test_a_system_that_pytorch_is_built_for_passes(
    run: ModuleType, system: str, machine: str, version: tuple[int, ...]
) -> None:
    run.check_system(system, machine, version)


def test_no_requirements_lie_where_an_extension_installer_looks_for_them() -> None:
    """It would pin the host's packages to ours."""
    assert not list(ROOT.glob("requirements*.txt"))


def test_the_first_call_installs_and_the_second_does_not(fresh: ModuleType, calls: list[list[str]]) -> None:
    fresh.set_up("run")
    assert [command[3] for command in calls] == ["install"] * 3
    calls.clear()
    fresh.set_up("run")
    assert calls == []


def test_what_the_tests_need_is_enough_to_run(fresh: ModuleType, calls: list[list[str]]) -> None:
    fresh.set_up("test")
    assert fresh.is_set_up("run")


def test_what_a_run_needs_is_not_enough_to_test(fresh: ModuleType, calls: list[list[str]]) -> None:
    fresh.set_up("run")
    assert not fresh.is_set_up("test")


def test_a_changed_pin_is_installed(fresh: ModuleType, calls: list[list[str]]) -> None:
    fresh.set_up("run")
    with (fresh.ROOT / "requirements" / "run.txt").open("a") as file:
        file.write("another==1.0\n")
    assert not fresh.is_set_up("run")


def test_a_step_that_fails_stops_the_set_up(fresh: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "call", lambda *_, **__: 1)
    with pytest.raises(fresh.SetupError, match="This step failed"):
        fresh.set_up("run")
    assert not fresh.is_set_up("run")


def test_without_arguments_the_demo_is_drawn(fresh: ModuleType, calls: list[list[str]]) -> None:
    assert fresh.main([]) == 0
    assert calls[-1][1:] == ["-m", "hypernet", "demo"]


def test_other_arguments_go_to_hypernet(fresh: ModuleType, calls: list[list[str]]) -> None:
    fresh.main(["generate", "a red circle <hypernet:ink:0.7>"])
    assert calls[-1][1:] == ["-m", "hypernet", "generate", "a red circle <hypernet:ink:0.7>"]


def test_all_checks_run_though_one_fails_and_pytest_closes(fresh: ModuleType, calls: list[list[str]]) -> None:
    assert fresh.main(["test", "-k", "library"]) == 1
    checks = [command[2:] for command in calls if command[2] != "pip"]
    assert [check[0] for check in checks] == ["ruff", "ruff", "mypy", "pytest"]
    assert checks[-1] == ["pytest", "-k", "library"]


def test_help_installs_nothing(fresh: ModuleType, calls: list[list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    assert fresh.main(["--help"]) == 0
    assert calls == []
    assert "python3 run.py test" in capsys.readouterr().out


def test_run_py_needs_only_the_standard_library() -> None:
    command = [sys.executable, "-I", "-S", str(ROOT / "run.py"), "--help"]  # -S: nothing installed can be seen
    assert subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.parametrize("name", ["run.txt", "test.txt"])
def test_every_requirement_is_pinned_and_has_hashes(name: str) -> None:
    text = re.sub(r"^ *#.*\n", "", (ROOT / "requirements" / name).read_text(), flags=re.MULTILINE)
    packages = text.replace("\\\n", "").splitlines()
    assert packages
    for package in packages:
        assert re.match(r"[a-z0-9-]+==[^ ]+ .*--hash=sha256:[0-9a-f]{64}", package), package


def test_pytorch_is_not_among_the_hashed() -> None:
    for name in ("run.txt", "test.txt"):
        assert "\ntorch==" not in (ROOT / "requirements" / name).read_text()
