"""Stage 2: text encoder and UNet on the latents of drawn pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor

from hypernet.app.demo import load_demo
from tools.demo_training import parts
from tools.demo_training.loop import SEED, Stage, encode, learning, some_scene
from tools.demo_training.scenes import Scene, caption, with_material

FIRST = Stage(steps=4500, batch=40, rate=1.2e-3, pictures=20_000)
"""The first round."""
SECOND = Stage(steps=2600, batch=48, rate=7e-4, pictures=20_000)
"""The second round, from the average of the first."""
NO_CAPTION = 0.1
"""The share of pictures shown without words, for classifier-free guidance."""


def train_base(work: Path) -> None:
    """Two rounds of velocity prediction; what is kept of each is the running average of the weights."""
    tokenizer = parts.build_tokenizer()
    torch.manual_seed(SEED)
    encoder, unet = parts.build_text_encoder(tokenizer), parts.build_unet()
    learn_captions(work, "base", FIRST, SEED + 1, unet, encoder, tokenizer)
    second_round(work)


def second_round(work: Path) -> None:
    """Learns on from the first round."""
    pipe = load_demo(work / "pipeline")
    torch.manual_seed(SEED + 2)
    learn_captions(work, "base again", SECOND, SEED + 2, pipe.unet, pipe.text_encoder, parts.build_tokenizer())


def base_scenes(pictures: int) -> list[Scene]:
    """Mostly plain; a fifth is of dust, ink or water, and says so in its caption, as large models know such words."""
    rng = np.random.default_rng(SEED + 1)
    scenes = [some_scene(rng, share=0.2) for _ in range(pictures)]
    return [s if s.amount > 0.3 or not s.material else with_material(s, "", 0.0) for s in scenes]


def learn_captions(work: Path, name: str, stage: Stage, seed: int, unet: Any, encoder: Any, tokenizer: Any) -> None:
    """Learns text encoder and UNet together, and keeps the average of their weights."""
    rng = np.random.default_rng(seed)
    scenes = base_scenes(stage.pictures)
    latents = encode(work, "base", scenes)
    unet.train().to(memory_format=torch.channels_last)
    encoder.train()
    unet.set_attn_processor(AttnProcessor())  # on a CPU, twice as fast to train as the fused one
    weights, noise = [*unet.parameters(), *encoder.parameters()], Noise()
    average = [w.detach().clone() for w in weights]
    optimizer = torch.optim.AdamW(weights, stage.rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    for teacher in learning(name, stage, optimizer):
        chosen = rng.integers(len(scenes), size=stage.batch)
        texts = ["" if rng.random() < NO_CAPTION else caption(scenes[i], rng) for i in chosen]
        with torch.autocast("cpu", torch.bfloat16):
            context = parts.encode_text(encoder, tokenizer, texts)
            loss = noise.loss(latents[chosen], unet, context)
        teacher.learn(loss)
        kept = min(0.998, (teacher.step + 1) / (teacher.step + 10))
        torch._foreach_lerp_(average, [w.detach() for w in weights], 1 - kept)
        if teacher.step % 500 == 499 or teacher.step == stage.steps - 1:
            save(work, unet, encoder, tokenizer, weights, average)


@torch.no_grad()
def save(work: Path, unet: Any, encoder: Any, tokenizer: Any, weights: list[Any], average: list[Tensor]) -> None:
    """Writes the pipeline with the averaged weights, in float16, and goes on with the raw ones."""
    raw = [w.detach().clone() for w in weights]
    torch._foreach_copy_(weights, average)
    vae = AutoencoderKL.from_pretrained(work / "vae")
    for part in (vae, unet, encoder):
        part.half()
    parts.save_pipeline(parts.build_pipeline(vae, unet, encoder, tokenizer), work / "pipeline")
    for part in (unet, encoder):
        part.float()
    torch._foreach_copy_(weights, raw)


class Noise:
    """The training side of the scheduler: noise a latent, ask for its velocity, compare."""

    def __init__(self) -> None:
        self.scheduler = parts.build_scheduler()

    def loss(self, latents: Tensor, unet: Any, context: Tensor) -> Tensor:
        """The mean square error of one guess at random times. latents: (batch, channels, side, side)."""
        noise = torch.randn_like(latents)
        spread = (torch.arange(len(latents)) + torch.rand(len(latents))) / len(latents)  # a time from each stretch
        t = (spread * self.scheduler.config.num_train_timesteps).long()
        guess = unet(self.scheduler.add_noise(latents, noise, t), t, context).sample
        return F.mse_loss(guess.float(), self.scheduler.get_velocity(latents, noise, t))
