"""What the command line says can be typed, and goes into every file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("typer")

from hypernet.cli import hints


def test_output_into_a_file_of_windows_takes_every_name(tmp_path: Path) -> None:
    net = {"linear.0.weight": torch.eye(8)}
    torch.save({8: (net, net)}, tmp_path / "水墨.pt")
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "hypernet", "list", "-H", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert b"<hypernet:\\u6c34\\u58a8:1>" in done.stdout


@pytest.mark.parametrize(("system", "python"), [("nt", "py"), ("posix", "python3")])
def test_hints_can_be_typed_in_every_shell(monkeypatch: pytest.MonkeyPatch, system: str, python: str) -> None:
    monkeypatch.setattr(hints, "PYTHON", hints.python_on(system))
    assert hints.pip_install("typer", "rich") == f"{python} -m pip install typer rich"
