"""Pictures of what was learned: the same prompt and noise at rising strength."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from hypernet.pipeline import strip
from hypernet.train.base import Base
from hypernet.train.steps import Trainer

SEED = 1
"""The seed of every preview."""
_STEPS, _GUIDANCE = 20, 7.0


def preview_strip(base: Base, trainer: Trainer, prompt: str, strengths: Sequence[float], title: str) -> Image.Image:
    """One row of pictures by the network under training, each with its strength under it.

    Raises whatever the pipeline raises, memory that is missing above all: what is precious is saved before.
    """
    images, labels = [], []
    device, before = trainer.accelerator.device, trainer.attached.strength
    base.move_encoders(device)
    try:
        for strength in strengths:
            trainer.attached.strength = strength
            images.append(_draw(base, trainer, prompt))
            labels.append(f"{strength:g}")
    finally:
        trainer.attached.strength = before
        base.move_encoders("cpu")
    return strip.side_by_side(images, labels, title)


def _draw(base: Base, trainer: Trainer, prompt: str) -> Image.Image:
    side = base.resolution
    small = base.kind == "another"  # models for trying things out are made for less guidance and fewer steps
    with trainer.looking(), trainer.accelerator.autocast():
        output: Any = base.pipe(
            prompt,
            width=side,
            height=side,
            num_inference_steps=_STEPS // 2 if small else _STEPS,
            guidance_scale=_GUIDANCE / 2 if small else _GUIDANCE,
            generator=torch.Generator().manual_seed(SEED),
        )
    image: Image.Image = output.images[0]
    return image
