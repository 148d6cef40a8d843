"""The Train tab without a host: what it shows, starts and ends, and the environment that it trains in."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from hypernet.errors import HypernetError
from hypernet.train.jobs import Status
from hypernet.train.settings import Settings
from hypernet.webui import train_env, train_panel
from hypernet.webui.catalogue import Catalogue
from hypernet.webui.dialects.a1111 import Lent
from hypernet.webui.host import Host
from hypernet.webui.train_desk import Desk
from hypernet.webui.train_env import Environment
from hypernet.webui.train_tab import read, train_tabs
from tests.pipelines import pipeline
from tests.test_train_data import paint

QUICK = {"steps": 2, "learn_rate": "1e-2", "resolution": 16, "batch_size": 2}


class OneModel:
    """A host with one checkpoint, which says when its memory is lent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoint: Path | None = folder / "model"
        self.told: list[str] = []

    def model_dirs(self) -> Sequence[Path]:
        return (self.folder / "networks",)

    def cache_dir(self) -> Path | None:
        return None

    def may_hash(self) -> bool:
        return True

    def option(self, key: str, default: Any) -> Any:
        return default

    def publish(self, files: Mapping[str, str]) -> None:
        self.told.append(f"published {sorted(files)}")

    def checkpoint_path(self) -> Path | None:
        return self.checkpoint

    def lend_memory(self) -> None:
        self.told.append("lent")

    def claim_memory(self) -> None:
        self.told.append("claimed")


@pytest.fixture
def host(tmp_path: Path) -> OneModel:
    (tmp_path / "networks").mkdir()
    for number in range(5):
        paint(tmp_path / "pictures" / f"{number}.png", (64, 64), number)
        (tmp_path / "pictures" / f"{number}.txt").write_text("a <b>cat")
    (tmp_path / "pictures" / "broken.png").write_bytes(b"no picture")
    pipeline().save_pretrained(tmp_path / "model")
    return OneModel(tmp_path)


def desk_of(host: OneModel) -> Desk:
    whole = cast(Host, host)
    return Desk(whole, Catalogue(whole))


@pytest.fixture
def desk(host: OneModel) -> Desk:
    return desk_of(host)


def values(host: OneModel, **more: Any) -> dict[str, Any]:
    return {"folder": str(host.folder / "pictures"), "name": "tiny", **QUICK, **more}


def ended(desk: Desk) -> Status:
    for _ in range(240):
        (status,) = desk.trainings()
        if not status.running:
            return status
        time.sleep(0.5)
    raise AssertionError("it does not end")


