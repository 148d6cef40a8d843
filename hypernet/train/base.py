"""The base model a network is trained for, taken apart: a UNet to train on, and what reads pictures and text for it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hypernet.errors import HypernetError
from hypernet.network import TEXT_WIDTHS
from hypernet.pipeline import load_pipeline
from hypernet.sites import find_sites
from hypernet.train.noise import NoiseSchedule


@dataclass(frozen=True, eq=False)
class Text:
    """A prompt as the UNet reads it. context: (tokens, width); pooled: (width,), SDXL only."""

    context: Tensor
    pooled: Tensor | None = None


class Base:
    """A diffusers pipeline of SD1, SD2 or SDXL, frozen."""

    def __init__(self, pipe: Any, name: str, clip_skip: int = 1) -> None:
        """name: to be written into files. clip_skip: as A1111 counts, 1 for the text encoder's last layer.

        Raises HypernetError for a model that can't be trained for.
        """
        self.pipe, self.name = pipe, name
        self._clip_skip = clip_skip - 1 or None
        self.unet: Any = pipe.unet.requires_grad_(False)
        if self.unet.config.in_channels != pipe.vae.config.latent_channels:
            raise HypernetError(f"{name}: this model fills in parts of a picture. Train for the one it was made from.")
        prediction = pipe.scheduler.config.prediction_type
        if prediction not in ("epsilon", "v_prediction"):
            raise HypernetError(f"{name}: this model predicts “{prediction}”; those that predict noise or v are known.")
        self.noise = NoiseSchedule(_kept(pipe.scheduler), prediction == "v_prediction")
        for part in self._encoders():
            part.requires_grad_(False).eval()
        pipe.vae.float()  # SDXL's overflows in half precision
        pipe.set_progress_bar_config(disable=True)

    @classmethod
    def open(cls, checkpoint: Path, dtype: torch.dtype = torch.float32, clip_skip: int = 1) -> Base:
        """Reads a checkpoint file or a folder in diffusers' layout. dtype: of the UNet. Raises HypernetError."""
        return cls(load_pipeline(checkpoint, dtype=dtype), checkpoint.stem, clip_skip)

    def _encoders(self) -> list[nn.Module]:
        parts = (getattr(self.pipe, part, None) for part in ("vae", "text_encoder", "text_encoder_2"))
        return [part for part in parts if part is not None]

    @property
    def kind(self) -> str:
        """'SD1', 'SD2', 'SDXL', or 'another' for models of other widths."""
        return TEXT_WIDTHS.get(self.unet.config.cross_attention_dim, "another")

    @property
    def is_xl(self) -> bool:
        """Whether it is an SDXL model."""
        return bool(self.unet.config.addition_embed_type == "text_time")

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths that nets can have here."""
        return tuple(sorted({site.width for site in find_sites(self.unet)}))

    @property
    def grain(self) -> int:
        """Pixels on the side of one latent."""
        return int(2 ** (len(self.pipe.vae.config.block_out_channels) - 1))

    @property
    def step(self) -> int:
        """What the sides of a picture are multiples of, in pixels."""
        return int(self.grain * 2 ** (len(self.unet.config.block_out_channels) - 1))

    @property
    def resolution(self) -> int:
        """The side of a square picture of the size the model was made for."""
        return int(self.unet.config.sample_size * self.grain)

    @cached_property
    def vae_mark(self) -> str:
        """Differs where pictures would be read differently."""
        return fingerprint(self.pipe.vae)

    @cached_property
    def text_mark(self) -> str:
        """Differs where text would be read differently."""
        return "-".join(fingerprint(part) for part in self._encoders()[1:]) + f"-{self._clip_skip}"

    def move_encoders(self, device: torch.device | str) -> None:
        """VAE and text encoders are needed before and after training; meanwhile they leave the GPU."""
        for part in self._encoders():
            part.to(device)

    @torch.no_grad()
    def read_picture(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and spread of its latents, (channels, height, width) each. pixels: (3, height, width) in [-1, 1]."""
        vae = self.pipe.vae
        found = vae.encode(pixels[None].to(vae.device, vae.dtype)).latent_dist
        scale = vae.config.scaling_factor
        return (found.mean[0] * scale).float().cpu(), (found.std[0] * scale).float().cpu()

    @torch.no_grad()
    def read_texts(self, texts: Sequence[str]) -> list[Text]:
        """The prompts as the pipeline itself reads them."""
        found = self.pipe.encode_prompt(
            prompt=list(texts),
            device=self.pipe.text_encoder.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
            clip_skip=self._clip_skip,
        )
        contexts = found[0].float().cpu()
        pooled: Sequence[Tensor | None] = found[2].float().cpu() if self.is_xl else [None] * len(texts)
        return [Text(context, one) for context, one in zip(contexts, pooled, strict=True)]

    def too_long(self, text: str) -> bool:
        """Whether the end of a prompt is never read."""
        tokenizer = self.pipe.tokenizer
        return bool(len(tokenizer(text, truncation=False, verbose=False).input_ids) > tokenizer.model_max_length)


def _kept(scheduler: Any) -> Tensor:
    """`alphas_cumprod` of the scheduler's settings, zero terminal SNR included, which each class keeps its own way."""
    from diffusers import DDPMScheduler

    kept: Tensor = DDPMScheduler.from_config(scheduler.config).alphas_cumprod
    return kept.double()


def fingerprint(module: nn.Module) -> str:
    """Differs for other weights: a hash of every tensor's shape, sum and ends, which is quick also for large models."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        flat = tensor.detach().flatten()
        ends = torch.cat([flat[:16], flat[-16:]]).float().tolist()
        digest.update(repr((name, tuple(tensor.shape), float(flat.float().sum()), ends)).encode())
    return digest.hexdigest()[:16]
