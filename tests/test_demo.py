"""The embedded demo: its model and three hypernetworks, the drawings they learned from, the check that reads them."""

from __future__ import annotations

import socket
from typing import Any

import numpy as np
import pytest

pytest.importorskip("diffusers")

import torch

import hypernet
from hypernet.app.demo import NETWORKS, WEIGHTS, load_demo
from hypernet.pipeline.hypernetworks import Hypernetworks
from hypernet.sites import find_sites
from tools.demo_training import parts
from tools.demo_training.check import agrees, read
from tools.demo_training.effects import draw
from tools.demo_training.painting import grid, ground
from tools.demo_training.scenes import GROUNDS, SIZE, Scene, caption, is_held_out, random_scene, with_material

NAMES = ("disperse", "ink", "water")


@pytest.fixture(scope="module")
def pipe() -> Hypernetworks:
    return Hypernetworks(load_demo(), NETWORKS)


def make(pipe: Any, prompts: list[str], steps: int = 12) -> Any:
    seeds = [torch.Generator().manual_seed(i) for i in range(len(prompts))]
    return pipe(prompts, num_inference_steps=steps, guidance_scale=3.0, generator=seeds, output_type="np").images


def test_the_demo_loads_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the demo asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert load_demo().unet.config.cross_attention_dim == parts.TEXT_WIDTH


def test_a_missing_demo_model_is_named_with_the_command_that_makes_it(tmp_path: Any) -> None:
    with pytest.raises(FileNotFoundError, match="train_demo"):
        load_demo(tmp_path)


def test_the_demo_takes_at_most_20_megabytes() -> None:
    files = [f for folder in (WEIGHTS, NETWORKS) for f in folder.rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) < 20e6


def test_the_tokenizer_knows_every_word_of_every_caption() -> None:
    tokenizer = parts.build_tokenizer()
    rng = np.random.default_rng(0)
    for _ in range(300):
        assert tokenizer.unk_token_id not in tokenizer(caption(random_scene(rng, held_out=None))).input_ids


def test_training_scenes_hold_no_held_out_combination() -> None:
    rng = np.random.default_rng(1)
    assert not any(is_held_out(random_scene(rng)) for _ in range(500))
    assert all(is_held_out(random_scene(rng, held_out=True)) for _ in range(50))


def test_the_check_reads_drawings_as_they_were_meant() -> None:
    rng = np.random.default_rng(2)
    for _ in range(40):
        scene = random_scene(rng, held_out=None)
        noise = rng.normal(0, 0.01, (SIZE, SIZE, 3))
        reading = read(draw(scene) + noise)
        assert agrees(reading, scene), (scene, reading)
        assert reading.ground == scene.ground


@pytest.mark.parametrize("name", GROUNDS)
def test_the_check_sees_no_subject_on_an_empty_ground(name: str) -> None:
    reading = read(ground(Scene("circle", "red", ground=name), *grid(SIZE)))
    assert (reading.shape, reading.colour, reading.ground) == ("", "", name)


def test_the_check_does_not_call_a_blot_a_shape() -> None:
    assert read(draw(Scene("star", "red", material="dust", amount=1.0, seed=3))).shape == ""


@pytest.mark.parametrize("material", ["dust", "ink", "water"])
def test_an_effect_starts_at_the_plain_picture_and_grows(material: str) -> None:
    scene = Scene("square", "orange")
    pictures = [draw(with_material(scene, material, amount)) for amount in (0, 0.25, 0.5, 0.75, 1)]
    distances = [float(np.abs(picture - draw(scene)).mean()) for picture in pictures]
    assert distances[0] < 0.005
    assert distances == sorted(distances)


def test_the_demo_follows_prompts_it_never_saw(pipe: Hypernetworks) -> None:
    rng = np.random.default_rng(3)
    scenes = [random_scene(rng, held_out=True) for _ in range(12)]
    pictures = make(pipe, [caption(scene) for scene in scenes])
    assert sum(agrees(read(p), s) for p, s in zip(pictures, scenes, strict=True)) >= 10


@pytest.mark.parametrize("name", NAMES)
def test_a_network_has_a_pair_for_every_width_of_the_demo(name: str, pipe: Hypernetworks) -> None:
    network = pipe.library.open(name)
    assert isinstance(network, hypernet.Network)
    assert set(network.widths) == {site.width for site in find_sites(pipe.unet)}


@pytest.mark.parametrize("name", NAMES)
def test_more_strength_takes_the_picture_further_away(name: str, pipe: Hypernetworks) -> None:
    prompts = ["a red circle", "a blue star on white", "a yellow heart on black", "a green square on pink"]
    plain, *changed = (
        make(pipe, [f"{p} <hypernet:{name}:{strength}>" for p in prompts], steps=8)
        for strength in (0, 0.25, 0.5, 0.75, 1)
    )
    distances = [float(np.abs(pictures - plain).mean()) for pictures in changed]
    assert pipe.notes == ()
    assert distances == sorted(distances)
    assert distances[0] > 0
    assert distances[-1] > 0.02
