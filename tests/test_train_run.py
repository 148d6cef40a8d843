"""A training as a whole: nothing is lost, nothing is hidden, and it goes on exactly where it was."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

pytest.importorskip("accelerate")

import hypernet
from hypernet import atomic
from hypernet.errors import HypernetError
from hypernet.train import jobs, run, training
from hypernet.train.base import Base
from hypernet.train.finish import Calibration, verdict
from hypernet.train.prospect import foresee, memory_needed, thumbnail
from hypernet.train.settings import Settings
from hypernet.train.steps import Trainer
from hypernet.train.store import Progress, Store, read_log
from tests.pipelines import KINDS, pipeline
from tests.test_train_data import paint

Event = dict[str, Any]
RANDOM: dict[str, Any] = {
    "crop": "random",
    "flip": True,
    "latent_sampling_method": "random",
    "shuffle_tags": True,
    "tag_drop_out": 0.3,
    "caption_drop_out": 0.2,
    "noise_offset": 0.1,
    "activation_func": "relu",
    "dropout_structure": (0, 0.3, 0),
    "weight_init": "XavierNormal",
}
"""Everything that draws by chance."""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for number in range(6):
        paint(tmp_path / "pictures" / f"{number}.png", (96, 64) if number % 2 else (64, 64), number)
        (tmp_path / "pictures" / f"{number}.txt").write_text("a cat, a dog, blurry")
    return tmp_path / "pictures"


def settings(pictures: Path, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "checkpoint": "tiny",
        "learn_rate": "1e-2",
        "steps": 8,
        "batch_size": 2,
        "resolution": 16,
        "warmup": 2,
    }
    return Settings(str(pictures), "tiny", output=str(pictures.parent / "out"), **(values | changes))


@pytest.fixture(autouse=True)
def output(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()


def losses(told: Settings) -> list[float]:
    return [line["loss"] for line in read_log(Store(told.state).log) if "loss" in line]


def notes(told: Settings) -> str:
    return "\n".join(str(line["note"]) for line in read_log(Store(told.state).log) if line.get("note"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_base_model_gets_its_hypernetwork(kind: str, pictures: Path) -> None:
    told = settings(pictures, write_pt=True)
    result = training.train(told, base=Base(pipeline(kind), "tiny"))
    assert result is not None
    assert [file.name for file in result.files] == ["tiny.safetensors", "tiny.pt", "tiny.png"]
    for file in result.files[:2]:
        network = hypernet.load(file)
        assert network.widths == (16, 24, 32) if kind != "sdxl" else (24, 32)
        assert network.metadata.name == "tiny"
    with safe_open(result.files[0], "pt") as file:
        said = file.metadata()
    assert said["ss_num_train_images"] == "6"
    assert said["ss_output_name"] == "tiny"
    assert json.loads(said["ss_tag_frequency"])["pictures"]["a cat"] == 6
    assert said["ss_base_model_version"].endswith("_v" if kind == "sd2" else "_epsilon")
    card = json.loads((pictures.parent / "out" / "tiny.json").read_text())
    assert card["preferred weight"] == result.calibration.preferred
    assert result.verdict in card["description"]


@pytest.mark.parametrize("at", [1, 4])
def test_a_pause_changes_no_number(at: int, pictures: Path, tmp_path: Path) -> None:
    whole = settings(pictures, **RANDOM)
    training.train(whole, base=Base(pipeline(), "tiny"))
    parts = replace(whole, output=str(tmp_path / "parts"))
    (tmp_path / "parts").mkdir()

    def pause(event: Event) -> None:
        if event.get("step") == at and "loss" in event:
            jobs.pause(parts.state)

    assert training.train(parts, pause, Base(pipeline(), "tiny")) is None
    assert jobs.status(parts.state).state == "paused"
    assert len(losses(parts)) == at
    result = training.train(parts, base=Base(pipeline(), "tiny"))
    assert losses(parts) == losses(whole)
    assert result is not None
    one, other = (hypernet.load(Path(told.output) / "tiny.safetensors") for told in (whole, parts))
    for first, second in zip(one.nets(), other.nets(), strict=True):
        assert all(map(torch.equal, first.tensors(), second.tensors()))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    pipeline().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def wait(folder: Path, until: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, (folder / "output.txt").read_text()
        time.sleep(0.05)


def test_a_killed_training_goes_on_exactly(pictures: Path, checkpoint: Path, tmp_path: Path) -> None:
    told = settings(pictures, steps=60, checkpoint=str(checkpoint), **RANDOM)
    folder = jobs.start(told)
    moment = random.randint(22, 50)
    wait(folder, lambda: len(losses(told)) >= moment)
    assert jobs.status(folder).running
    with pytest.raises(HypernetError, match="being trained already"):
        jobs.start(told)
    os.kill(json.loads((folder / "alive").read_text())[0], signal.SIGKILL)
    wait(folder, lambda: not Store(folder).worked_on())
    assert jobs.status(folder).state == "interrupted"
    jobs.go_on(folder)
    wait(folder, lambda: jobs.status(folder).state == "finished")
    again = replace(told, output=str(tmp_path / "again"))
    folder = jobs.start(again)
    wait(folder, lambda: jobs.status(folder).state == "finished")
    assert losses(again) == losses(told)
    assert len(losses(told)) == 60


def test_the_page_finds_a_training_and_can_end_it(pictures: Path, checkpoint: Path, tmp_path: Path) -> None:
    told = settings(pictures, steps=100_000, checkpoint=str(checkpoint), early_stop=False)
    folder = jobs.start(told)
    wait(folder, lambda: len(losses(told)) > 3)
    (found,) = jobs.trainings(tmp_path / "out")
    assert (found.name, found.running, found.steps) == ("tiny", True, 100_000)
    with pytest.raises(HypernetError, match="stop it first"):
        jobs.discard(folder)
    jobs.stop(folder)
    wait(folder, lambda: jobs.status(folder).state == "finished")
    said = jobs.status(folder).said
    assert (tmp_path / "out" / "tiny.safetensors").is_file()
    assert said["verdict"]
    assert jobs.curve(folder)[0][0] == 0
    jobs.discard(folder)
    assert not list(jobs.trainings(tmp_path / "out"))
    assert (tmp_path / "out" / "tiny.safetensors").is_file()


def test_nothing_is_started_that_would_fail_at_once(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(HypernetError, match="no such checkpoint"):
        jobs.start(settings(pictures))
    with pytest.raises(HypernetError, match="no such folder"):
        jobs.start(settings(tmp_path / "nowhere", checkpoint=str(tmp_path)))
    with pytest.raises(HypernetError, match="no training here"):
        jobs.status(tmp_path / "nowhere.training")


def test_what_went_wrong_is_in_the_status(pictures: Path) -> None:
    told = settings(pictures, enable_sizes=(17,))
    with pytest.raises(HypernetError, match="no width 17"):
        training.train(told, base=Base(pipeline(), "tiny"))
    said = jobs.status(told.state)
    assert (said.state, said.can_go_on) == ("failed", True)
    assert "no width 17" in said.said["note"]


@pytest.fixture
def broken_steps(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Steps, by number, whose weights become NaN."""
    steps: set[int] = set()
    real = Trainer.step

    def step(self: Trainer, *args: Any) -> float:
        loss = real(self, *args)
        if self.done in steps:
            steps.discard(self.done)
            with torch.no_grad():
                self.weights[0].fill_(float("nan"))
            return float("nan")
        return loss

    monkeypatch.setattr(Trainer, "step", step)
    return steps


