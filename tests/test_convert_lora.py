"""Networks as LoRA: what diffusers and peft draw with the file is what the network draws; and the way back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

pytest.importorskip("diffusers")
pytest.importorskip("peft")

import hypernet
from hypernet import HypernetError, Metadata, Network, Pair
from hypernet.convert.affine import Affine
from hypernet.convert.contexts import record
from hypernet.convert.fit import factorise, fit_affine
from hypernet.convert.kohya import Layers
from hypernet.convert.lora import Form, save_lora, to_lora
from hypernet.convert.model import UNet
from hypernet.convert.parts import Part, read_part
from hypernet.convert.tensorfile import TensorFile
from hypernet.convert.unlora import from_lora
from hypernet.network import Linear, Net
from tests import pipelines
from tests.ldm_layout import _unet
from tests.unets import network

EVERYTHING = Form(energy=1.0, dtype=torch.float32)
PROMPTS = ["a cat", "a dog", "a cat a dog", "dog cat cat", "blurry cat", "a a dog", "blurry", "cat dog blurry"]


def without_bias(made: Network) -> Network:
    def net(old: Net) -> Net:
        return replace(old, layers=tuple(Linear(layer.weight, None) for layer in old.layers))  # type: ignore[union-attr]

    return Network({width: Pair(net(pair.k), net(pair.v)) for width, pair in made.pairs.items()})


def saved(path: Path, made: Network) -> Part:
    hypernet.save(made, path)
    return read_part(str(path))


def in_one_file(path: Path, unet: Any) -> Path:
    save_file({key: value.contiguous() for key, value in _unet(unet)}, str(path))
    return path


@pytest.mark.parametrize("kind", pipelines.KINDS)
@pytest.mark.parametrize("layout", ["one file", "folder"])
def test_diffusers_draws_with_the_lora_what_the_network_draws(kind: str, layout: str, tmp_path: Path) -> None:
    pipe, made = pipelines.pipeline(kind), without_bias(network(seed=1, widths=pipelines.WIDTHS))
    if layout == "folder":
        pipe.save_pretrained(tmp_path / "model")
    else:
        in_one_file(tmp_path / "model", pipe.unet).rename(tmp_path / "model.safetensors")
    model = tmp_path / ("model" if layout == "folder" else "model.safetensors")
    part = saved(tmp_path / "ink.pt", made)
    lora = to_lora(model, [part], EVERYTHING)
    assert lora.error < 1e-5
    save_lora(lora, EVERYTHING, [part], model, tmp_path / "lora.safetensors")
    with pipelines.formula(pipe.unet, made, 0.4):
        expected = pipelines.draw(pipe)
    plain = pipelines.draw(pipe)
    pipe.load_lora_weights(tmp_path / "lora.safetensors", adapter_name="ink")
    pipe.set_adapters("ink", 0.4)
    torch.testing.assert_close(pipelines.draw(pipe), expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(plain, expected, atol=1e-2)


def applied(unet: Any, path: Path, kind: str) -> None:
    """LyCORIS' full differences, as its own formula adds them: weight + diff, bias + diff_b."""
    tensors, state = load_file(str(path)), unet.state_dict()
    stability = kind == "sdxl"
    ours = [(theirs if stability else key) for key, (theirs, _) in zip(state, _unet(unet), strict=True)]
    names = {
        "lora_unet_" + name.removeprefix("model.diffusion_model.").replace(".", "_"): key
        for name, key in zip(ours, state, strict=True)
    }
    for name, tensor in tensors.items():
        layer, part = name.rsplit(".", 1)
        state[names[f"{layer}_{'bias' if part == 'diff_b' else 'weight'}"]] += tensor
    unet.load_state_dict(state)


@pytest.mark.parametrize("kind", pipelines.KINDS)
def test_the_exact_form_is_exact_with_the_constants_of_k_and_v(kind: str, tmp_path: Path) -> None:
    pipe, made = pipelines.pipeline(kind), network(seed=1, widths=pipelines.WIDTHS)
    model = in_one_file(tmp_path / "model.safetensors", pipe.unet)
    hypernet.save(made, tmp_path / "ink.pt")
    part, form = read_part(f"{tmp_path / 'ink.pt'}:0.3"), Form(full=True, bias=True, dtype=torch.float32)
    save_lora(to_lora(model, [part], form), form, [part], model, tmp_path / "full.safetensors")
    with pipelines.formula(pipe.unet, made, 0.3):
        expected = pipelines.draw(pipe)
    applied(pipe.unet, tmp_path / "full.safetensors", kind)
    torch.testing.assert_close(pipelines.draw(pipe), expected, atol=1e-4, rtol=1e-4)


