"""What Forge and its heirs run besides a plain SD1 checkpoint: ControlNet, IP-Adapter, quantised UNets.

Only for real hosts (`HYPERNET_FORGE` and so on, see `conftest.REAL`), which find these models as they start.
"""

from __future__ import annotations

import urllib.error
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import hypernet
from tests.hosts import models, nets
from tests.hosts.conftest import FOLDERS, REAL
from tests.hosts.real import running
from tests.hosts.test_webui import BOTH, same, same_as_reference, settings

CONTROLNET, IP_ADAPTER, REST = "t-controlnet", "t-ip-adapter", "t-rest"
GGUF = ("Q8_0", "Q4_0")


def files(root: Path) -> dict[Path, Callable[[Path], None]]:
    """Where the host looks for what these tests need, and what writes it."""
    folder = root / "models"
    checkpoint = next(file for file in (folder / "Stable-diffusion").glob("*.safetensors") if file.stat().st_size > 1e9)
    made: dict[Path, Callable[[Path], None]] = {
        folder / "ControlNet" / f"{CONTROLNET}.safetensors": models.write_controlnet,
        folder / "ControlNet" / f"{IP_ADAPTER}.safetensors": models.write_ip_adapter,
        folder / "ControlNetPreprocessor" / "CLIP-ViT-H-14.safetensors": models.write_clip_vision,
        folder / "VAE" / f"{REST}.safetensors": partial(models.write_rest, checkpoint=checkpoint),
    }
    if find_spec("gguf"):
        for kind in GGUF:
            path = folder / "Stable-diffusion" / f"t-{kind}.gguf"
            made[path] = partial(models.write_gguf, checkpoint=checkpoint, kind=kind)
    return made


@pytest.fixture(scope="module", params=[kind for kind in REAL if kind != "a1111"])
def host(request: pytest.FixtureRequest) -> Iterator[Any]:
    root = FOLDERS[request.param]
    with ExitStack() as stack:
        for path, write in files(root).items():
            stack.enter_context(models.file(path, write))
        real = stack.enter_context(running(root, request.param))
        nets.write(real.folder, real.state()["widths"])
        real.call("/hypernet/v1/refresh", {})
        yield real


@pytest.mark.parametrize(
    ("model", "module"),
    [(CONTROLNET, "None"), (IP_ADAPTER, "CLIP-ViT-H (IPAdapter)")],
    ids=["controlnet", "ip-adapter"],
)
def test_a_control_model_gives_the_reference(host: Any, model: str, module: str) -> None:
    known = next(name for name in host.call("/controlnet/model_list")["model_list"] if name.startswith(model))
    unit = {"enabled": True, "module": module, "model": known, "image": host.png((64, 64)), "save_detected_map": False}
    patch = {"alwayson_scripts": {"controlnet": {"args": [unit]}}}
    if same(host.draw("a cat", **patch), host.draw("a cat")):
        pytest.skip("the host itself can't use this model here")
    same_as_reference(host, BOTH, **patch)


@pytest.mark.parametrize("kind", GGUF)
def test_a_unet_in_gguf_gives_the_reference(host: Any, kind: str) -> None:
    titles = [model["title"] for model in host.call("/sdapi/v1/sd-models")]
    title = next((title for title in titles if title.startswith(f"t-{kind}")), None)
    if title is None:
        pytest.skip("the package gguf, which writes such files, is not installed")
    with settings(host, sd_model_checkpoint=title, forge_additional_modules=[f"{REST}.safetensors"]):
        gives_the_reference_if_it_draws(host)


@pytest.mark.parametrize("kind", ["bnb-nf4", "float8-e4m3fn"])
def test_a_unet_in_low_bits_gives_the_reference(host: Any, kind: str) -> None:
    host.needs_setting("forge_unet_storage_dtype")
    # the host looks at this setting when another checkpoint is asked for
    with settings(host, forge_unet_storage_dtype=kind, sd_model_checkpoint=host.second_model()):
        gives_the_reference_if_it_draws(host)


def gives_the_reference_if_it_draws(host: Any) -> None:
    try:
        host.draw("a cat")
    except urllib.error.HTTPError:
        pytest.skip("the host itself can't draw with this model here")
    same_as_reference(host, BOTH)
    same_as_reference(host, "a cat <hypernet:t-norm:0.7>")


def test_memory_is_reserved_in_every_step_before_and_after_the_refiner(host: Any) -> None:
    size = hypernet.load(host.folder / "t-linear.pt").nbytes
    host.draw("a cat <hypernet:t-linear:0.7>", refiner_checkpoint=host.second_model(), refiner_switch_at=0.5, steps=4)
    assert host.call("/probe/comments")["reserved"] == [size] * 4
    host.draw("a cat")
    assert host.call("/probe/comments")["reserved"] == [0] * 2
