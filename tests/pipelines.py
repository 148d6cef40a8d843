"""Tiny diffusers pipelines with random weights, and the plain formula on them to hold the host to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, PreTrainedTokenizerFast

from hypernet import Network

CONTEXT = 24
WIDTHS = (16, 32, CONTEXT)
KINDS = ("sd1", "sd2", "sdxl")


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word."""
    words = ["<start>", "<end>", "<unk>", "a", "cat", "dog", "blurry"]
    made = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 0), ("<end>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        model_max_length=8,
        bos_token="<start>",
        eos_token="<end>",
        pad_token="<end>",
        unk_token="<unk>",
    )


def text_encoder(width: int, cls: type = CLIPTextModel) -> nn.Module:
    return cls(
        CLIPTextConfig(
            vocab_size=7,
            hidden_size=width,
            intermediate_size=16,
            projection_dim=width,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=8,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    ).eval()


def unet(kind: str, channels: int = 4) -> nn.Module:
    changes: dict[str, Any] = {
        "sd1": {},
        "sd2": {"attention_head_dim": (2, 4), "use_linear_projection": True},
        "sdxl": {
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "attention_head_dim": (2, 4),
            "use_linear_projection": True,
            "transformer_layers_per_block": (1, 2),
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 4,
            "projection_class_embeddings_input_dim": 6 * 4 + 12,
        },
    }[kind]
    defaults: dict[str, Any] = {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": 2,
    }
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=CONTEXT,
        **(defaults | changes),
    ).eval()


def vae() -> nn.Module:
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return diffusers.AutoencoderKL(block_out_channels=(8, 8), norm_num_groups=4, sample_size=16, **blocks).eval()


def pipeline(kind: str = "sd1", channels: int = 4) -> Any:
    """A text-to-image pipeline; its pictures are 16 x 16."""
    torch.manual_seed(0)
    prediction = "v_prediction" if kind == "sd2" else "epsilon"
    parts: dict[str, Any] = {
        "unet": unet(kind, channels),
        "vae": vae(),
        "tokenizer": tokenizer(),
        "scheduler": diffusers.DDIMScheduler(prediction_type=prediction, clip_sample=False, steps_offset=1),
    }
    if kind == "sdxl":
        pipe = diffusers.StableDiffusionXLPipeline(
            text_encoder=text_encoder(12),
            text_encoder_2=text_encoder(12, CLIPTextModelWithProjection),
            tokenizer_2=tokenizer(),
            add_watermarker=False,
            **parts,
        )
    else:
        pipe = diffusers.StableDiffusionPipeline(
            text_encoder=text_encoder(CONTEXT),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
            **parts,
        )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe: Any, prompt: str | list[str] | None = "a cat", **arguments: Any) -> Tensor:
    """The latents a pipeline ends with, the same for the same arguments."""
    arguments = {"num_inference_steps": 3, "guidance_scale": 5.0, "output_type": "latent"} | arguments
    images: Tensor = pipe(prompt, generator=torch.Generator().manual_seed(1), **arguments).images
    return images


@dataclass
class Call:
    """One UNet call, counted from 0, and the rows it has."""

    number: int = -1
    rows: int = 0


Strength = Callable[[Call, str, bool], Any]
"""call, 'k' or 'v', cross-attention -> strength: a number, or a tensor (rows, 1, 1)."""


@contextmanager
def formula(unet: nn.Module, network: Network, strength: Strength | float = 1.0) -> Iterator[None]:
    """`to_k(x + s f_k(x))`, `to_v(x + s f_v(x))` in every attention layer: a hook each, and no cleverness."""
    call = Call()

    def count(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        call.number += 1
        call.rows = (args[0] if args else kwargs["sample"]).shape[0]

    def before(kind: str, cross: bool) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Any, ...]]:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Any, ...]:
            x = args[0]
            pair = network.pairs[x.shape[-1]]
            now = strength(call, kind, cross) if callable(strength) else strength
            return (x + now * (pair.k if kind == "k" else pair.v).delta(x), *args[1:])

        return hook

    handles = [unet.register_forward_pre_hook(count, with_kwargs=True)]
    for name, module in unet.named_modules():
        place, _, part = name.rpartition(".")
        if part in ("to_k", "to_v") and place.endswith(("attn1", "attn2")):
            handles.append(module.register_forward_pre_hook(before(part[-1], place.endswith("attn2"))))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
