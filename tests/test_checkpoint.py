"""Checkpoints in one file: recognised by their shapes and loaded without a network."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

import diffusers
import transformers

from hypernet.errors import HypernetError
from hypernet.pipeline import checkpoint
from hypernet.pipeline.clip import read_merges, vocabulary, write_tokenizer
from tests.ldm_layout import to_single_file

KINDS = ("sd1", "sd2", "sdxl")
TEXT = {"num_hidden_layers": 1, "intermediate_size": 32}
SMALL: dict[str, dict[str, dict[str, Any]]] = {
    kind: {
        "unet/config.json": {
            "block_out_channels": [32, 32, 64] if kind == "sdxl" else [32, 32, 64, 64],
            "layers_per_block": 2 if kind == "sd1" else 1,
            "attention_head_dim": 8 if kind == "sd1" else [1, 1, 2] if kind == "sdxl" else [1, 1, 2, 2],
            "sample_size": 8,
        },
        "vae/config.json": {"block_out_channels": [32, 32, 32, 32], "layers_per_block": 1, "sample_size": 64},
        "text_encoder/config.json": TEXT,
    }
    for kind in KINDS
}
SMALL["sdxl"]["text_encoder_2/config.json"] = TEXT
SMALL["sdxl"]["unet/config.json"]["transformer_layers_per_block"] = [1, 1, 2]


@pytest.fixture
def small_configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packaged configs with fewer layers and channels, so that a whole checkpoint is quickly made."""
    folder = tmp_path / "configs"
    folder.mkdir()
    for kind in KINDS:
        files = json.loads((checkpoint.CONFIGS / f"{kind}.json").read_text(encoding="utf-8"))
        for name, changes in SMALL[kind].items():
            files[name].update(changes)
        (folder / f"{kind}.json").write_text(json.dumps(files), encoding="utf-8")
    monkeypatch.setattr(checkpoint, "CONFIGS", folder)


def random_model(build: Callable[[Any], torch.nn.Module], config: Any, dtype: torch.dtype) -> torch.nn.Module:
    """A model with weights around the size of trained ones, without the slow initialisation of a large vocabulary."""
    with torch.device("meta"):
        model = build(config)
    model = model.to(dtype).to_empty(device="cpu").eval()
    torch.manual_seed(0)
    for name, tensor in model.state_dict().items():
        if name.endswith("position_ids"):
            tensor.copy_(torch.arange(tensor.shape[-1]))
        else:
            tensor.uniform_(-0.04, 0.04)
    return model


def random_pipeline(folder: Path, found: checkpoint.Checkpoint, dtype: torch.dtype = torch.float32) -> Any:
    """A pipeline with the packaged configs and random weights."""
    pipeline_class = getattr(diffusers, checkpoint.write_configs(folder, found, found.prediction or "v_prediction"))
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    parts: dict[str, Any] = {}
    for name, entry in index.items():
        if not isinstance(entry, list) or entry[0] is None:
            continue
        cls = getattr(diffusers if entry[0] == "diffusers" else transformers, entry[1])
        if name.startswith("text_encoder"):
            parts[name] = random_model(cls, cls.config_class.from_pretrained(folder / name), dtype)
        elif name in ("unet", "vae"):
            parts[name] = random_model(cls.from_config, cls.load_config(folder / name), dtype)
        else:
            parts[name] = cls.from_pretrained(folder / name)
    optional = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return pipeline_class(**parts, **({} if found.kind == "sdxl" else optional))


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def save_checkpoint(path: Path, pipe: Any) -> Path:
    save_file(to_single_file(pipe), str(path))
    return path