def test_before_it_starts_it_shows_pictures_words_problems_and_memory(host: OneModel, desk: Desk) -> None:
    shown = desk.foresee(values(host))
    assert shown.count("<img") == 5
    assert "<b>5 pictures</b> for model" in shown
    assert "broken.png" in shown
    assert "free." in shown
    assert "&lt;b&gt;cat" in shown
    assert "<b>cat" not in shown


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"folder": " "}, "which folder"),
        ({"folder": "/nowhere/at all"}, "no such folder"),
        ({"name": ""}, "a name"),
        ({"name": "../x"}, "letters, digits"),
        ({"learn_rate": "fast"}, "fast"),
        ({"colour": "red"}, "no setting “colour”"),
    ],
)
def test_what_makes_no_sense_is_refused_and_the_memory_kept(
    host: OneModel, desk: Desk, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(HypernetError, match=said):
        desk.start(values(host, **changed))
    assert host.told == []
    assert not list((host.folder / "networks").glob("*/state.safetensors"))


def test_without_a_checkpoint_it_says_so(host: OneModel, desk: Desk) -> None:
    host.checkpoint = None
    with pytest.raises(HypernetError, match="no checkpoint"):
        desk.start(values(host))


def test_a_training_lends_the_memory_and_another_desk_finds_it_and_its_file_is_published(
    host: OneModel, desk: Desk
) -> None:
    desk.start(values(host))
    assert host.told == ["lent"]
    with pytest.raises(HypernetError, match="being trained already"):
        desk.start(values(host))
    assert host.told == ["lent"]
    later = desk_of(host)
    status = ended(later)
    assert status.state == "finished", status.said
    panel = later.panel()
    assert "Finished" in panel
    assert "&lt;hypernet:tiny:" in panel
    assert "<svg" in panel
    for _ in range(40):
        if "published ['tiny']" in host.told:
            break
        time.sleep(0.5)
    assert "claimed" in host.told
    assert "published ['tiny']" in host.told
    with pytest.raises(HypernetError, match="can't be done now"):
        later.act("tiny.training", "pause")
    later.act("tiny.training", "discard")
    assert "Nothing has been trained" in later.panel()
    assert (host.folder / "networks" / "tiny.safetensors").is_file()


@pytest.mark.parametrize("folder", ["nowhere.training", "../pictures", ""])
def test_only_trainings_can_be_acted_on(desk: Desk, folder: str) -> None:
    with pytest.raises(HypernetError, match="no training"):
        desk.act(folder, "discard")


def status(state: str, name: str = "ink", **said: Any) -> Status:
    return Status(Path(f"{name}.training"), name, state, 40, 100, said)


@pytest.mark.parametrize(
    ("state", "name", "actions"),
    [
        ("training", "ink", ["pause", "stop"]),
        ("paused", "ink", ["continue", "discard"]),
        ("interrupted", "ink", ["continue", "discard"]),
        ("finished", "ink", ["all", "discard"]),
        ("finished", "ink all", ["discard"]),
    ],
)
def test_only_what_makes_sense_has_a_button(state: str, name: str, actions: list[str]) -> None:
    shown = train_panel.training(status(state, name), [])
    assert [action for action in train_panel.ACTIONS if f'data-action="{action}"' in shown] == sorted(
        actions, key=list(train_panel.ACTIONS).index
    )


def test_what_a_training_says_is_text_and_no_html() -> None:
    shown = train_panel.training(status("failed", "a", note="<script>"), [])
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown


def test_the_curve_marks_the_best_step_and_leaves_out_what_is_no_number() -> None:
    drawn = train_panel.chart([(0, 1.0), (10, 0.6), (20, float("nan")), (30, 0.7)])
    assert "60.0% of that without the network at step 10, the best" in drawn
    assert drawn.split('points="')[1].split('"')[0].count(",") == 3
    assert "nan" not in drawn
    assert train_panel.chart([(0, 1.0)]) == ""


def test_fields_become_settings(tmp_path: Path) -> None:
    names = ["steps", "layer_structure", "template", "flip", "checkpoint", "others"]
    typed = ("pictures", "ink", 12, "1, 2, 2, 1", "[name] a|[filewords]", True, "", "min_snr=0\n\nwarmup = 3\n")
    made = Settings.from_values(read(names, typed) | {"checkpoint": str(tmp_path)})
    assert (made.steps, made.layer_structure, made.flip) == (12, (1, 2, 2, 1), True)
    assert (made.template, made.min_snr, made.warmup) == (("[name] a", "[filewords]"), 0, 3)
    with pytest.raises(HypernetError, match="NAME=VALUE"):
        read(["others"], ("pictures", "ink", "quickly"))


def test_an_empty_number_means_the_default() -> None:
    assert read(["steps", "others"], ("pictures", "ink", None, ""))["steps"] == Settings.steps


def test_a_tab_that_cannot_be_made_stops_no_host(monkeypatch: pytest.MonkeyPatch, desk: Desk) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert train_tabs(desk) == []


def package(site: Path, name: str, version: str) -> None:
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")


def test_what_is_too_old_or_missing_is_named(tmp_path: Path) -> None:
    package(tmp_path, "transformers", "4.30.2")
    package(tmp_path, "accelerate", "1.2.0")
    said = train_env.lacking([str(tmp_path)])
    assert said == ["diffusers 0.31 or newer (there is none)", "transformers 4.44 or newer (there is 4.30.2)"]


def test_the_hosts_python_trains_where_it_can_and_ours_only_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = Environment(tmp_path)
    assert environment.python() == Path(sys.executable)
    monkeypatch.setattr(sys, "path", [])
    assert environment.python() is None
    folder = tmp_path / train_env.FOLDER
    python, site = train_env.interpreter(folder), folder / "lib" / "python3.11" / "site-packages"
    python.parent.mkdir(parents=True)
    python.touch()
    package(site, "diffusers", "0.32.2")
    package(site, "transformers", "4.49.0")
    package(site, "accelerate", "1.2.1")
    assert environment.python() is None
    (site / "host.pth").touch()
    assert environment.python() == python


def test_a_setup_that_fails_says_so_and_can_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_env, "WANTED", ("./no-such-package",))
    environment = Environment(tmp_path)
    environment.install()
    for _ in range(240):
        if not environment.installing:
            break
        time.sleep(0.5)
    assert environment.failed
    assert "no-such-package" in environment.output
    shown = train_panel.environment(["x"], environment.installing, environment.failed, environment.output)
    assert "did not succeed" in shown
    assert 'data-action="install"' in shown


def test_memory_that_was_lent_comes_back_once() -> None:
    told: list[str] = []
    lent = Lent()
    lent.claim()
    lent.lend(lambda: told.append("away"), lambda: told.append("back"))
    lent.lend(lambda: told.append("away"), lambda: told.append("back"))
    lent.claim()
    lent.claim()
    assert told == ["away", "back"]
