"""`hypernet train`, as it is typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("accelerate")

from hypernet.cli.train import plot, read_settings
from hypernet.errors import HypernetError
from hypernet.train.settings import Settings
from tests.pipelines import pipeline
from tests.test_train_data import paint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(5):
        paint(tmp_path / "pictures" / f"{number}.png", (64, 64), number)
    pipeline().save_pretrained(tmp_path / "model")
    return tmp_path


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    made = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    whole = [sys.executable, "-m", "hypernet", "train", *arguments]
    return subprocess.run(whole, cwd=folder, env=made, capture_output=True, text=True, timeout=300)


def test_a_folder_and_a_name_give_a_file(folder: Path) -> None:
    usual = ("pictures", "--name", "tiny", "-c", "model", "--set", "resolution=16", "--set", "batch_size=2")
    done = command(folder, *usual, "--steps", "3", "--rate", "1e-2", "--pt")
    assert done.returncode == 0, done.stderr
    assert "learned: the error on pictures it has not seen fell by" in done.stdout.lower()
    assert "Use it at" in done.stdout
    assert {file.suffix for file in folder.glob("tiny.*")} >= {".safetensors", ".pt", ".json", ".png"}
    again = command(folder, *usual, "--steps", "3", "--rate", "1e-2", "--pt", "--again", "--json")
    assert again.returncode == 0, again.stderr
    events = [json.loads(line) for line in again.stdout.splitlines()]
    assert [event["step"] for event in events if "loss" in event] == [1, 2, 3]
    assert events[-1]["state"] == "finished"
    other = command(folder, *usual, "--steps", "4")
    assert other.returncode == 1
    assert "with other settings" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere", "-n", "x"), "no such folder"),
        (("pictures", "-n", "../x"), "letters, digits"),
        (("pictures", "-n", "x", "--rate", "1e-3:5:6"), "more than two numbers"),
        (("pictures", "-n", "x", "--set", "colour=red"), "no setting “colour”"),
        (("pictures", "-n", "x", "--set", "steps"), "write NAME=VALUE"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    done = command(folder, *arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_are_typed_as_they_are_named(tmp_path: Path) -> None:
    others = [
        "layer_structure=1, 2, 2, 1",
        "flip=true",
        "noise_offset=0.1",
        "template=[name], [filewords]",
        "crop=random",
    ]
    made = read_settings(tmp_path, "x", tmp_path, tmp_path, None, None, others, pt=False)
    assert isinstance(made, Settings)
    assert made.layer_structure == (1, 2, 2, 1)
    assert (made.flip, made.noise_offset, made.crop) == (True, 0.1, "random")
    assert made.template == ("[name], [filewords]",)
    with pytest.raises(HypernetError, match="can't be 'many'"):
        read_settings(tmp_path, "x", tmp_path, tmp_path, None, None, ["seed=many"], pt=False)


def test_the_curve_is_drawn_in_blocks() -> None:
    assert plot([1.0, 0.5, 0.0]) == "█▄▁"
    assert plot([]) == ""
    assert len(plot([0.1] * 500)) <= 63