def headers(width: int, channels: int = 4) -> dict[str, torch.Tensor]:
    """The tensors by which a checkpoint is recognised. width: of the text context."""
    return {
        "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(1, channels, 1, 1),
        "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": torch.zeros(1, width),
        "cond_stage_model.weight": torch.zeros(1),
        "first_stage_model.weight": torch.zeros(1),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_in_one_file_becomes_the_pipeline_it_was_made_from(
    kind: str, tmp_path: Path, small_configs: None
) -> None:
    made = random_pipeline(tmp_path / "made", checkpoint.Checkpoint(kind, 4, "epsilon"))
    path = save_checkpoint(tmp_path / "model.safetensors", made)
    pipe = checkpoint.load_pipeline(path, prediction="epsilon")
    assert type(pipe) is type(made)
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        assert getattr(made, part, None) is None or same_weights(getattr(pipe, part), getattr(made, part)), part
    image = pipe("a cat", num_inference_steps=2, output_type="np").images
    assert image.shape[0] == 1


def test_an_sd2_file_without_a_text_projection_loads(tmp_path: Path, small_configs: None) -> None:
    """diffusers 0.31 then takes the width of the text encoder from `projection_dim`."""
    made = random_pipeline(tmp_path / "made", checkpoint.Checkpoint("sd2", 4, "epsilon"))
    weights = {name: tensor for name, tensor in to_single_file(made).items() if "text_projection" not in name}
    save_file(weights, str(tmp_path / "model.safetensors"))
    pipe = checkpoint.load_pipeline(tmp_path / "model.safetensors", prediction="epsilon")
    assert same_weights(pipe.text_encoder, made.text_encoder)


@pytest.mark.parametrize("version", ["0.30.3", "0.9.0"])
def test_a_diffusers_that_is_too_old_is_named_and_the_checkpoint_is_not_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(diffusers, "__version__", version)
    save_file(headers(width=768), str(tmp_path / "model.safetensors"))
    with pytest.raises(HypernetError, match=f"need diffusers 0.31 or newer; this is {version}"):
        checkpoint.load_pipeline(tmp_path / "model.safetensors")


def test_an_inpainting_checkpoint_becomes_an_inpainting_pipeline(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(headers(width=768, channels=9), str(path))
    found = checkpoint.inspect_checkpoint(path)
    assert checkpoint.write_configs(tmp_path, found, "epsilon") == "StableDiffusionInpaintPipeline"
    assert json.loads((tmp_path / "unet" / "config.json").read_text())["in_channels"] == 9


def test_a_checkpoint_that_says_v_prediction_gets_a_scheduler_for_it(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(headers(width=2048) | {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, str(path))
    found = checkpoint.inspect_checkpoint(path)
    assert found.prediction == "v_prediction"
    checkpoint.write_configs(tmp_path, found, found.prediction)
    scheduler = diffusers.EulerDiscreteScheduler.from_pretrained(tmp_path, subfolder="scheduler")
    assert scheduler.config.prediction_type == "v_prediction"
    assert scheduler.config.rescale_betas_zero_snr


class NoisePredictor:
    """A UNet that finds the noise (all of its input), or one that finds something else."""

    device, dtype = torch.device("cpu"), torch.float32

    class config:
        in_channels, cross_attention_dim = 4, 8

    def __init__(self, perfect: bool) -> None:
        self.perfect = perfect

    def __call__(self, noise: torch.Tensor, timestep: int, context: torch.Tensor) -> Any:
        return type("Output", (), {"sample": noise if self.perfect else torch.ones_like(noise)})


@pytest.mark.parametrize("perfect", [True, False])
def test_an_sd2_model_is_asked_whether_it_predicts_noise(perfect: bool) -> None:
    scheduler = diffusers.DDIMScheduler()
    pipe = type("Pipe", (), {"unet": NoisePredictor(perfect), "scheduler": scheduler})
    assert checkpoint.predicts_noise(pipe) is perfect


@pytest.mark.parametrize(
    ("name", "tensors", "words"),
    [
        ("model.ckpt", {}, "only .safetensors"),
        ("lora.safetensors", {"lora_unet_down.weight": torch.zeros(1)}, "no Stable Diffusion checkpoint"),
        ("refiner.safetensors", headers(width=1280), "1280 is not known"),
        ("unet.safetensors", {k: v for k, v in headers(width=768).items() if "diffusion" in k}, "text encoder is miss"),
        ("edit.safetensors", headers(width=768, channels=8), "takes 8 channels"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused_in_words(
    name: str, tensors: dict[str, torch.Tensor], words: str, tmp_path: Path
) -> None:
    save_file(tensors, str(tmp_path / name))
    with pytest.raises(HypernetError, match=words) as refused:
        checkpoint.load_pipeline(tmp_path / name)
    assert name in str(refused.value)


def test_a_file_that_is_not_there_or_broken_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(HypernetError, match="no such checkpoint"):
        checkpoint.load_pipeline(tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(HypernetError, match="can't be read"):
        checkpoint.load_pipeline(tmp_path / "broken.safetensors")


def test_the_vocabulary_has_clips_ids() -> None:
    ids = vocabulary(read_merges())
    assert len(ids) == 49408
    assert (ids["!"], ids["a</w>"], ids["cat</w>"], ids["dog</w>"]) == (0, 320, 2368, 1929)
    assert (ids["<|startoftext|>"], ids["<|endoftext|>"]) == (49406, 49407)


def test_the_tokenizer_splits_as_clip_does(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, pad_token="!")
    tokenizer = transformers.CLIPTokenizer.from_pretrained(tmp_path)
    text = "a photo of an astronaut riding a horse on mars"
    assert tokenizer(text).input_ids == [49406, 320, 1125, 539, 550, 18376, 6765, 320, 4558, 525, 7496, 49407]
    assert tokenizer("a", padding="max_length").input_ids == [49406, 320, 49407] + [0] * 74


@pytest.mark.parametrize(
    ("kind", "weights"),
    [
        ("sd1", {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480}),
        ("sd2", {"unet": 865_910_724, "vae": 83_653_863, "text_encoder": 340_387_840}),
        (
            "sdxl",
            {
                "unet": 2_567_463_684,
                "vae": 83_653_863,
                "text_encoder": 123_060_480,
                "text_encoder_2": 694_659_840,
            },
        ),
    ],
)
def test_the_packaged_configs_have_as_many_weights_as_the_published_models(
    kind: str, weights: dict[str, int], tmp_path: Path
) -> None:
    checkpoint.write_configs(tmp_path, checkpoint.Checkpoint(kind, 4, "epsilon"), "epsilon")
    index = json.loads((tmp_path / "model_index.json").read_text(encoding="utf-8"))
    for part, count in weights.items():
        library, name = index[part]
        cls = getattr(diffusers if library == "diffusers" else transformers, name)
        with torch.device("meta"):
            if library == "transformers":
                model = cls(cls.config_class.from_pretrained(tmp_path / part))
            else:
                model = cls.from_config(cls.load_config(tmp_path / part))
        assert sum(weight.numel() for weight in model.parameters()) == count, part


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.skipif("HYPERNET_FULL_SIZE" not in os.environ, reason="set HYPERNET_FULL_SIZE=1: needs gigabytes")
def test_a_checkpoint_of_the_real_shapes_loads(kind: str, tmp_path: Path) -> None:
    made = random_pipeline(tmp_path / "made", checkpoint.Checkpoint(kind, 4, "epsilon"), torch.float16)
    path = save_checkpoint(tmp_path / "model.safetensors", made)
    pipe = checkpoint.load_pipeline(path, dtype=torch.float16, prediction="epsilon")
    assert same_weights(pipe.unet, made.unet)
