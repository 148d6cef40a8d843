"""Chance that can be had again: every draw of a training follows from the seed and from what it is drawn for.

So a training that goes on after an interruption draws what it would have drawn, and several processes draw alike.
"""

from __future__ import annotations

import hashlib
import random

import torch


def number(seed: int, *purpose: object) -> int:
    """63 bits for this purpose, such as ("step", 12)."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def choices(seed: int, *purpose: object) -> random.Random:
    """Draws among few."""
    return random.Random(number(seed, *purpose))


def numbers(seed: int, *purpose: object) -> torch.Generator:
    """Draws of noise, on the CPU, where every machine draws the same."""
    return torch.Generator().manual_seed(number(seed, *purpose))
