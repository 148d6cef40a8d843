"""The command line, as typed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

pytest.importorskip("typer")

from PIL import Image

import hypernet
from hypernet import Metadata, Network
from hypernet.app.drawing import Request, parameters
from hypernet.app.samplers import SAMPLERS
from hypernet.cli.console import clean
from hypernet.webui import infotext
from tests.conftest import Run
from tests.unets import network

draws = pytest.mark.skipif(not find_spec("diffusers"), reason="drawing needs diffusers")


def ink(widths: tuple[int, ...] = (16, 24)) -> Network:
    metadata = Metadata(name="ink", step=500, activation_func="relu", activate_output=False)
    return replace(network(seed=1, kind="relu", widths=widths), metadata=metadata)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ink.pt"
    hypernet.save(ink(), path)
    return path


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, hypernet.cli.commands; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("command", ["generate", "demo", "list", "info", "convert", "bench", "search", "get", "lookup"])
def test_every_command_explains_itself_with_an_example(command: str, run: Run) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"hypernet {command}" in out


def test_info_tells_what_is_in_a_file(file: Path, run: Run) -> None:
    code, out, _ = run("info", file)
    assert code == 0
    for told in ("1 → 2 → 1", "relu", "500", "16", "24", "float32"):
        assert told in out


def test_info_as_json_has_the_hash_and_the_norm_of_each_net(file: Path, run: Run) -> None:
    _, out, _ = run("info", file, "--json")
    told = json.loads(out)
    assert len(told["sha256"]) == 64
    assert told["widths"] == [16, 24]
    assert told["metadata"]["step"] == 500
    expected = sum(float(weight.square().sum()) for weight in ink().pairs[16].v.tensors()) ** 0.5
    assert told["weight_norms"]["16"]["v"] == pytest.approx(expected, rel=1e-5)


def test_a_file_that_can_not_be_read_is_one_sentence_and_exit_code_1(tmp_path: Path, run: Run) -> None:
    (tmp_path / "broken.pt").write_bytes(b"PK\3\4 and nothing else")
    code, out, err = run("info", "broken.pt")
    assert (code, out) == (1, "")
    assert err.startswith("broken.pt: ")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["info"],
        ["convert", "a.pt", "b.pt", "--half", "--full"],
        ["generate", "a cat", "--size", "big"],
        ["generate", "a cat", "--sampler", "Euler z"],
        ["generate", "a cat", "--steps", "0"],
        ["generate", "a cat", "-o", "out.jpg"],
        ["paint"],
    ],
)
def test_a_command_that_makes_no_sense_is_exit_code_2(arguments: list[str], run: Run) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert "hypernet" in err or "Usage" in err


def test_convert_there_and_back_loses_nothing(file: Path, run: Run) -> None:
    assert run("convert", file, "ink.safetensors")[0] == 0
    assert run("convert", "ink.safetensors", "again.pt")[0] == 0
    first, again = hypernet.load(file), hypernet.load("again.pt")
    pairs = zip(first.nets(), again.nets(), strict=True)
    assert all(torch.equal(a, b) for one, two in pairs for a, b in zip(one.tensors(), two.tensors(), strict=True))
    assert again.metadata == first.metadata


def test_convert_to_half_halves(file: Path, run: Run) -> None:
    assert run("convert", file, "half.pt", "--half")[0] == 0
    assert {tensor.dtype for net in hypernet.load("half.pt").nets() for tensor in net.tensors()} == {torch.float16}


def test_convert_replaces_a_file_only_when_told(file: Path, tmp_path: Path, run: Run) -> None:
    target = tmp_path / "kept.pt"
    target.write_text("mine")
    code, _, err = run("convert", file, target)
    assert code == 1
    assert "--force" in err
    assert target.read_text() == "mine"
    assert run("convert", file, target, "--force")[0] == 0
    assert hypernet.load(target).widths == (16, 24)


def test_list_shows_the_tag_of_each_file(file: Path, run: Run) -> None:
    code, out, _ = run("list", "-H", file.parent)
    assert code == 0
    assert "<hypernet:ink:1>" in out


def test_list_as_json_names_the_files(file: Path, run: Run) -> None:
    _, out, _ = run("list", "-H", file.parent, "--json")
    assert {"name": "ink", "path": str(file), "size": file.stat().st_size} in json.loads(out)


def test_a_folder_that_is_not_there_is_named(run: Run) -> None:
    code, _, err = run("list", "-H", "nowhere")
    assert code == 1
    assert "nowhere: there is no such folder" in err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file names")
def test_nothing_in_a_files_name_acts_on_the_terminal(tmp_path: Path, run: Run) -> None:
    hypernet.save(ink(), tmp_path / "a.pt")
    evil = tmp_path / "[red]\x1b[2Jx\u202e.pt"
    (tmp_path / "a.pt").rename(evil)
    for arguments in (["info", evil], ["list", "-H", tmp_path], ["info", str(evil) + "no"]):
        _, out, err = run(*arguments)
        assert "\x1b" not in out + err
        assert "\u202e" not in out + err
        assert "[red]" in out + err


def test_text_from_a_stranger_is_one_line_of_printable_characters() -> None:
    assert clean("a\x1b[31m\nb\x07\u202ec") == "a�[31m b��c"


def test_parameters_read_as_a1111_writes_them() -> None:
    request = Request("a cat <hypernet:ink:0.7>", "blurry", 20, 7.0, 5, (512, 768), "Euler a")
    text = parameters(request, "model", {"ink": "0123456789abcdef", "b": "f" * 64})
    assert text.splitlines()[:2] == ["a cat <hypernet:ink:0.7>", "Negative prompt: blurry"]
    assert text.splitlines()[2].startswith("Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x768, Model: ")
    hashes = json.loads(text.split("Hypernet hashes: ")[1].split(", Version")[0])
    assert infotext.read(hashes) == {"ink": "0123456789", "b": "f" * 10}


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_is_one_that_diffusers_has(name: str) -> None:
    diffusers = pytest.importorskip("diffusers")
    cls, changes = SAMPLERS[name]
    scheduler = getattr(diffusers, cls).from_config(diffusers.DDIMScheduler(steps_offset=1).config, **changes)
    scheduler.set_timesteps(4)


@draws
def test_generate_writes_a_picture_with_its_parameters(tmp_path: Path, run: Run) -> None:
    code, out, err = run("generate", "a red circle", "-o", "out.png", "--seed", "3", "--steps", "2", "-n", "blue")
    assert (code, out, err) == (0, "out.png\n", "")
    picture = Image.open("out.png")
    assert picture.text["parameters"].startswith("a red circle\nNegative prompt: blue\nSteps: 2, ")
    assert "Seed: 3, Size: 96x96, Model: demo" in picture.text["parameters"]


@draws
def test_a_batch_has_the_seeds_that_follow(tmp_path: Path, run: Run) -> None:
    run("generate", "a red circle", "-o", "all.png", "--seed", "3", "--steps", "2", "--batch", "2")
    run("generate", "a red circle", "-o", "one.png", "--seed", "4", "--steps", "2")
    assert Image.open("all-2.png").tobytes() == Image.open("one.png").tobytes()
    assert Image.open("all-1.png").tobytes() != Image.open("one.png").tobytes()


@draws
def test_without_a_file_named_pictures_are_numbered_in_outputs(tmp_path: Path, run: Run) -> None:
    for _ in range(2):
        run("generate", "a red circle", "--seed", "3", "--steps", "1")
    assert sorted(path.name for path in (tmp_path / "outputs").iterdir()) == ["00000-3.png", "00001-3.png"]


@draws
def test_a_tag_changes_the_picture_and_its_file_is_named_by_hash(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "networks"
    folder.mkdir()
    hypernet.save(ink(widths=(64, 80, 96, 128)), folder / "ink.pt")
    same = ("--seed", "3", "--steps", "2", "-H", folder)
    assert run("generate", "a red circle <hypernet:ink:0.7>", "-o", "with.png", *same)[0] == 0
    run("generate", "a red circle <hypernet:ink:0>", "-o", "zero.png", *same)
    run("generate", "a red circle", "-o", "without.png", *same)
    assert Image.open("with.png").tobytes() != Image.open("without.png").tobytes()
    assert Image.open("zero.png").tobytes() == Image.open("without.png").tobytes()
    digest = json.loads(run("info", folder / "ink.pt", "--json")[1])["sha256"]
    assert f'Hypernet hashes: "ink: {digest[:10]}"' in Image.open("with.png").text["parameters"]


@draws
def test_a_network_that_is_missing_is_told_on_stderr_and_the_picture_still_comes(run: Run) -> None:
    code, out, err = run("generate", "a red circle <hypernet:unheard-of>", "-o", "out.png", "--steps", "1")
    assert (code, out) == (0, "out.png\n")
    assert "unheard-of" in err


@draws
def test_a_size_that_can_not_be_is_told(run: Run) -> None:
    code, _, err = run("generate", "a red circle", "--size", "100x100", "--steps", "1")
    assert code == 1
    assert "multiple of 8" in err


@draws
def test_bench_explains_what_each_projection_costs_and_why(run: Run) -> None:
    code, out, _ = run("bench", "--explain")
    assert code == 0
    assert "fold" in out and "stream" in out and "the text is the same in every step" in out


@draws
def test_bench_gives_each_case_as_a_ratio(tmp_path: Path, run: Run) -> None:
    code, out, _ = run("bench", "--rounds", "1", "--json")
    assert code == 0
    told = json.loads(out)
    assert told["none"]["ratio"] == 1
    assert set(told) == {"none", "linear", "relu"}


@draws
def test_the_demo_shows_five_strengths_side_by_side(tmp_path: Path, run: Run) -> None:
    code, out, _ = run("demo", "--network", "ink")
    assert code == 0
    (path,) = (tmp_path / "outputs").glob("demo-ink-*.png")
    assert str(path.relative_to(tmp_path)) in out
    assert "Try next" in out
    assert Image.open(path).width > 5 * 96
