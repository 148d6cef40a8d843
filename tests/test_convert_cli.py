"""The commands that make files, as typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("typer")

from typer.testing import CliRunner

import hypernet
from hypernet.cli.commands import app
from tests.test_convert_bake import checkpoint
from tests.unets import TinyUNet, network

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty folder -> exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.mark.parametrize("command", ["bake", "lora"])
def test_every_command_explains_itself_with_an_example(command: str, run: Run) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"hypernet {command}" in out


def test_bake_tells_what_it_did_and_what_was_there_before(run: Run) -> None:
    checkpoint(Path("model.safetensors"), TinyUNet())
    hypernet.save(network(seed=1), "ink.pt")
    code, out, err = run("bake", "model.safetensors", "ink.pt:0.7", "-o", "one.safetensors")
    assert (code, err) == (0, "")
    assert "one.safetensors: 32 projections and 16 biases changed" in out
    code, out, err = run("bake", "one.safetensors", "ink.pt:0.7:k=0", "-o", "two.safetensors")
    assert code == 0
    assert "ink.pt had been baked into one.safetensors before" in err


def test_bake_says_what_is_wrong_in_one_sentence(run: Run) -> None:
    checkpoint(Path("model.safetensors"), TinyUNet())
    code, out, err = run("bake", "model.safetensors", "nowhere.pt:0.7", "-o", "one.safetensors")
    assert (code, out) == (1, "")
    assert err.startswith("nowhere.pt: there is no such file.")


def in_the_folder() -> None:
    checkpoint(Path("model.safetensors"), TinyUNet())
    hypernet.save(network(seed=1), "ink.pt")


def test_lora_tells_what_is_lost_and_back_gives_a_network(run: Run) -> None:
    in_the_folder()
    code, out, _ = run("lora", "model.safetensors", "ink.pt:0.7", "--exact", "--full", "-o", "full.safetensors")
    assert code == 0
    assert "Lost of the change: 0.00%, on the weights" in out
    code, out, _ = run("lora", "model.safetensors", "full.safetensors", "--back", "-o", "back.pt", "--full")
    assert code == 0
    assert hypernet.load("back.pt").widths == (16, 24, 32)


def test_lora_writes_nothing_over_the_limit_and_more_when_allowed(run: Run) -> None:
    in_the_folder()
    code, out, err = run("lora", "model.safetensors", "ink.pt", "--rank", "1", "-o", "lora.safetensors")
    assert code == 1
    assert "Lost of the change:" in out
    assert "over the limit of 10%" in err
    assert not Path("lora.safetensors").exists()
    assert run("lora", "model.safetensors", "ink.pt", "--rank", "1", "--limit", "1", "-o", "lora.safetensors")[0] == 0
    assert Path("lora.safetensors").exists()
