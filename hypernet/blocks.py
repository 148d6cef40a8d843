"""Block weights: a preset's name or a list of numbers -> a factor for each block of the UNet at hand.

The presets and the order of the numbers are sd-webui-lora-block-weight's. The first number, BASE, is for the text
encoder, where a hypernetwork doesn't act: it is read and ignored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from hypernet.errors import HypernetError

BlockWeights: TypeAlias = "str | tuple[float, ...]"
"""A preset's name, or numbers in block order."""

PRESETS = ("NONE", "ALL", "INS", "IND", "INALL", "MIDD", "OUTD", "OUTS", "OUTALL")
"""The names that `lbw=` takes."""

_NAMED_LISTS: Mapping[int, tuple[str, ...]] = {
    12: ("IN04", "IN05", "IN07", "IN08", "M00", *(f"OUT{i:02}" for i in range(6))),
    17: ("IN01", "IN02", "IN04", "IN05", "IN07", "IN08", "M00", *(f"OUT{i:02}" for i in range(3, 12))),
    20: (*(f"IN{i:02}" for i in range(9)), "M00", *(f"OUT{i:02}" for i in range(9))),
    26: (*(f"IN{i:02}" for i in range(12)), "M00", *(f"OUT{i:02}" for i in range(12))),
}
"""Numbers in a list (BASE counted) -> the blocks after BASE: SDXL, SD1 and SD2, and both with every block."""


def block_factors(weights: BlockWeights, blocks: Sequence[str]) -> Mapping[str, float]:
    """The factor of each block. blocks: the names of the UNet's blocks with attention, in order.

    A list for another model's blocks is matched by name, as in sd-webui-lora-block-weight: other blocks get 0.
    Raises HypernetError for an unknown preset or a list whose length fits neither this UNet nor a known one.
    """
    if isinstance(weights, str):
        chosen = _preset(weights, blocks)
        return {block: float(block in chosen) for block in blocks}
    names = tuple(blocks) if len(weights) == len(blocks) + 1 else _NAMED_LISTS.get(len(weights))
    if names is None:
        raise HypernetError(
            f"lbw has {len(weights)} numbers; this model takes {len(blocks) + 1}: BASE, {', '.join(blocks)}."
        )
    given = dict(zip(names, weights[1:], strict=True))
    return {block: given.get(block, 0.0) for block in blocks}


def _preset(name: str, blocks: Sequence[str]) -> set[str]:
    ins = [block for block in blocks if block.startswith("IN")]
    middle = [block for block in blocks if block.startswith("M")]
    outs = [block for block in blocks if block.startswith("OUT")]
    shallow_ins, deep_ins = _split(ins, math.ceil(len(ins) / 2))
    deep_outs, shallow_outs = _split(outs, len(outs) // 2)
    presets: dict[str, list[str]] = {
        "NONE": [],
        "ALL": list(blocks),
        "INS": shallow_ins,
        "IND": deep_ins,
        "INALL": ins,
        "MIDD": [*deep_ins, *middle, *deep_outs],
        "OUTD": deep_outs,
        "OUTS": shallow_outs,
        "OUTALL": outs,
    }
    if name not in presets:
        raise HypernetError(f"lbw has no preset “{name}”: there are {', '.join(PRESETS)}, or numbers.")
    return set(presets[name])


def _split(items: list[str], at: int) -> tuple[list[str], list[str]]:
    return items[:at], items[at:]
