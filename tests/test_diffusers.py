"""Tags in the prompts of diffusers pipelines: what they change is the plain formula, and nothing else."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

import diffusers
from safetensors.torch import save_file

import hypernet
from hypernet import Metadata
from hypernet.errors import HypernetError
from hypernet.pipeline.hypernetworks import Hypernetworks
from tests.pipelines import CONTEXT, KINDS, WIDTHS, Call, draw, formula, pipeline
from tests.unets import network

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # diffusers on configs of schedulers made by hand
INK = replace(
    network(seed=1, kind="relu", widths=WIDTHS), metadata=Metadata(activation_func="relu", activate_output=False)
)
LINE = network(seed=2, kind="linear", widths=WIDTHS)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hypernetworks")
    hypernet.save(INK, folder / "ink.safetensors")
    hypernet.save(LINE, folder / "line.pt")
    hypernet.save(network(widths=(768,)), folder / "sd1.safetensors")
    return folder


@pytest.fixture
def pipe(folder: Path) -> Hypernetworks:
    return Hypernetworks(pipeline(), folder)


def close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=1e-4 * float(other.abs().max()))


def hooks(module: torch.nn.Module) -> int:
    """Hooks and replaced calls anywhere in it."""
    return sum(
        len(part._forward_pre_hooks) + len(part._forward_hooks) + ("forward" in part.__dict__)
        for part in module.modules()
    )


@pytest.mark.parametrize("name", ["ink", "line"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_tag_gives_the_plain_formula(kind: str, name: str, folder: Path) -> None:
    pipe = Hypernetworks(pipeline(kind), folder)
    with formula(pipe.unet, INK if name == "ink" else LINE, 0.7):
        expected = draw(pipe.pipe)
    output = draw(pipe, f"a cat <hypernet:{name}:0.7>")
    assert close(output, expected)
    assert not close(output, draw(pipe))
    assert pipe.notes == ()


def test_afterwards_the_pipeline_is_bit_for_bit_what_it_was(pipe: Hypernetworks) -> None:
    before = draw(pipe)
    draw(pipe, "a cat <hypernet:ink:0.7> <hypernet:line>")
    assert hooks(pipe.unet) == 0
    assert torch.equal(draw(pipe), before)


def test_a_run_that_fails_leaves_no_hook(pipe: Hypernetworks) -> None:
    def fail(*args: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw(pipe, "a cat <hypernet:ink>", callback_on_step_end=fail)
    assert hooks(pipe.unet) == 0


def ramp(steps: list[int]) -> Callable[[Call, str, bool], float]:
    """What 0@0,1@1 means, given the step that each UNet call belongs to."""
    return lambda call, kind, cross: steps[call.number] / steps[-1]


@pytest.mark.parametrize(
    ("scheduler", "steps"),
    [
        ("DDIMScheduler", [0, 1, 2, 3]),
        ("EulerDiscreteScheduler", [0, 1, 2, 3]),
        ("DPMSolverMultistepScheduler", [0, 1, 2, 3]),
        ("LCMScheduler", [0, 1, 2, 3]),
        ("PNDMScheduler", [0, 0, 1, 2, 3]),  # its first step takes two calls
        ("HeunDiscreteScheduler", [0, 0, 1, 1, 2, 2, 3]),
        ("KDPM2DiscreteScheduler", [0, 0, 1, 1, 2, 2, 3]),
    ],
)
def test_a_schedule_follows_the_steps_of_every_scheduler(scheduler: str, steps: list[int], pipe: Hypernetworks) -> None:
    extra = {"skip_prk_steps": True} if scheduler == "PNDMScheduler" else {}
    pipe.scheduler = getattr(diffusers, scheduler)(**extra)
    with formula(pipe.unet, INK, ramp(steps)):
        expected = draw(pipe.pipe, num_inference_steps=4)
    assert close(draw(pipe, "a cat <hypernet:ink:0@0,1@1>", num_inference_steps=4), expected)


@pytest.mark.parametrize(
    ("options", "active"),
    [("start=0.5", {2, 3, 4}), ("stop=0.5", {0, 1}), ("start=2", {2, 3, 4}), ("start=0.2:stop=3", {1, 2})],
)
def test_start_and_stop_bound_the_steps(options: str, active: set[int], pipe: Hypernetworks) -> None:
    with formula(pipe.unet, INK, lambda call, kind, cross: float(call.number in active)):
        expected = draw(pipe.pipe, num_inference_steps=5)
    assert close(draw(pipe, f"a cat <hypernet:ink:1:{options}>", num_inference_steps=5), expected)


def test_the_runge_kutta_steps_of_pndm_are_four_calls_each(pipe: Hypernetworks) -> None:
    pipe.scheduler = diffusers.PNDMScheduler()
    steps = [step for step in range(3) for _ in range(4)] + [3, 4, 5]
    with formula(pipe.unet, INK, lambda call, kind, cross: float(steps[call.number] < 2)):
        expected = draw(pipe.pipe, num_inference_steps=6)
    assert close(draw(pipe, "a cat <hypernet:ink:1:stop=2>", num_inference_steps=6), expected)


@pytest.mark.parametrize("scheduler", ["DDIMScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler"])
def test_positions_count_the_steps_that_image_to_image_runs(scheduler: str, pipe: Hypernetworks) -> None:
    pipe.scheduler = getattr(diffusers, scheduler)()
    again = Hypernetworks(diffusers.StableDiffusionImg2ImgPipeline.from_pipe(pipe.pipe), pipe.library)
    settings: dict[str, Any] = {"image": Image.new("RGB", (16, 16), "red"), "strength": 0.5, "num_inference_steps": 8}
    steps = [0, 0, 1, 1, 2, 2, 3] if scheduler == "HeunDiscreteScheduler" else [0, 1, 2, 3]
    with formula(again.unet, INK, ramp(steps)):
        expected = draw(again.pipe, **settings)
    assert close(draw(again, "a cat <hypernet:ink:0@0,1@1>", **settings), expected)


def only(positive: bool) -> Callable[[Call, str, bool], Tensor]:
    """1 for one half of the batch; diffusers puts the negative prompt's first."""

    def strength(call: Call, kind: str, cross: bool) -> Tensor:
        half = torch.tensor([0.0, 1.0] if positive else [1.0, 0.0])
        return half.repeat_interleave(call.rows // 2)[:, None, None]

    return strength


@pytest.mark.parametrize("half", ["cond", "uncond"])
@pytest.mark.parametrize("images", [1, 2])
def test_on_takes_one_half_of_the_batch(half: str, images: int, pipe: Hypernetworks) -> None:
    settings: dict[str, Any] = {"negative_prompt": "blurry", "num_images_per_prompt": images}
    with formula(pipe.unet, INK, only(half == "cond")):
        expected = draw(pipe.pipe, **settings)
    assert close(draw(pipe, f"a cat <hypernet:ink:1:on={half}>", **settings), expected)


def test_without_guidance_all_of_the_batch_is_the_positive_prompt(pipe: Hypernetworks) -> None:
    with formula(pipe.unet, INK):
        expected = draw(pipe.pipe, guidance_scale=1.0)
    assert close(draw(pipe, "a cat <hypernet:ink:1:on=cond>", guidance_scale=1.0), expected)
    assert pipe.notes == ()
    assert torch.equal(draw(pipe, "a cat <hypernet:ink:1:on=uncond>", guidance_scale=1.0), draw(pipe, guidance_scale=1))


def test_one_half_without_guidance_is_said_to_do_nothing(pipe: Hypernetworks) -> None:
    draw(pipe, "a cat <hypernet:ink:1:on=uncond>", guidance_scale=1.0)
    assert "no effect" in pipe.notes[0]


@pytest.mark.parametrize(
    ("options", "strength"),
    [
        ("k=0.5:v=2", lambda call, kind, cross: 0.5 if kind == "k" else 2.0),
        ("self=0", lambda call, kind, cross: float(cross)),
        ("cross=0.25", lambda call, kind, cross: 0.25 if cross else 1.0),
    ],
)
def test_factors_act_on_their_part(
    options: str, strength: Callable[[Call, str, bool], float], pipe: Hypernetworks
) -> None:
    with formula(pipe.unet, INK, strength):
        expected = draw(pipe.pipe)
    assert close(draw(pipe, f"a cat <hypernet:ink:1:{options}>"), expected)


# What else may be at work in the pipeline. Each takes it and returns the words that a prompt needs for it.


def with_lora(pipe: Any, folder: Path) -> str:
    peft = pytest.importorskip("peft")
    torch.manual_seed(3)
    config = peft.LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v"], init_lora_weights=False)
    pipe.unet.add_adapter(config)
    return ""


def with_textual_inversion(pipe: Any, folder: Path) -> str:
    torch.manual_seed(4)
    save_file({"<toy>": torch.randn(2, CONTEXT)}, str(folder / "toy.safetensors"))
    pipe.load_textual_inversion(str(folder / "toy.safetensors"), token="<toy>")
    return "<toy>"


def with_attention_slicing(pipe: Any, folder: Path) -> str:
    pipe.enable_attention_slicing(1)
    return ""


def with_plain_processors(pipe: Any, folder: Path) -> str:
    pipe.unet.set_attn_processor(diffusers.models.attention_processor.AttnProcessor())
    return ""


def with_model_offload(pipe: Any, folder: Path) -> str:
    accelerate = pytest.importorskip("accelerate")
    _, hook = accelerate.cpu_offload_with_hook(pipe.unet, "cpu")
    pipe._all_hooks = [hook]
    return ""


def with_sequential_offload(pipe: Any, folder: Path) -> str:
    accelerate = pytest.importorskip("accelerate")
    accelerate.cpu_offload(
        pipe.unet, "cpu"
    )  # what enable_sequential_cpu_offload does: weights are on meta between uses
    assert pipe.unet.conv_in.weight.device.type == "meta"
    return ""


@pytest.mark.parametrize("name", ["ink", "line"])
@pytest.mark.parametrize(
    "prepare",
    [
        with_lora,
        with_textual_inversion,
        with_attention_slicing,
        with_plain_processors,
        with_model_offload,
        with_sequential_offload,
    ],
)
def test_it_works_beside(prepare: Callable[[Any, Path], str], name: str, pipe: Hypernetworks, tmp_path: Path) -> None:
    prompt = f"a cat {prepare(pipe.pipe, tmp_path)}"
    plain, hooked = draw(pipe.pipe, prompt), hooks(pipe.unet)
    with formula(pipe.unet, INK if name == "ink" else LINE, 0.7):
        expected = draw(pipe.pipe, prompt)
    assert close(draw(pipe, f"{prompt} <hypernet:{name}:0.7>"), expected)
    assert hooks(pipe.unet) == hooked
    assert torch.equal(draw(pipe, prompt), plain)


def test_ip_adapter_sees_its_own_projections_unchanged(pipe: Hypernetworks) -> None:
    width = CONTEXT
    layers = [name for name in pipe.unet.attn_processors if "attn2" in name]
    torch.manual_seed(5)
    adapter: dict[str, Any] = {
        "image_proj": {
            "proj.weight": torch.randn(4 * width, 6),
            "proj.bias": torch.zeros(4 * width),
            "norm.weight": torch.ones(width),
            "norm.bias": torch.zeros(width),
        },
        "ip_adapter": {},
    }
    for index, name in enumerate(layers):
        channels = pipe.unet.get_submodule(name.removesuffix(".processor")).to_q.out_features
        for part in ("k", "v"):
            adapter["ip_adapter"][f"{2 * index + 1}.to_{part}_ip.weight"] = torch.randn(channels, width) / 5
    pipe.unet._load_ip_adapter_weights([adapter])
    picture: dict[str, Any] = {"ip_adapter_image_embeds": [torch.randn(2, 1, 6)]}
    with formula(pipe.unet, INK, 0.7):
        expected = draw(pipe.pipe, **picture)
    output = draw(pipe, "a cat <hypernet:ink:0.7>", **picture)
    assert close(output, expected)
    assert not close(output, draw(pipe, "a cat <hypernet:ink:0.7>", ip_adapter_image_embeds=[torch.zeros(2, 1, 6)]))


def test_controlnet_pipelines_take_tags(pipe: Hypernetworks) -> None:
    torch.manual_seed(6)
    control = diffusers.ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(16, 32))
    guided = Hypernetworks(
        diffusers.StableDiffusionControlNetPipeline.from_pipe(pipe.pipe, controlnet=control), pipe.library
    )
    guided.set_progress_bar_config(disable=True)
    settings: dict[str, Any] = {"image": Image.new("RGB", (16, 16), "white"), "width": 16, "height": 16}
    with formula(guided.unet, INK, 0.7):
        expected = draw(guided.pipe, **settings)
    assert close(draw(guided, "a cat <hypernet:ink:0.7>", **settings), expected)


