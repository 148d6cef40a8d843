"""Stage 3: the three hypernetworks, on the frozen base."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

import hypernet
from hypernet.app.demo import NETWORKS, load_demo
from tools.demo_training import parts
from tools.demo_training.base import NO_CAPTION, Noise
from tools.demo_training.loop import SEED, Stage, encode, learning
from tools.demo_training.scenes import caption, random_scene, with_material

LEARNED = Stage(steps=700, batch=48, rate=4e-3, pictures=4_000)
"""How each network learns."""
MATERIAL_OF = {"disperse": "dust", "ink": "ink", "water": "water"}
"""Network -> the material that its subjects turn into."""


def train_networks(work: Path) -> None:
    """Trains all three."""
    for number, name in enumerate(MATERIAL_OF):
        train_network(work, name, SEED + 10 + number)


def train_network(work: Path, name: str, seed: int) -> None:
    """Plain captions, but pictures in which the effect has gone some way: the nets learn to do it unasked.

    How far it has gone is also the strength the nets run at, so that every strength, not only 1, makes a picture.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    plain = [random_scene(rng) for _ in range(LEARNED.pictures)]
    amounts = np.where(rng.random(len(plain)) < 0.5, 1.0, rng.random(len(plain)))
    changed = [with_material(s, MATERIAL_OF[name], float(a)) for s, a in zip(plain, amounts, strict=True)]
    latents = encode(work, name, changed)
    strengths = torch.tensor(amounts, dtype=torch.float32)[:, None, None]
    pipe, noise = load_demo(work / "pipeline"), Noise()
    pipe.unet.set_attn_processor(AttnProcessor())
    nets = Nets(pipe.unet)
    optimizer = torch.optim.AdamW(nets.parameters(), LEARNED.rate, betas=(0.9, 0.99), weight_decay=0)
    for teacher in learning(name, LEARNED, optimizer):
        chosen = rng.integers(len(plain), size=LEARNED.batch)
        texts = ["" if rng.random() < NO_CAPTION else caption(plain[i], rng) for i in chosen]
        nets.strength = strengths[chosen]
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                context = parts.encode_text(pipe.text_encoder, pipe.tokenizer, texts)
            loss = noise.loss(latents[chosen], pipe.unet, context)
        teacher.learn(loss)
    (work / "hypernetworks").mkdir(exist_ok=True)
    torch.save(nets.as_a1111(name), work / "hypernetworks" / f"{name}.pt")


class Nets(nn.Module):
    """A hypernetwork that learns: for each width a net before to_k and one before to_v, `x + strength * net(x)`."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        unet.requires_grad_(False)
        self.strength: Any = 1.0  # a number, or (batch, 1, 1)
        self.nets = nn.ModuleDict()
        for site, projection in unet.named_modules():
            if site.endswith(("to_k", "to_v")):
                key = f"{projection.in_features}{site[-1]}"
                if key not in self.nets:
                    self.nets[key] = new_net(projection.in_features)
                projection.register_forward_pre_hook(partial(self._bend, self.nets[key]))

    def _bend(self, net: nn.Module, projection: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
        return (given[0] + self.strength * net(given[0]),)

    def as_a1111(self, name: str) -> dict[Any, Any]:
        """The dictionary that A1111 keeps in a `.pt` file."""
        widths = sorted({int(key[:-1]) for key in self.nets})
        pairs = {width: tuple(weights(self.nets[f"{width}{path}"]) for path in "kv") for width in widths}
        return pairs | {
            "step": LEARNED.steps,
            "name": name,
            "layer_structure": [1, 2, 1],
            "activation_func": "relu",
            "is_layer_norm": False,
            "weight_initialization": "Normal",
            "sd_checkpoint": None,
            "sd_checkpoint_name": "demo",
            "activate_output": False,
            "use_dropout": False,
            "dropout_structure": [0, 0, 0],
            "last_layer_dropout": False,
            "optional_info": None,
        }


def new_net(width: int) -> nn.Sequential:
    """Structure [1, 2, 1] with ReLU between, as A1111 starts it: weights from N(0, 0.01), no bias."""
    first, last = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
    for layer in (first, last):
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(first, nn.ReLU(), last)


def weights(net: nn.Module) -> dict[str, Tensor]:
    """A net's weights under A1111's names."""
    return {f"linear.{key}": value.detach() for key, value in net.state_dict().items()}


def publish(work: Path) -> None:
    """The networks in half precision into the package: safetensors, and `ink` as A1111's own kind of file too."""
    NETWORKS.mkdir(exist_ok=True)
    for name in MATERIAL_OF:
        network = hypernet.load(work / "hypernetworks" / f"{name}.pt")
        suffix = ".pt" if name == "ink" else ".safetensors"
        hypernet.save(network, NETWORKS / f"{name}{suffix}", dtype=torch.float16, overwrite=True)