def test_a_loss_that_is_no_number_leads_back_to_the_best_weights(pictures: Path, broken_steps: set[int]) -> None:
    broken_steps.add(5)
    told = settings(pictures, steps=30)
    result = training.train(told, base=Base(pipeline(), "tiny"))
    assert result is not None
    assert "The loss is no number any more: back to step" in notes(told)
    rates = [line["rate"] for line in read_log(Store(told.state).log) if "rate" in line]
    assert rates[4] == pytest.approx(1e-2)
    assert rates[-1] == pytest.approx(1e-2 / 3)
    hypernet.load(result.files[0])


def test_a_training_that_never_holds_ends_with_what_was_best(pictures: Path, broken_steps: set[int]) -> None:
    broken_steps.update(range(1, 30))
    told = settings(pictures, steps=30)
    result = training.train(told, base=Base(pipeline(), "tiny"))
    assert result is not None
    assert result.best_step == 0
    assert result.verdict.startswith("Hardly learned")


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The most pictures of which the UNet can keep what it needs for the way back."""
    limit = [2]
    real = Trainer.answer

    def answer(self: Trainer, batch: Any) -> torch.Tensor:
        if torch.is_grad_enabled() and len(batch) > limit[0]:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        if limit[0] == 0 and not any(getattr(part, "gradient_checkpointing", False) for part in self.unet.modules()):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return real(self, batch)

    monkeypatch.setattr(Trainer, "answer", answer)
    return limit


def test_short_memory_costs_time_and_no_accuracy(pictures: Path, small_memory: list[int], tmp_path: Path) -> None:
    told = settings(pictures, batch_size=4)
    small_memory[0] = 1
    training.train(told, base=Base(pipeline(), "tiny"))
    assert "1 at a time, of a batch of" in notes(told)
    small_memory[0] = 4
    free = replace(told, output=str(tmp_path / "free"))
    (tmp_path / "free").mkdir()
    training.train(free, base=Base(pipeline(), "tiny"))
    assert losses(told) == pytest.approx(losses(free), rel=1e-4)


def test_no_memory_at_all_is_said(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(self: Trainer, batch: Any) -> torch.Tensor:
        if torch.is_grad_enabled():
            raise RuntimeError("CUDA out of memory")
        return batch.noise + 1

    monkeypatch.setattr(Trainer, "answer", answer)
    told = settings(pictures)
    with pytest.raises(HypernetError, match="not enough memory"):
        training.train(told, base=Base(pipeline(), "tiny"))
    assert "gradient checkpointing is on" in notes(told)
    assert "the UNet waits outside of the GPU" in notes(told)


def test_a_full_disk_loses_nothing(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "RETRY_SECONDS", 0.0)
    real, refused = atomic.writing, [0]

    def writing(path: str | Path) -> Any:
        if Path(path).suffix in (".safetensors", ".cache") and refused[0] < 12:
            refused[0] += 1
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return real(path)

    monkeypatch.setattr(atomic, "writing", writing)
    monkeypatch.setattr("hypernet.files.writing.writing", writing)
    told = settings(pictures)
    result = training.train(told, base=Base(pipeline(), "tiny"))
    assert result is not None
    assert len(losses(told)) == 8
    assert "The state can't be saved now" in notes(told)
    assert "The file can't be written" in notes(told)
    hypernet.load(result.files[0])


def test_training_goes_on_from_a1111s_file_and_moments(pictures: Path) -> None:
    """The file of `tests/data/train` has other widths than the tiny model, which only its owner's model would have."""
    told = settings(pictures, write_pt=True)
    training.train(told, base=Base(pipeline(), "tiny"))
    first = pictures.parent / "out" / "tiny.pt"
    more = replace(told, name="more", start_from=str(first))
    result = training.train(more, base=Base(pipeline(), "tiny"))
    assert result is not None
    before, after = hypernet.load(first), hypernet.load(result.files[0])
    assert after.metadata.step == (before.metadata.step or 0) + result.best_step
    wrong = replace(told, name="wrong", start_from=str(Path(__file__).parent / "data/train/resumed_at_10.pt"))
    with pytest.raises(HypernetError, match="another base model"):
        training.train(replace(wrong, output=str(pictures.parent / "wrong")), base=Base(pipeline("sdxl"), "tiny"))