def test_inpainting_pipelines_take_tags(folder: Path) -> None:
    base = pipeline(channels=9)
    pipe = Hypernetworks(
        diffusers.StableDiffusionInpaintPipeline(**base.components, requires_safety_checker=False), folder
    )
    pipe.set_progress_bar_config(disable=True)
    settings: dict[str, Any] = {
        "image": Image.new("RGB", (16, 16), "red"),
        "mask_image": Image.new("L", (16, 16), 255),
        "width": 16,
        "height": 16,
        "strength": 1.0,
    }
    with formula(pipe.unet, INK, 0.7):
        expected = draw(pipe.pipe, **settings)
    assert close(draw(pipe, "a cat <hypernet:ink:0.7>", **settings), expected)


def test_a_batch_of_prompts_with_the_same_tags_is_one_call(pipe: Hypernetworks) -> None:
    with formula(pipe.unet, INK, 0.7):
        expected = draw(pipe.pipe, ["a cat", "a dog"])
    assert close(draw(pipe, ["a cat <hypernet:ink:0.7>", "a dog <hypernet:ink:0.7>"]), expected)


def test_prompts_of_one_batch_with_different_tags_are_refused(pipe: Hypernetworks) -> None:
    with pytest.raises(HypernetError, match="once for each set of tags"):
        draw(pipe, ["a cat <hypernet:ink>", "a dog"])


