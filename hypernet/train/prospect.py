"""What a training would be, before it starts: pictures, captions, problems, memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from PIL import Image

from hypernet.errors import HypernetError
from hypernet.network import TEXT_WIDTHS
from hypernet.pipeline.checkpoint import inspect_checkpoint
from hypernet.train.data.captions import common_words
from hypernet.train.data.pictures import Picture, Problem, open_picture
from hypernet.train.optimizers import OPTIMIZERS
from hypernet.train.settings import Settings
from hypernet.train.training import looked_at

WIDTHS: Mapping[str, tuple[int, ...]] = {
    "sd1": (320, 640, 768, 1280),
    "sd2": (320, 640, 1024, 1280),
    "sdxl": (640, 1280, 2048),
}
"""Base model -> the widths that its networks have."""
UNET_WEIGHTS: Mapping[str, int] = {"sd1": 859_520_964, "sd2": 865_910_724, "sdxl": 2_567_463_684}
"""Base model -> the number of weights in its UNet."""
ACTIVATIONS: Mapping[str, int] = {"sd1": 3_000_000_000, "sd2": 3_000_000_000, "sdxl": 9_000_000_000}
"""Bytes of one picture of the model's own size in half precision, without checkpointing; with it about a fifth."""
CHECKPOINTED = 0.2
"""The part of the activations that gradient checkpointing keeps."""
THUMBNAIL = 160
"""Pixels."""


@dataclass(frozen=True)
class Prospect:
    """What is known before a training begins. memory: bytes by what they are for; free: bytes that are there."""

    pictures: tuple[Picture, ...]
    problems: tuple[Problem, ...]
    words: tuple[tuple[str, int], ...]
    """What most captions share, with the number of them."""
    base: str
    memory: Mapping[str, int]
    free: int

    @property
    def fits(self) -> bool:
        """Whether the memory is enough."""
        return sum(self.memory.values()) <= self.free


def foresee(settings: Settings) -> Prospect:
    """Looks at the pictures and at the header of the model. Raises HypernetError for what can't be trained."""
    settings.check()
    found = looked_at(settings)
    checkpoint = Path(settings.checkpoint)
    kind = "" if checkpoint.is_dir() else inspect_checkpoint(checkpoint).kind
    words = common_words(picture.caption for picture in found.pictures)
    memory = memory_needed(kind, settings) if kind else {}
    base = TEXT_WIDTHS.get({"sd1": 768, "sd2": 1024, "sdxl": 2048}.get(kind, 0), checkpoint.name)
    return Prospect(found.pictures, found.problems, tuple(words), base, memory, free_memory())


def memory_needed(kind: str, settings: Settings, half: bool | None = None) -> dict[str, int]:
    """Bytes a training takes at its peak, by what they are for. kind: 'sd1', 'sd2' or 'sdxl'.

    half: whether the UNet is in half precision; None: as on this machine.
    """
    half = torch.cuda.is_available() if half is None else half
    weights = sum(2 * _net_weights(width, settings) for width in settings.enable_sizes or WIDTHS[kind])
    moments = (
        2 if settings.optimizer.endswith("8bit") else {"SGD": 0, "Lion": 4, "Prodigy": 16}.get(settings.optimizer, 8)
    )
    if settings.optimizer not in OPTIMIZERS:
        raise HypernetError(f"There is no optimizer “{settings.optimizer}”.")
    share = (settings.resolution / {"sd1": 512, "sd2": 768, "sdxl": 1024}[kind]) ** 2 if settings.resolution else 1.0
    activations = ACTIVATIONS[kind] * settings.batch_size * share * (1 if half else 2)
    return {
        "the model's UNet": UNET_WEIGHTS[kind] * (2 if half else 4),
        "the network and its gradients": 8 * weights,
        "what the optimizer remembers": moments * weights,
        "what is computed": int(activations * (CHECKPOINTED if settings.gradient_checkpointing else 1)),
    }


def _net_weights(width: int, settings: Settings) -> int:
    sizes = [int(width * size) for size in settings.layer_structure]
    linear = sum(inside * outside + outside for inside, outside in pairwise(sizes))
    return linear + (2 * sum(sizes[1:]) if settings.add_layer_norm else 0)


def free_memory() -> int:
    """Bytes that are free now, on the GPU if there is one."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):  # not Linux
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0


def thumbnail(picture: Picture) -> Image.Image:
    """A small picture to show. Raises HypernetError where the file can no longer be read."""
    image = open_picture(picture.path)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return image
