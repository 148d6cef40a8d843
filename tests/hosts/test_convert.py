"""What is made of a network for programs without hypernetworks, opened by the hosts' own code: the same picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hypernet
from hypernet import Pair
from hypernet.convert.bake import bake
from hypernet.convert.kohya import Layers
from hypernet.convert.lora import Form, save_lora, to_lora
from hypernet.convert.merge import merge
from hypernet.convert.model import UNet
from hypernet.convert.parts import read_part
from hypernet.convert.recipe import Chain, Leaf
from hypernet.network import Linear, Net
from tests.hosts import nets
from tests.hosts.test_sdnext import Real, real
from tests.hosts.test_webui import difference

__all__ = ["real"]

FORMS = {
    "exact": Form(full=True, bias=True, dtype=torch.float32),
    "every rank, with the bias": Form(energy=1.0, bias=True, dtype=torch.float32),
}
STRENGTH = 0.4


def told(host: Any, made: Any, what: str) -> None:
    """`made` is what the network at STRENGTH draws, and not what is drawn without it."""
    tagged, plain = host.draw(f"a cat <hypernet:t-linear:{STRENGTH}>"), host.draw("a cat")
    found, effect = difference(made, tagged), difference(plain, tagged)
    print(f"max {found.max()}, mean {found.mean():.6f}, effect {effect.mean():.3f}: {what}")
    assert effect.mean() > 1
    assert found.max() <= 2
    assert found.mean() < 0.02 * effect.mean()


@pytest.mark.parametrize("form", FORMS)
def test_the_hosts_own_lora_loader_draws_what_the_network_draws(host: Any, form: str) -> None:
    checkpoint = host.checkpoint()
    if Layers.of(UNet.open(checkpoint)).per_level != 3:
        pytest.skip("a LoRA's names count blocks as SD1, SD2 and SDXL have them, and this model has others")

    def write(target: Path) -> None:
        part = read_part(str(host.folder / "t-linear.pt"))
        made = to_lora(checkpoint, [part], FORMS[form])
        save_lora(made, FORMS[form], [part], checkpoint, target)

    with host.lora("t-made", write):
        told(host, host.draw(f"a cat <lora:t-made:{STRENGTH}>"), form)


def test_a_baked_checkpoint_draws_what_the_network_draws(host: Any) -> None:
    checkpoint = host.checkpoint()
    part = read_part(f"{host.folder / 't-linear.pt'}:{STRENGTH}")
    with host.another_checkpoint(lambda target: bake(checkpoint, [part], target) and None) as title:
        made = host.draw("a cat", options={"sd_model_checkpoint": title})
        told(host, made, "baked")


def test_a_merged_file_draws_what_its_tags_draw(host: Any) -> None:
    files = (host.folder / "t-safe.safetensors", host.folder / "t-linear.pt")
    made = merge(Chain(tuple(Leaf(read_part(f"{file}:{STRENGTH}").use_in_file()) for file in files)))
    assert made.exact
    file = host.folder / "t-merged.pt"
    hypernet.save(made.network, file)
    host.call("/hypernet/v1/refresh", {})
    try:
        wanted = host.draw(f"a cat <hypernet:t-safe:{STRENGTH}> <hypernet:t-linear:{STRENGTH}>")
        for drawn in (host.draw("a cat <hypernet:t-merged:1>"), host.reference("a cat <hypernet:t-merged:1>")):
            found, effect = difference(drawn, wanted), difference(host.draw("a cat"), wanted)
            print(f"max {found.max()}, mean {found.mean():.6f}, effect {effect.mean():.3f}: merged")
            assert found.max() <= 1
            assert found.mean() < 0.02 * effect.mean()
    finally:
        file.unlink()
        host.call("/hypernet/v1/refresh", {})


@pytest.fixture
def without_constants(real: Real) -> Iterator[Path]:
    """A linear network without a constant on V, which SD.Next's loader of LoRAs has no way for, in its folder."""
    folder = Path(real.call("/hypernet/v1/networks")[0]["path"]).parent
    made = nets.network((320, 640, 768), 1)
    pairs = {width: Pair(pair.k, _without_bias(pair.v)) for width, pair in made.pairs.items()}
    file = folder / "t-made.pt"
    hypernet.save(replace(made, pairs=pairs), file, overwrite=True)
    real.call("/hypernet/v1/refresh", {})
    try:
        yield file
    finally:
        file.unlink()
        real.call("/hypernet/v1/refresh", {})


def _without_bias(net: Net) -> Net:
    layers = (Linear(layer.weight, torch.zeros(len(layer.weight))) for layer in net.layers if isinstance(layer, Linear))
    return replace(net, layers=tuple(layers))


@pytest.mark.parametrize("form", FORMS)
def test_sdnexts_own_lora_loader_draws_what_the_network_draws(real: Real, without_constants: Path, form: str) -> None:
    models = without_constants.parents[1]
    checkpoint = models / real.call("/sdapi/v1/options")["sd_model_checkpoint"].partition(" [")[0]
    part, target = read_part(str(without_constants)), models / "Lora" / "t-made.safetensors"
    save_lora(to_lora(checkpoint, [part], FORMS[form]), FORMS[form], [part], checkpoint, target, overwrite=True)
    try:
        real.call("/sdapi/v1/refresh-loras", {})
        for strength in (0.4, -0.3):
            plain, _ = real.draw("a cat")
            made, _ = real.draw(f"a cat <lora:t-made:{strength}>")
            again, _ = real.draw("a cat")
            wanted, _ = real.draw(f"a cat <hypernet:t-made:{strength}>")
            found, effect = abs(made - wanted), abs(wanted - plain)
            print(f"max {found.max()}, mean {found.mean():.6f}, effect {effect.mean():.3f}: {form}, {strength}")
            assert np.abs(again - plain).max() <= 1
            assert effect.mean() > 1
            assert found.mean() < 0.02 * effect.mean()
    finally:
        target.unlink()