def test_sdxls_second_prompt_does_not_count_a_tag_twice(folder: Path) -> None:
    pipe = Hypernetworks(pipeline("sdxl"), folder)
    prompt = "a cat <hypernet:ink:0.7>"
    assert torch.equal(draw(pipe, prompt, prompt_2=prompt), draw(pipe, prompt))


def test_a_call_without_a_prompt_takes_its_tags_apart(pipe: Hypernetworks) -> None:
    positive, negative = pipe.encode_prompt("a cat", "cpu", 1, True)
    embeds = {"prompt_embeds": positive, "negative_prompt_embeds": negative}
    output = draw(pipe, None, hypernetworks="<hypernet:ink:0.7>", **embeds)
    assert close(output, draw(pipe, "a cat <hypernet:ink:0.7>"))


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a cat <hypernet:unk:1>", "no hypernetwork “unk”"),
        ("a cat <hypernet:ink:0,7>", "decimal point"),
        ("a cat <hypernet:sd1>", "made for SD1"),
    ],
)
def test_a_tag_that_can_not_be_used_is_told_and_changes_nothing(
    prompt: str, words: str, pipe: Hypernetworks, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "hypernet"):
        output = draw(pipe, prompt)
    assert torch.equal(output, draw(pipe))
    assert words in caplog.text


