"""Linear networks baked into a checkpoint: the same pictures without any hypernetwork, on disk and in memory cheap."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import hypernet
from hypernet import HypernetError, Metadata, Network, Pair
from hypernet.convert.bake import KEY, bake
from hypernet.convert.model import UNet
from hypernet.convert.parts import read_part
from hypernet.network import Linear, Net
from hypernet.sites import find_sites
from tests.unets import TEXT, TinyUNet, nets_at, network, plain_formula

PREFIX = "model.diffusion_model."


def checkpoint(path: Path, unet: nn.Module, dtype: torch.dtype = torch.float32, **metadata: str) -> Path:
    """A UNet as a checkpoint in one file, with something beside it that nobody bakes into."""
    tensors = {PREFIX + name: tensor.to(dtype) for name, tensor in unet.state_dict().items()}
    save_file(tensors | {"first_stage_model.x": torch.arange(5)}, str(path), metadata or None)
    return path


def unet_in(path: Path) -> TinyUNet:
    unet = TinyUNet()
    tensors = load_file(str(path))
    unet.load_state_dict({key.removeprefix(PREFIX): value.float() for key, value in tensors.items() if PREFIX in key})
    return unet


def call(unet: nn.Module) -> torch.Tensor:
    torch.manual_seed(3)
    with torch.no_grad():
        return unet(torch.randn(2, 5, 16), None, torch.randn(2, 7, TEXT))


def saved(path: Path, made: Network) -> str:
    hypernet.save(made, path)
    return str(path)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "model.safetensors", TinyUNet())


@pytest.mark.parametrize("options", ["", ":0.7", ":-0.5:k=0", ":0.7:v=0:self=0", ":0.8:lbw=MIDD:cross=0.5"])
def test_the_baked_model_draws_what_the_network_does(options: str, tmp_path: Path, model: Path) -> None:
    made = network(seed=1)
    part = read_part(saved(tmp_path / "ink.pt", made) + options)
    bake(model, [part], tmp_path / "baked.safetensors")
    unet, tag = TinyUNet(), part.tag
    middle = {"IN04", "IN05", "M00", "OUT03"} if "lbw" in options else {site.block for site in find_sites(unet)}

    def formula(site: Any, x: torch.Tensor) -> torch.Tensor:
        net = nets_at(made, site)
        assert net is not None
        strength = tag.course.strength.points[0][0] * (tag.k if site.kind == "k" else tag.v)
        strength *= (tag.cross_attention if site.cross else tag.self_attention) * (site.block in middle)
        return net(x, strength)

    with plain_formula(unet, formula):
        expected = call(unet)
    assert not torch.allclose(call(unet), expected, atol=1e-3)
    torch.testing.assert_close(call(unet_in(tmp_path / "baked.safetensors")), expected, atol=2e-5, rtol=2e-5)


def test_several_networks_are_baked_in_the_order_of_the_prompt(tmp_path: Path, model: Path) -> None:
    one, two = network(seed=1), network(seed=2)
    parts = [read_part(saved(tmp_path / "one.pt", one) + ":0.7"), read_part(saved(tmp_path / "two.pt", two) + ":-0.4")]
    bake(model, parts, tmp_path / "baked.safetensors")
    unet = TinyUNet()
    with plain_formula(unet, lambda site, x: nets_at(two, site)(nets_at(one, site)(x, 0.7), -0.4)):  # type: ignore[misc]
        expected = call(unet)
    torch.testing.assert_close(call(unet_in(tmp_path / "baked.safetensors")), expected, atol=5e-5, rtol=5e-5)


def only_bias(kind: str) -> Network:
    """A network that adds a constant to what K, or to what V, is made from."""
    nothing = {width: Net(width, (Linear(torch.zeros(width, width), None),)) for width in (16, 32, TEXT)}
    constant = {width: Net(width, (Linear(torch.zeros(width, width), torch.randn(width)),)) for width in nothing}
    pairs = {
        width: Pair(constant[width], net) if kind == "k" else Pair(net, constant[width])
        for width, net in nothing.items()
    }
    return Network(pairs)


@pytest.mark.parametrize(("kind", "acts"), [("k", False), ("v", True)])
def test_a_constant_on_all_keys_does_nothing_and_on_all_values_it_is_a_bias_behind_the_attention(
    kind: str, acts: bool, tmp_path: Path, model: Path
) -> None:
    made = only_bias(kind)
    unet = TinyUNet()
    with plain_formula(unet, lambda site, x: nets_at(made, site)(x)):  # type: ignore[misc]
        expected = call(unet)
    assert torch.allclose(call(unet), expected, atol=1e-5) is not acts
    told = bake(model, [read_part(saved(tmp_path / "bias.pt", made))], tmp_path / "baked.safetensors")
    torch.testing.assert_close(call(unet_in(tmp_path / "baked.safetensors")), expected, atol=1e-5, rtol=1e-5)
    assert told.biases == (len(find_sites(unet)) // 2 if acts else 0)


def test_everything_else_stays_bit_for_bit_and_so_does_the_original(tmp_path: Path, model: Path) -> None:
    before, content = load_file(str(model)), model.read_bytes()
    bake(model, [read_part(saved(tmp_path / "ink.pt", network(seed=1)))], tmp_path / "baked.safetensors")
    after = load_file(str(tmp_path / "baked.safetensors"))
    assert list(after) == list(before)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert {key.rsplit(".", 2)[-2] for key in changed} == {"to_k", "to_v", "0"}
    assert all("to_out.0.bias" in key for key in changed if ".to_k." not in key and ".to_v." not in key)
    assert model.read_bytes() == content


def test_the_metadata_tells_what_was_baked_and_no_hash_of_before(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "m.safetensors", TinyUNet(), title="mine", **{"modelspec.hash_sha256": "0x1"})
    one = saved(tmp_path / "one.pt", network(seed=1))
    bake(model, [read_part(one + ":0.7:k=0.5")], tmp_path / "first.safetensors")
    told = bake(tmp_path / "first.safetensors", [read_part(one + ":0.2")], tmp_path / "second.safetensors")
    assert told.before == ("one.pt",)
    file = UNet.open(tmp_path / "second.safetensors").files[0]
    assert file.metadata["title"] == "mine"
    assert "modelspec.hash_sha256" not in file.metadata
    first, second = json.loads(file.metadata[KEY])
    assert (first["file"], first["options"], first["into"]) == ("one.pt", "0.7:k=0.5", "m.safetensors")
    assert (second["options"], second["into"], len(second["sha256"])) == ("0.2", "first.safetensors", 64)


def test_a_half_precision_checkpoint_stays_one_and_the_rounding_is_told(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "half.safetensors", TinyUNet(), torch.float16)
    ink = saved(tmp_path / "ink.pt", network(seed=1))
    strong = bake(model, [read_part(ink)], tmp_path / "strong.safetensors")
    weak = bake(model, [read_part(ink + ":0.001")], tmp_path / "weak.safetensors")
    assert load_file(str(tmp_path / "weak.safetensors"))[PREFIX + "grow.weight"].dtype == torch.float16
    assert 0 < strong.rounding < 0.01 < weak.rounding < 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (":0@0,1@1", "one number"),
        (":1:on=cond", "one number"),
        (":1:stop=0.5", "one number"),
        (":0,7", "is not a number"),
        (":1:64=2", "it has no width 64; it has 16, 24, 32."),
        (":1:16=0:24=0:32=0", "nothing of it is left"),
        (":1:16=x", "the factor of width 16"),
    ],
)
def test_what_no_checkpoint_can_hold_is_refused_in_a_sentence(
    options: str, said: str, tmp_path: Path, model: Path
) -> None:
    ink = saved(tmp_path / "ink.pt", network(seed=1))
    with pytest.raises(HypernetError, match=said) as told:
        bake(model, [read_part(ink + options)], tmp_path / "baked.safetensors")
    assert str(told.value).startswith("ink.pt: ")
    assert not (tmp_path / "baked.safetensors").exists()


def test_a_network_with_an_activation_is_refused(tmp_path: Path, model: Path) -> None:
    relu = Metadata(activation_func="relu", activate_output=False)
    part = read_part(saved(tmp_path / "ink.pt", replace(network(seed=1, kind="relu"), metadata=relu)))
    with pytest.raises(HypernetError, match="Only linear networks"):
        bake(model, [part], tmp_path / "baked.safetensors")


def test_a_network_of_another_base_is_refused(tmp_path: Path, model: Path) -> None:
    part = read_part(saved(tmp_path / "ink.pt", network(seed=1, widths=(16, 768))))
    with pytest.raises(HypernetError, match="made for SD1"):
        bake(model, [part], tmp_path / "baked.safetensors")


def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path) -> None:
    part = read_part(saved(tmp_path / "ink.safetensors", network(seed=1)))
    (tmp_path / "model.ckpt").write_bytes(b"PK")
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 100)
    for name, said in (
        ("model.ckpt", "can run code"),
        ("ink.safetensors", "no Stable Diffusion UNet"),
        ("broken.safetensors", "can't be read as a safetensors"),
        ("nowhere.safetensors", "no such"),
    ):
        with pytest.raises(HypernetError, match=said):
            bake(tmp_path / name, [part], tmp_path / "baked.safetensors")


def test_a_file_in_the_way_is_replaced_only_when_told_and_an_original_never(tmp_path: Path, model: Path) -> None:
    part = read_part(saved(tmp_path / "ink.pt", network(seed=1)))
    target = tmp_path / "baked.safetensors"
    target.write_text("mine")
    with pytest.raises(HypernetError, match="--force"):
        bake(model, [part], target)
    assert target.read_text() == "mine"
    bake(model, [part], target, overwrite=True)
    with pytest.raises(HypernetError, match="originals stay"):
        bake(model, [part], model, overwrite=True)


def test_a_failure_half_way_leaves_nothing(tmp_path: Path, model: Path) -> None:
    def progress(total: int) -> Any:
        return lambda done: (_ for _ in ()).throw(KeyboardInterrupt)

    part = read_part(saved(tmp_path / "ink.pt", network(seed=1)))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        bake(model, [part], tmp_path / "baked.safetensors", progress=progress)
    assert sorted(tmp_path.iterdir()) == before


def test_progress_ends_at_the_bytes_in_all(tmp_path: Path, model: Path) -> None:
    seen: list[int] = []

    def progress(total: int) -> Any:
        seen.append(-total)
        return seen.append

    bake(model, [read_part(saved(tmp_path / "ink.pt", network(seed=1)))], tmp_path / "b.safetensors", progress=progress)
    assert sum(seen) == 0


@pytest.fixture
def pipelines() -> Iterator[Any]:
    pytest.importorskip("diffusers")
    from tests import pipelines

    yield pipelines


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("layout", ["one file", "folder"])
def test_a_baked_pipeline_draws_what_the_plain_formula_does(
    kind: str, layout: str, tmp_path: Path, pipelines: Any
) -> None:
    pipe, made = pipelines.pipeline(kind), network(seed=1, widths=pipelines.WIDTHS)
    with torch.no_grad():
        for name, parameter in pipe.unet.named_parameters():
            if "to_out.0.bias" in name:
                parameter.normal_()
    with pipelines.formula(pipe.unet, made, 0.3):
        expected = pipelines.draw(pipe)
    part = read_part(saved(tmp_path / "ink.pt", made) + ":0.3")
    if layout == "folder":
        pipe.save_pretrained(tmp_path / "model")
        bake(tmp_path / "model", [part], tmp_path / "baked")
        assert (tmp_path / "baked" / "model_index.json").is_file()
        pipe = type(pipe).from_pretrained(tmp_path / "baked", local_files_only=True)
        pipe.set_progress_bar_config(disable=True)
    else:
        from tests.ldm_layout import _unet

        save_file({key: value.contiguous() for key, value in _unet(pipe.unet)}, str(tmp_path / "m.safetensors"))
        bake(tmp_path / "m.safetensors", [part], tmp_path / "b.safetensors")
        baked = load_file(str(tmp_path / "b.safetensors"))
        names = [name for (name, _) in _unet(pipe.unet)]
        pipe.unet.load_state_dict(dict(zip(pipe.unet.state_dict(), (baked[name] for name in names), strict=True)))
    torch.testing.assert_close(pipelines.draw(pipe), expected, atol=1e-4, rtol=1e-4)


PEAK = """
import resource, sys
from pathlib import Path
import torch
from hypernet.convert.bake import bake
from hypernet.convert.parts import read_part
torch.zeros(9, 9) @ torch.zeros(9, 9)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
bake(Path(sys.argv[1]), [read_part(sys.argv[2])], Path(sys.argv[3]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in kilobytes on Linux only")
def test_a_checkpoint_needs_no_memory_of_its_size(tmp_path: Path) -> None:
    ink = saved(tmp_path / "ink.pt", network(seed=1))
    tensors = {PREFIX + name: tensor for name, tensor in TinyUNet().state_dict().items()}
    large = {f"first_stage_model.{i}": torch.zeros(10_000_000) for i in range(10)}
    save_file(tensors | large, str(tmp_path / "large.safetensors"))
    command = [sys.executable, "-c", PEAK, tmp_path / "large.safetensors", ink, tmp_path / "baked.safetensors"]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert (tmp_path / "baked.safetensors").stat().st_size > 400e6
    assert grown < 100_000


DEMO = Path(hypernet.__file__).parent / "app" / "demo" / "weights"


@pytest.mark.skipif(not (DEMO / "model_index.json").is_file(), reason="the demo model is not trained yet")
def test_the_baked_demo_draws_the_picture_that_the_tag_draws(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    from hypernet.app import drawing

    made = network(seed=1, widths=(64, 80, 96, 128))
    part = read_part(saved(tmp_path / "ink.safetensors", made) + ":0.15")
    bake(DEMO, [part], tmp_path / "baked")

    def picture(model: Path, prompt: str) -> torch.Tensor:
        request = drawing.Request(prompt, steps=4, cfg=3.0, seed=5)
        (drawn,) = drawing.draw(drawing.open_model(model, [tmp_path]), request)
        return torch.frombuffer(bytearray(drawn.image.tobytes()), dtype=torch.uint8).int()

    tagged, plain = picture(DEMO, "a red circle <hypernet:ink:0.15>"), picture(DEMO, "a red circle")
    baked = picture(tmp_path / "baked", "a red circle")
    assert int((tagged - baked).abs().max()) <= 1
    assert float((tagged - plain).abs().float().mean()) > 2
