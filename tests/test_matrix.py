"""The matrix of Pythons and PyTorches, as far as it goes without installing anything."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.test_package import ROOT
from tools import matrix

WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")


def test_the_workflow_runs_rows_that_exist_on_their_own_python() -> None:
    rows = re.findall(r'row: (\S+), python: "([\d.]+)"', WORKFLOW)
    assert rows
    assert all(matrix.ROWS[name].python == python for name, python in rows)


def test_the_workflow_checks_every_python_that_is_promised() -> None:
    (line,) = re.findall(r"^ +python: \[(.*)\]$", WORKFLOW, flags=re.MULTILINE)
    assert re.findall(r'"([\d.]+)"', line) == ["3.10", "3.11", "3.12", "3.13"]
    assert "run: .ci/run" in WORKFLOW


@pytest.mark.parametrize("torch", ["2.0.1", "2.1.2", "2.3.1"])
def test_the_pytorch_of_each_kind_of_webui_has_a_row(torch: str) -> None:
    assert any(f"torch=={torch}" in row.packages for row in matrix.ROWS.values())


def test_a_row_whose_python_is_not_here_says_so() -> None:
    assert matrix.run_row("x", matrix.Row("2.6", ()), []) == "not run: there is no Python 2.6 here"


def test_a_row_that_does_not_exist_is_an_error_that_names_it() -> None:
    command = [sys.executable, ROOT / "tools" / "matrix.py", "torch-1.0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no such row: torch-1.0" in done.stderr