def test_a_tag_in_the_negative_prompt_is_taken_out_and_told(pipe: Hypernetworks) -> None:
    output = draw(pipe, negative_prompt="blurry <hypernet:ink>")
    assert "negative prompt" in pipe.notes[0]
    assert torch.equal(output, draw(pipe, negative_prompt="blurry"))


def test_notes_are_those_of_the_last_call(pipe: Hypernetworks) -> None:
    draw(pipe, "a cat <hypernet:missing>")
    assert pipe.notes
    draw(pipe, "a cat <hypernet:ink>")
    assert pipe.notes == ()


def test_fused_projections_are_refused(pipe: Hypernetworks) -> None:
    pipe.fuse_qkv_projections()
    with pytest.raises(HypernetError, match="unfuse_qkv_projections"):
        draw(pipe, "a cat <hypernet:ink>")
    assert torch.isfinite(draw(pipe)).all()


class TransformerPipeline:
    """A pipeline of the newer kind, without a UNet."""

    def __call__(self, prompt: str) -> str:
        return f"picture of {prompt.strip()}"


def test_a_pipeline_without_a_unet_runs_and_says_so(folder: Path) -> None:
    pipe = Hypernetworks(TransformerPipeline(), folder)
    assert pipe("a cat <hypernet:ink>") == "picture of a cat"
    assert "no UNet" in pipe.notes[0]


