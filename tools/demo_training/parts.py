"""The demo model: Stable Diffusion's architecture at a hundredth of its size, as an ordinary diffusers pipeline.

Widths 64, 96 and 128 in self-attention and 80 for the text, so that a hypernetwork needs one pair of nets for each.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from tools.demo_training.scenes import COLOURS, GROUNDS, MATERIALS, PAPER, SHAPES, SIZE, TEXTURES

TEXT_WIDTH = 80
"""The width of the text's context."""
TOKENS = 16
"""The length of every prompt."""
LATENT_CHANNELS = 8
"""Channels of a latent."""
LATENT_SIZE = SIZE // 8
"""The side of a latent."""


def build_pipeline(
    vae: AutoencoderKL, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, tokenizer: PreTrainedTokenizerFast
) -> StableDiffusionPipeline:
    """The parts as a pipeline."""
    return StableDiffusionPipeline(
        vae=vae,
        unet=unet,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def save_pipeline(pipe: StableDiffusionPipeline, folder: Path) -> None:
    """Writes the pipeline so that every supported diffusers and transformers reads it, not only the newest."""
    pipe.save_pretrained(folder)
    for file in folder.rglob("*.json"):
        if file.name != "tokenizer.json":
            settings = json.loads(file.read_text().replace('"TokenizersBackend"', '"PreTrainedTokenizerFast"'))
            settings.pop("_name_or_path", None)  # where it lay on the machine that made it
            file.write_text(json.dumps(settings, indent=2) + "\n")
    weights = folder / "text_encoder" / "model.safetensors"
    tensors = {f"text_model.{key.removeprefix('text_model.')}": value for key, value in load_file(weights).items()}
    save_file(tensors, weights, metadata={"format": "pt"})
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o644)


def build_scheduler() -> DDIMScheduler:
    """v-prediction on a schedule that ends in nearly pure noise, so that a black ground can be black."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.02,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def build_vae() -> AutoencoderKL:
    """96x96 pixels to 12x12 latents of 8 channels: four levels, as Stable Diffusion's."""
    return AutoencoderKL(
        block_out_channels=(16, 32, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=LATENT_CHANNELS,
        layers_per_block=1,
        norm_num_groups=2,
        sample_size=SIZE,
    )


def build_unet() -> UNet2DConditionModel:
    """Three levels (12, 6 and 3 latents wide), self- and cross-attention in each."""
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(64, 96, 128),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
    )


def build_text_encoder(tokenizer: PreTrainedTokenizerFast) -> CLIPTextModel:
    """Two layers of CLIP."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        hidden_act="quick_gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word; a word the demo does not know is `<unk>`. Punctuation is ignored."""
    special = ["<pad>", "<unk>", "<start>", "<end>"]
    words = sorted({"a", "an", "on", "of", "background", PAPER, *SHAPES, *COLOURS, *TEXTURES, *GROUNDS, *MATERIALS})
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(special + words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Lowercase(), normalizers.Replace(Regex("[^a-z0-9<>]+"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>",
        special_tokens=[("<start>", special.index("<start>")), ("<end>", special.index("<end>"))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=TOKENS,
        unk_token="<unk>",
        bos_token="<start>",
        eos_token="<end>",
        pad_token="<pad>",
    )


def encode_text(encoder: CLIPTextModel, tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> torch.Tensor:
    """The pipeline's own text context: (len(texts), TOKENS, TEXT_WIDTH)."""
    batch: Any = tokenizer(texts, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt")
    context: torch.Tensor = encoder(batch.input_ids)[0]
    return context