def test_names_and_metadata_are_kohyas(tmp_path: Path) -> None:
    model = in_one_file(tmp_path / "model.safetensors", pipelines.pipeline("sd1").unet)
    part = saved(tmp_path / "ink.pt", network(seed=1, widths=pipelines.WIDTHS))
    form = Form(rank=4)
    save_lora(to_lora(model, [part], form), form, [part], model, tmp_path / "l.safetensors", limit=1)
    file = TensorFile.open(tmp_path / "l.safetensors")
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_v"
    assert {key.removeprefix(name) for key in file.entries if key.startswith(name)} == {
        ".alpha",
        ".lora_down.weight",
        ".lora_up.weight",
    }
    assert file.entries[f"{name}.lora_down.weight"].shape == (4, 24)
    assert (file.metadata["ss_network_module"], file.metadata["ss_network_dim"]) == ("networks.lora", "4")
    assert file.metadata["ss_sd_model_name"] == "model.safetensors"
    assert json.loads(file.metadata["hypernet.made_from"])[0]["file"] == "ink.pt"


@pytest.mark.parametrize("kind", pipelines.KINDS)
def test_a_layer_has_the_same_name_whatever_the_checkpoint_calls_it(kind: str, tmp_path: Path) -> None:
    pipe = pipelines.pipeline(kind)
    pipe.unet.save_pretrained(tmp_path / "unet")
    one = UNet.open(in_one_file(tmp_path / "model.safetensors", pipe.unet))
    other = UNet.open(tmp_path / "unet" / "diffusion_pytorch_model.safetensors")
    names = [
        {layers.attention(site) for site in unet.sites}
        for unet, layers in ((unet, Layers.of(unet)) for unet in (one, other))
    ]
    assert names[0] == names[1]
    assert len(names[0]) == len(one.sites) / 2


def test_the_rank_keeps_the_energy_asked_for_and_the_error_is_what_is_lost(tmp_path: Path) -> None:
    model = in_one_file(tmp_path / "model.safetensors", pipelines.pipeline("sd1").unet)
    part = saved(tmp_path / "ink.pt", without_bias(network(seed=1, widths=pipelines.WIDTHS)))
    made = to_lora(model, [part], Form(energy=0.9, dtype=torch.float32))
    assert all(error**2 <= 0.1 + 1e-4 for error in made.errors.values())
    assert max(made.ranks) < 24
    more = to_lora(model, [part], Form(energy=0.99, dtype=torch.float32))
    assert more.error < made.error
    assert min(more.ranks) >= min(made.ranks)


def relu(tmp_path: Path) -> Part:
    metadata = Metadata(activation_func="relu", activate_output=False)
    return saved(
        tmp_path / "relu.pt", replace(network(seed=1, kind="relu", widths=pipelines.WIDTHS), metadata=metadata)
    )


def test_a_network_with_an_activation_needs_a_run_and_its_error_is_measured_on_other_prompts(tmp_path: Path) -> None:
    pipe, part = pipelines.pipeline("sd1"), relu(tmp_path)
    model = in_one_file(tmp_path / "model.safetensors", pipe.unet)
    with pytest.raises(HypernetError, match="needs contexts"):
        to_lora(model, [part], EVERYTHING)
    steps = []
    contexts = record(pipe, [part.use()], PROMPTS, steps=2, progress=lambda: steps.append(1))
    assert len(steps) == 8
    made = to_lora(model, [part], EVERYTHING, contexts)
    assert made.measured
    assert 0.05 < made.error < 0.9
    with pytest.raises(HypernetError, match="over the limit of 1%"):
        save_lora(made, EVERYTHING, [part], model, tmp_path / "lora.safetensors", limit=0.01)
    assert not (tmp_path / "lora.safetensors").exists()
    save_lora(made, EVERYTHING, [part], model, tmp_path / "lora.safetensors", limit=0.9)