@pytest.mark.skipif(not hasattr(torch.compiler, "set_stance"), reason="torch before 2.6")
def test_compiled_parts_are_set_aside_for_the_call(pipe: Hypernetworks) -> None:
    expected = draw(pipe, "a cat <hypernet:ink:0.7>")
    before = draw(pipe)
    for name, module in pipe.unet.named_modules():
        if name.endswith("mid_block.attentions.0.transformer_blocks.0.attn1"):
            module.compile(backend="eager")
    assert close(draw(pipe), before)
    assert close(draw(pipe, "a cat <hypernet:ink:0.7>"), expected)
    assert "torch.compile" in pipe.notes[0]
    assert close(draw(pipe), before)
    torch._dynamo.reset()


@pytest.mark.skipif(not hasattr(torch.compiler, "set_stance"), reason="torch before 2.6")
def test_a_compiled_unet_is_set_aside_for_the_call(pipe: Hypernetworks) -> None:
    expected = draw(pipe, "a cat <hypernet:ink:0.7>")
    pipe.unet = compiled = torch.compile(pipe.unet, backend="eager")
    assert close(draw(pipe, "a cat <hypernet:ink:0.7>"), expected)
    assert "torch.compile" in pipe.notes[0]
    assert pipe.unet is compiled


def test_it_is_the_pipeline_in_all_else(pipe: Hypernetworks) -> None:
    scheduler = diffusers.EulerDiscreteScheduler()
    pipe.scheduler = scheduler
    assert pipe.pipe.scheduler is scheduler
    assert pipe.to("cpu") is pipe
    assert pipe.unet is pipe.pipe.unet
    assert "StableDiffusionPipeline" in repr(pipe)


def test_other_pipelines_are_made_of_it_as_of_the_pipeline(pipe: Hypernetworks) -> None:
    again = diffusers.AutoPipelineForImage2Image.from_pipe(pipe)
    assert type(again) is diffusers.StableDiffusionImg2ImgPipeline
    assert again.unet is pipe.unet
    settings: dict[str, Any] = {"image": Image.new("RGB", (16, 16), "red"), "strength": 0.5}
    wrapped = Hypernetworks(again, pipe.library)
    assert not close(draw(wrapped, "a cat <hypernet:ink:1>", **settings), draw(wrapped, "a cat", **settings))


def test_a_deep_copy_draws_the_same_with_a_pipeline_of_its_own(pipe: Hypernetworks) -> None:
    twin = copy.deepcopy(pipe)
    assert type(twin) is Hypernetworks
    assert twin.unet is not pipe.unet
    assert close(draw(twin, "a cat <hypernet:ink:1>"), draw(pipe, "a cat <hypernet:ink:1>"))
    assert copy.copy(pipe).pipe is pipe.pipe


@pytest.mark.parametrize("half", ["cond", "uncond"])
def test_guidance_that_a_pipeline_denies_is_not_told_to_be_missing(half: str, pipe: Hypernetworks) -> None:
    """Panorama says that it makes no guidance, and makes it."""
    parts = {**pipe.components, "scheduler": diffusers.DDIMScheduler()}
    panorama = Hypernetworks(diffusers.StableDiffusionPanoramaPipeline(**parts), pipe.library)
    draw(panorama, f"a cat <hypernet:ink:1:on={half}>")
    (note,) = panorama.notes
    assert "doesn't tell which half" in note


def test_threads_around_one_pipeline_each_draw_their_own_picture(pipe: Hypernetworks) -> None:
    prompts = [f"a cat <hypernet:{name}:{0.2 * number:g}>" for number in range(1, 5) for name in ("ink", "line")]
    alone = {prompt: draw(pipe, prompt) for prompt in prompts}
    pipes = [pipe, copy.copy(pipe)]  # two wrappers around the same UNet
    found: dict[str, tuple[Tensor, list[str]]] = {}

    def work(prompt: str, mine: Hypernetworks) -> None:
        image = draw(mine, prompt)
        found[prompt] = image, [use.tag.text for use in mine.applied]

    threads = [threading.Thread(target=work, args=(prompt, pipes[i % 2])) for i, prompt in enumerate(prompts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for prompt in prompts:
        image, acted = found[prompt]
        assert torch.equal(image, alone[prompt]) and acted == [prompt.removeprefix("a cat ")]
    assert hooks(pipe.unet) == 0


def test_a_window_beyond_the_run_is_told(pipe: Hypernetworks) -> None:
    draw(pipe, "a cat <hypernet:ink:1:start=500>")
    assert pipe.notes == ("<hypernet:ink:1:start=500>: no effect, as its strength was 0 at every step of this run.",)