def test_no_picture_is_held_out_where_all_are_wanted(pictures: Path) -> None:
    told = settings(pictures).on_all_pictures(3, "1e-3")
    result = training.train(told, base=Base(pipeline(), "tiny"))
    assert result is not None
    assert result.verdict == "Trained on all pictures for 3 steps; nothing was held out to measure it on."
    network = hypernet.load(result.files[0])
    assert network.metadata.step == 3


def test_one_picture_is_enough_to_train_on(tmp_path: Path) -> None:
    paint(tmp_path / "one" / "a.png", (64, 64))
    told = settings(tmp_path / "one")
    assert training.train(told, base=Base(pipeline(), "tiny")) is not None


def progress(*checks: tuple[int, float]) -> Progress:
    best = min(checks, key=lambda check: check[1])
    return Progress(step=checks[-1][0], without=1.0, best=best[1], best_step=best[0], checks=list(checks))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (progress((0, 1.0), (20, 0.7), (40, 0.6)), "Learned: the error on pictures it has not seen fell by 40%"),
        (progress((0, 1.0), (20, 0.995)), "Hardly learned"),
        (progress((0, 1.0), (20, 0.6), (40, 0.7), (60, 0.8)), "It overfits from step 40."),
    ],
)  # fmt: skip
def test_the_verdict_says_what_the_curve_shows(made: Progress, said: str) -> None:
    assert said in verdict(made)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"name": "../x"}, "letters, digits"),
        ({"name": " "}, "letters, digits"),
        ({"learn_rate": "fast"}, "no number"),
        ({"learn_rate": "0"}, "nothing is learned"),
        ({"steps": 0}, "1 or more"),
        ({"batch_size": 0}, "1 or more"),
        ({"min_snr": -2.0}, "0 or more"),
        ({"min_snr": float("nan")}, "0 or more"),
        ({"optimizer": "Adan"}, "no optimizer"),
        ({"crop": "left"}, "no crop"),
        ({"clip_grad_mode": "both"}, "no gradient clipping"),
        ({"layer_structure": (2, 1)}, "begin and end with 1"),
        ({"template": ()}, "template is empty"),
        ({"mixed_precision": "fp8"}, "no mixed precision"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], reason: str, pictures: Path) -> None:
    with pytest.raises(HypernetError, match=reason):
        replace(settings(pictures), **wrong).check()


