"""What every stage shares: how long it learns, its steps, its pictures as tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from tqdm import tqdm

from tools.demo_training.effects import draw
from tools.demo_training.scenes import MATERIALS, Scene, random_scene, with_material

SEED = 0
"""The seed of every stage."""


@dataclass(frozen=True)
class Stage:
    """How long and how fast one stage learns, and on how many pictures."""

    steps: int
    batch: int
    rate: float
    pictures: int


def learning(name: str, stage: Stage, optimizer: torch.optim.Optimizer) -> Iterator[Teacher]:
    """The steps of a stage, with a bar; the learning rate rises for 1/40 of them and falls along a cosine."""
    teacher = Teacher(optimizer)
    for step in (bar := tqdm(range(stage.steps), name, mininterval=2)):
        rise = min(1.0, (step + 1) / (stage.steps / 40))
        fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / stage.steps))
        for group in optimizer.param_groups:
            group["lr"] = stage.rate * rise * fall
        teacher.step = step
        yield teacher
        if step % 50 == 49:
            bar.set_postfix(loss=f"{teacher.loss:.4f}")


class Teacher:
    """One optimiser's steps and the running mean of what it minimises."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.step = 0
        self.loss = 0.0

    def learn(self, loss: Tensor) -> None:
        """One step down this loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], 1.0)
        self.optimizer.step()
        self.loss = loss.item() if self.step == 0 else 0.98 * self.loss + 0.02 * loss.item()


def some_scene(rng: np.random.Generator, share: float = 0.5) -> Scene:
    """A scene that is not held out; a share of them turned, somewhat, into a material."""
    scene = random_scene(rng)
    if rng.random() >= share:
        return scene
    return with_material(scene, str(rng.choice(MATERIALS)), float(rng.uniform(0, 1)))


def to_tensor(pictures: list[Any]) -> Tensor:
    """Pictures in [0, 1], rows first, to (n, 3, size, size) in [-1, 1]."""
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) * 2 - 1
    return x.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def encode(work: Path, name: str, scenes: list[Scene]) -> Tensor:
    """The latents of drawn scenes, made once and kept in the work folder: (n, channels, 12, 12)."""
    file = work / f"{name}-latents.pt"
    if file.is_file():
        kept: Tensor = torch.load(file, weights_only=True)
        return kept
    vae = AutoencoderKL.from_pretrained(work / "vae")
    parts = [scenes[i : i + 32] for i in range(0, len(scenes), 32)]
    latents = torch.cat([vae.encode(to_tensor([draw(s) for s in p])).latent_dist.mean for p in tqdm(parts, name)])
    torch.save(latents, file)
    return latents
