"""Stage 1: pictures to latents and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor
from tqdm import tqdm

from tools.demo_training import parts
from tools.demo_training.effects import draw
from tools.demo_training.loop import SEED, Stage, learning, some_scene, to_tensor
from tools.demo_training.scenes import SIZE

BOTH = Stage(steps=1800, batch=8, rate=2e-3, pictures=5_000)
"""Encoder and decoder together."""
DECODER = Stage(steps=900, batch=8, rate=1e-3, pictures=5_000)
"""The decoder alone."""
WOBBLE = 0.35
"""The most noise that the decoder learns to paint over. Latents have a spread of 1."""


def train_vae(work: Path) -> None:
    """Crops first, for many colours a step; whole pictures at the end. Then the decoder alone, on shaken latents."""
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    vae = parts.build_vae()
    head_start(vae)
    vae.to(memory_format=torch.channels_last)
    pool = draw_pool(BOTH.pictures, rng)
    for teacher in learning("vae", BOTH, adam(vae, BOTH.rate)):
        size = 32 if teacher.step < BOTH.steps * 2 // 3 else SIZE
        x = to_tensor([crop(pool, size, rng) for _ in range(BOTH.batch * (8 if size == 32 else 1))])
        posterior = vae.encode(x).latent_dist
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        teacher.learn(unlikeness(vae.decode(posterior.sample()).sample, x) + 3e-4 * kl)
    whiten(vae, to_tensor([draw(some_scene(rng)) for _ in range(256)]))
    steady_decoder(vae)
    vae.save_pretrained(work / "vae")


def steady_decoder(vae: AutoencoderKL) -> None:
    """A diffusion model's latents are a little off; a decoder that has seen such latents paints them clean."""
    torch.manual_seed(SEED + 1)
    rng = np.random.default_rng(SEED + 1)
    pool = draw_pool(DECODER.pictures, rng)
    vae.requires_grad_(False)
    for part in (vae.decoder, vae.post_quant_conv):
        part.requires_grad_(True)
    for teacher in learning("decoder", DECODER, adam(vae, DECODER.rate)):
        x = to_tensor([crop(pool, SIZE, rng) for _ in range(DECODER.batch)])
        with torch.no_grad():
            latents = vae.encode(x).latent_dist.mean
        wobble = WOBBLE * torch.rand(len(x), 1, 1, 1) * torch.randn_like(latents)
        teacher.learn(unlikeness(vae.decode(latents + wobble).sample, x))


def unlikeness(y: Tensor, x: Tensor) -> Tensor:
    """Mean absolute difference of the pictures and of their gradients, which keeps edges sharp, and the square."""
    edges = F.l1_loss(y.diff(dim=2), x.diff(dim=2)) + F.l1_loss(y.diff(dim=3), x.diff(dim=3))
    return F.l1_loss(y, x) + 2 * F.mse_loss(y, x) + edges


def adam(vae: AutoencoderKL, rate: float) -> torch.optim.Optimizer:
    """The optimiser for the weights that need gradients."""
    learned = [p for p in vae.parameters() if p.requires_grad]
    return torch.optim.AdamW(learned, rate, betas=(0.9, 0.99), weight_decay=0)


def draw_pool(pictures: int, rng: np.random.Generator) -> Any:
    """Pictures to learn from, as bytes: (pictures, size, size, 3)."""
    return np.stack([(draw(some_scene(rng)) * 255).round().astype(np.uint8) for _ in tqdm(range(pictures), "draw")])


def crop(pool: Any, size: int, rng: np.random.Generator) -> Any:
    """A square out of one of the pictures, as floats in [0, 1]."""
    top, left = rng.integers(0, pool.shape[1] - size + 1, 2)
    return pool[rng.integers(len(pool)), top : top + size, left : left + size].astype(np.float32) / 255


@torch.no_grad()
def head_start(vae: AutoencoderKL) -> None:
    """Starts the autoencoder as one that keeps the average colour of 8x8 pixels.

    Red, green, blue, their negatives and two constants (which give the group norms a scale) pass unchanged through the
    first eight channels: silu(c) - silu(-c) = c. Without it the first thousand steps go into finding out about colour.
    """
    for part in (vae.encoder, vae.decoder):
        for name, layer in part.named_modules():
            if name.endswith(("conv2", "to_out.0")):
                layer.weight *= 0.2
                layer.bias.zero_()
            elif name.endswith("conv_shortcut"):
                _pass_on(layer)
            elif name.endswith("samplers.0.conv"):
                _pass_on(layer, average="down" in name)
        first, last = part.conv_in, part.conv_out
        first.weight[:8] = 0
        first.bias[:8] = torch.tensor([0, 0, 0, 0, 0, 0, 1.5, -1.5])
        last.weight *= 0.2
        last.bias.zero_()
        for i in range(3):
            first.weight[i, i, 1, 1], first.weight[i + 3, i, 1, 1] = 1, -1
            last.weight[i] = 0
            last.weight[i, i, 1, 1], last.weight[i, i + 3, 1, 1] = 1, -1
    vae.encoder.conv_out.bias[parts.LATENT_CHANNELS :] = -4  # the log-variances
    for layer in (vae.quant_conv, vae.post_quant_conv):
        layer.weight[:, :, 0, 0] = torch.eye(len(layer.weight))
        layer.bias.zero_()


def _pass_on(layer: Any, average: bool = False) -> None:
    """Lets a convolution hand on its first eight channels, or their 2x2 average."""
    middle = layer.weight.shape[-1] // 2
    layer.weight[:8] = 0
    layer.bias[:8] = 0
    for i in range(8):
        if average:
            layer.weight[i, i, :2, :2] = 0.25
        else:
            layer.weight[i, i, middle, middle] = 1


@torch.no_grad()
def whiten(vae: AutoencoderKL, pictures: Tensor) -> None:
    """Folds each latent channel's mean and spread into the 1x1 convolutions: latents then have mean 0 and spread 1."""
    latents = torch.cat([vae.encode(part).latent_dist.mean for part in pictures.split(32)])
    mean, spread = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    n = len(mean)
    out, back = vae.quant_conv, vae.post_quant_conv
    back.bias += back.weight[:, :, 0, 0] @ mean
    back.weight *= spread[None, :, None, None]
    out.weight[:n] /= spread[:, None, None, None]
    out.bias[:n] = (out.bias[:n] - mean) / spread
    out.bias[n:] -= 2 * spread.log()  # the log-variances
    vae.register_to_config(scaling_factor=1.0)
