"""That it learns: a material that no caption names, on the demo model, with nothing set but a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("accelerate")

import hypernet
from hypernet.app.demo import WEIGHTS
from hypernet.train.settings import Settings
from hypernet.train.training import train
from tests.demo_pictures import draw_pictures


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("train") / "pictures", 24)


def watched(told: Settings) -> tuple[Any, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    return train(told, events.append), events


def test_a_folder_and_a_name_are_enough(pictures: Path, tmp_path: Path) -> None:
    result, events = watched(Settings(str(pictures), "ink", str(WEIGHTS), str(tmp_path)))
    held_out = [event["held_out"] for event in events if "ratio" in event and "step" in event]
    assert 0.6 < held_out[0] < 0.7
    assert min(held_out) <= 0.385
    assert result.verdict.startswith("Learned")
    assert hypernet.load(result.files[0]).widths == (64, 80, 96, 128)


def test_a_rate_that_is_far_too_high_recovers_by_itself(pictures: Path, tmp_path: Path) -> None:
    result, events = watched(Settings(str(pictures), "hot", str(WEIGHTS), str(tmp_path), learn_rate="3e-2", steps=220))
    notes = [event["note"] for event in events if "note" in event]
    assert any("got worse: back to step" in note for note in notes)
    assert result.ratio < 0.65