def test_a_recorded_run_leaves_no_hook_and_gives_each_layer_its_own_rows(tmp_path: Path) -> None:
    pipe = pipelines.pipeline("sd1")
    part = saved(tmp_path / "ink.pt", network(seed=1, widths=pipelines.WIDTHS))
    before = pipelines.draw(pipe)
    contexts = record(pipe, [part.use()], PROMPTS, steps=2)
    assert torch.equal(pipelines.draw(pipe), before)
    assert {name.rpartition(".")[2]: rows.fit.shape[1] for name, rows in contexts.items() if "IN01" in name} == {
        "attn1": 16,
        "attn2": 24,
    }
    assert all(len(rows.fit) and len(rows.measure) for rows in contexts.values())
    acted = contexts["IN01.0.attn1"].fit, record(pipe, [], PROMPTS, steps=2)["IN01.0.attn1"].fit
    assert not torch.equal(*acted)  # drawn with the network, which changes what later steps see


@pytest.mark.parametrize("kind", pipelines.KINDS)
@pytest.mark.parametrize("full", [False, True])
def test_a_lora_made_from_a_network_gives_the_network_back(kind: str, full: bool, tmp_path: Path) -> None:
    made = network(seed=1, widths=pipelines.WIDTHS)
    pipe = pipelines.pipeline(kind)
    model = in_one_file(tmp_path / "model.safetensors", pipe.unet)
    part, form = saved(tmp_path / "ink.pt", made), replace(EVERYTHING, full=full, bias=True)
    save_lora(to_lora(model, [part], form), form, [part], model, tmp_path / "lora.safetensors")
    back = from_lora(model, tmp_path / "lora.safetensors")
    assert back.error < 1e-2
    assert back.left_out == 0
    hypernet.save(back.network, tmp_path / "back.pt")
    again = hypernet.load(tmp_path / "back.pt")
    with pipelines.formula(pipe.unet, made, 0.5):
        expected = pipelines.draw(pipe)
    with pipelines.formula(pipe.unet, again, 0.5):
        torch.testing.assert_close(pipelines.draw(pipe), expected, atol=1e-2, rtol=1e-2)


def test_another_lora_is_a_fit_and_says_how_much_of_it_is_lost(tmp_path: Path) -> None:
    pipe = pipelines.pipeline("sd1")
    model = in_one_file(tmp_path / "model.safetensors", pipe.unet)
    unet = UNet.open(model)
    layers, tensors = Layers.of(unet), {}
    torch.manual_seed(0)
    for site in unet.sites:
        name = f"{layers.attention(site)}_to_{site.kind}"
        rows = len(unet.read(f"{site.name}.weight"))
        tensors |= {
            f"{name}.lora_up.weight": torch.randn(rows, 2),
            f"{name}.lora_down.weight": torch.randn(2, site.width),
        }
    tensors["lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight"] = torch.randn(2, 2)
    save_file(tensors, str(tmp_path / "style.safetensors"))
    fitted = from_lora(model, tmp_path / "style.safetensors")
    assert 0.1 < fitted.error < 1
    assert fitted.left_out == 1


def test_a_file_that_is_no_lora_is_refused(tmp_path: Path) -> None:
    model = in_one_file(tmp_path / "model.safetensors", pipelines.pipeline("sd1").unet)
    with pytest.raises(HypernetError, match="no LoRA on the K and V"):
        from_lora(model, model)


@given(seed=st.integers(0, 2**31), rows=st.integers(40, 60), constant=st.booleans())
def test_an_affine_map_is_found_by_its_fit(seed: int, rows: int, constant: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    delta, x = torch.randn(8, 8, generator=generator), torch.randn(rows, 8, generator=generator)
    shift = torch.randn(8, generator=generator) * constant
    fitted = fit_affine(x, x @ delta.T + shift, constant=constant)
    torch.testing.assert_close(fitted(x), Affine(delta, shift)(x), atol=1e-2, rtol=1e-2)


@given(seed=st.integers(0, 2**31), rank=st.integers(1, 6), metric=st.booleans())
def test_factors_of_the_full_rank_are_the_matrix_and_fewer_are_the_nearest(seed: int, rank: int, metric: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(10, 6, generator=generator)
    x = torch.randn(50, 6, generator=generator) * torch.arange(1, 7) if metric else None
    assert torch.allclose(factorise(matrix, rank=6, energy=1, x=x).matrix, matrix, atol=1e-3)
    seen = torch.eye(6) if x is None else x
    mine = (seen @ (factorise(matrix, rank=rank, energy=1, x=x).matrix - matrix).T).norm()
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    plain = (seen @ ((u[:, :rank] * s[:rank]) @ v[:rank] - matrix).T).norm()
    assert float(mine) <= float(plain) * 1.001 + 1e-3
