"""The result of a measurement: rows of names and numbers, to be printed, kept as JSON and drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

Row = dict[str, str | float]


@dataclass(frozen=True)
class Options:
    """What is measured where.

    sizes: sides of the picture in pixels; batch: rows of one UNet call; only: a part of the networks' names.
    """

    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    models: tuple[str, ...] = ("sd15",)
    sizes: tuple[int, ...] = (256, 512)
    batch: int = 2
    rounds: int = 5
    only: str = ""


@dataclass
class Table:
    """name: of the part; columns: how each number is written, by its name in the rows; others are texts."""

    title: str
    columns: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def write(self, row: Row) -> dict[str, str]:
        """The row's cells as texts."""
        return {
            name: value if isinstance(value, str) else format(value, self.columns.get(name, ".3g"))
            for name, value in row.items()
        }


Say = Callable[[str], None]
"""Tells what is being measured now."""
Part = Callable[[Options, Say], Table]