def test_settings_go_through_json_and_back(pictures: Path) -> None:
    told = settings(pictures, **RANDOM)
    assert Settings.from_json(told.to_json()) == told
    for wrong, reason in (
        ("[]", "no table"),
        ("{", "no JSON"),
        ('{"colour": 1}', "no setting “colour”"),
        ('{"steps": "many"}', "can't be 'many'"),
        ('{"flip": 1}', "can't be 1"),
        ('{"layer_structure": ["a"]}', "can't be"),
        ("{}", "is missing"),
    ):
        with pytest.raises(HypernetError, match=reason):
            Settings.from_json(wrong)


def test_the_package_is_called_like_a_function(pictures: Path, checkpoint: Path) -> None:
    seen: list[Event] = []
    told = settings(pictures)
    options = {"output": told.output, "learn_rate": "1e-3", "steps": 2, "resolution": 16, "batch_size": 2}
    result = hypernet.train(str(pictures), "called", str(checkpoint), watch=seen.append, **options)  # type: ignore[operator]
    assert result is not None
    assert result.files[0].name == "called.safetensors"
    assert {"preparing", "training", "finishing", "finished"} <= {event.get("state") for event in seen}


def test_before_it_starts_one_sees_what_it_would_be(pictures: Path) -> None:
    (pictures / "broken.png").write_text("no picture")
    seen = foresee(replace(settings(pictures), checkpoint=str(pictures)))
    assert len(seen.pictures) == 6
    assert "broken.png" in str(seen.problems[0])
    assert seen.words[0][1] == 6
    assert max(thumbnail(seen.pictures[0]).size) <= 160
    needed = memory_needed("sd1", settings(pictures, resolution=512), half=True)
    assert needed["the model's UNet"] == 2 * 859_520_964
    assert needed["the network and its gradients"] / 8 == pytest.approx(21.9e6, rel=0.01)


def _launch(processes: int, told: Settings) -> list[float]:
    code = (
        "import sys; from hypernet.train.settings import Settings; from hypernet.train.training import train;"
        "train(Settings.from_json(sys.argv[1]))"
    )
    script = Path(told.output) / "go.py"
    script.parent.mkdir(exist_ok=True)
    script.write_text(code)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc_per_node={processes}",
        str(script),
    ]
    made = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, told.to_json()], check=True, env=made, timeout=300, capture_output=True)
    return losses(told)


def test_two_processes_equal_one(pictures: Path, checkpoint: Path, tmp_path: Path) -> None:
    told = settings(pictures, checkpoint=str(checkpoint), batch_size=3, **RANDOM | {"dropout_structure": ()})
    one = _launch(1, replace(told, output=str(tmp_path / "one")))
    two = _launch(2, replace(told, output=str(tmp_path / "two")))
    assert len(one) == 8
    assert two == pytest.approx(one, rel=1e-4)


def test_the_search_takes_a_rate_that_gets_further(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = settings(pictures, learn_rate="auto", steps=2)
    training.train(told, base=Base(pipeline(), "tiny"))
    assert "The learning rate is " in notes(told)
    tried = [line["tried"] for line in read_log(Store(told.state).log) if "tried" in line]
    assert tried == list(run.SEARCHED[: len(tried)])


def test_it_ends_where_it_no_longer_gets_better(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "CHECK_EVERY", 2)
    curve: Iterator[float] = iter([1.0, 0.9, 0.5, *[0.55] * 50])
    monkeypatch.setattr(run.Run, "loss", lambda self, strength=1.0: next(curve, 0.55))
    told = settings(pictures, steps=500)
    result = training.train(told, base=Base(pipeline(), "tiny"))
    assert result is not None
    assert result.best_step == 2
    assert len(losses(told)) == 2 + 2 * run.PATIENCE
    assert isinstance(result.calibration, Calibration)
