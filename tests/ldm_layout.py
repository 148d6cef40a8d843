"""A diffusers pipeline -> the names and shapes that a Stable Diffusion checkpoint in one file has.

Written from the module names of CompVis/stable-diffusion, Stability-AI/generative-models and OpenCLIP: the tests make
checkpoints with it, small or of the real shapes, and no weights are downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

Rules = Sequence[tuple[str, str]]

RESNET: Rules = (
    (r"norm1\.", "in_layers.0."),
    (r"conv1\.", "in_layers.2."),
    (r"time_emb_proj\.", "emb_layers.1."),
    (r"norm2\.", "out_layers.0."),
    (r"conv2\.", "out_layers.3."),
    (r"conv_shortcut\.", "skip_connection."),
)
VAE: Rules = (
    (r"mid_block\.resnets\.0\.", "mid.block_1."),
    (r"mid_block\.resnets\.1\.", "mid.block_2."),
    (r"mid_block\.attentions\.0\.group_norm\.", "mid.attn_1.norm."),
    (r"mid_block\.attentions\.0\.to_out\.0\.", "mid.attn_1.proj_out."),
    (r"mid_block\.attentions\.0\.to_([qkv])\.", r"mid.attn_1.\1."),
    (r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block."),
    (r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample."),
    (r"conv_norm_out\.", "norm_out."),
    (r"conv_shortcut\.", "nin_shortcut."),
)
OPEN_CLIP: Rules = (
    (r"^embeddings\.token_embedding\.", "token_embedding."),
    (r"^embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^final_layer_norm\.", "ln_final."),
    (r"^encoder\.layers\.(\d+)\.layer_norm([12])\.", r"transformer.resblocks.\1.ln_\2."),
    (r"^encoder\.layers\.(\d+)\.mlp\.fc1\.", r"transformer.resblocks.\1.mlp.c_fc."),
    (r"^encoder\.layers\.(\d+)\.mlp\.fc2\.", r"transformer.resblocks.\1.mlp.c_proj."),
    (r"^encoder\.layers\.(\d+)\.self_attn\.out_proj\.", r"transformer.resblocks.\1.attn.out_proj."),
)


def _rename(name: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _unet(unet: Any) -> Iterator[tuple[str, Tensor]]:
    per_level = unet.config.layers_per_block + 1
    top = (
        (r"^conv_in\.", "input_blocks.0.0."),
        (r"^time_embedding\.linear_(\d)\.", lambda m: f"time_embed.{2 * (int(m[1]) - 1)}."),
        (r"^add_embedding\.linear_(\d)\.", lambda m: f"label_emb.0.{2 * (int(m[1]) - 1)}."),
        (r"^conv_norm_out\.", "out.0."),
        (r"^conv_out\.", "out.2."),
        (r"^mid_block\.attentions\.0\.", "middle_block.1."),
        (r"^mid_block\.resnets\.(\d)\.", lambda m: f"middle_block.{2 * int(m[1])}."),
        (r"^down_blocks\.(\d)\.resnets\.(\d)\.", lambda m: f"input_blocks.{1 + int(m[1]) * per_level + int(m[2])}.0."),
        (
            r"^down_blocks\.(\d)\.attentions\.(\d)\.",
            lambda m: f"input_blocks.{1 + int(m[1]) * per_level + int(m[2])}.1.",
        ),
        (r"^down_blocks\.(\d)\.downsamplers\.0\.conv\.", lambda m: f"input_blocks.{(int(m[1]) + 1) * per_level}.0.op."),
        (r"^up_blocks\.(\d)\.resnets\.(\d)\.", lambda m: f"output_blocks.{int(m[1]) * per_level + int(m[2])}.0."),
        (r"^up_blocks\.(\d)\.attentions\.(\d)\.", lambda m: f"output_blocks.{int(m[1]) * per_level + int(m[2])}.1."),
    )
    for key, tensor in unet.state_dict().items():
        name = _rename(key, top)
        if match := re.match(r"up_blocks\.(\d)\.upsamplers\.0\.", key):
            level = int(match[1])
            place = 2 if hasattr(unet.up_blocks[level], "attentions") else 1
            name = f"output_blocks.{(level + 1) * per_level - 1}.{place}." + key[match.end() :]
        yield "model.diffusion_model." + (_rename(name, RESNET) if "transformer" not in name else name), tensor


def _vae(vae: Any) -> Iterator[tuple[str, Tensor]]:
    levels = len(vae.config.block_out_channels)
    ups = (
        (r"up_blocks\.(\d)\.resnets\.", lambda m: f"up.{levels - 1 - int(m[1])}.block."),
        (r"up_blocks\.(\d)\.upsamplers\.0\.", lambda m: f"up.{levels - 1 - int(m[1])}.upsample."),
    )
    for key, tensor in vae.state_dict().items():
        name = _rename(_rename(key, VAE), ups)
        convolution = re.search(r"attn_1\.(q|k|v|proj_out)\.weight$", name)
        yield "first_stage_model." + name, tensor[..., None, None] if convolution else tensor


def _clip(text_encoder: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for key, tensor in text_encoder.state_dict().items():
        yield f"{prefix}.transformer.text_model.{key.removeprefix('text_model.')}", tensor


def _open_clip(text_encoder: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    weights = {key.removeprefix("text_model."): tensor for key, tensor in text_encoder.state_dict().items()}
    for key, tensor in weights.items():
        if "position_ids" in key:
            continue
        if match := re.match(r"encoder\.layers\.(\d+)\.self_attn\.q_proj\.(weight|bias)", key):
            stacked = [weights[key.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            yield f"{prefix}.model.transformer.resblocks.{match[1]}.attn.in_proj_{match[2]}", torch.cat(stacked)
        elif key == "text_projection.weight":
            yield f"{prefix}.model.text_projection", tensor.T
        elif not re.search(r"self_attn\.[kv]_proj", key):
            yield f"{prefix}.model.{_rename(key, OPEN_CLIP)}", tensor


def to_single_file(pipe: Any) -> dict[str, Tensor]:
    """All weights of an SD1, SD2 or SDXL pipeline under their names in a checkpoint."""
    if getattr(pipe, "text_encoder_2", None) is not None:
        texts = [
            _clip(pipe.text_encoder, "conditioner.embedders.0"),
            _open_clip(pipe.text_encoder_2, "conditioner.embedders.1"),
        ]
    elif pipe.text_encoder.config.hidden_size == 768:
        texts = [_clip(pipe.text_encoder, "cond_stage_model")]
    else:
        texts = [_open_clip(pipe.text_encoder, "cond_stage_model")]
    found = dict(pair for part in (_unet(pipe.unet), _vae(pipe.vae), *texts) for pair in part)
    return {key: tensor.contiguous() for key, tensor in found.items()}
