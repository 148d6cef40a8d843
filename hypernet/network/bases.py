"""Context widths and the base models they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

TEXT_WIDTHS: Mapping[int, str] = MappingProxyType({768: "SD1", 1024: "SD2", 2048: "SDXL"})
"""Width of a base model's text context -> its name. 320, 640 and 1280 are UNet channels that base models share."""

UNKNOWN_BASE = "unknown"
"""The base of a network with no text width, or with more than one."""


def base_of(widths: Iterable[int]) -> str:
    """'SD1', 'SD2', 'SDXL' or 'unknown': the base model whose text context is among these context widths."""
    bases = {TEXT_WIDTHS[width] for width in widths if width in TEXT_WIDTHS}
    return bases.pop() if len(bases) == 1 else UNKNOWN_BASE
