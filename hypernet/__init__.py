"""Hypernetworks (NovelAI's kind) for Stable Diffusion: read, decide, apply.

    import hypernet
    net = hypernet.load("ink.pt")
    k, v = net(context, strength=0.7)  # context: (batch, tokens, width)

    pipe = hypernet.Hypernetworks(hypernet.load_pipeline("model.safetensors"), "models/hypernetworks")
    pipe("a cat <hypernet:ink:0.7>")  # with diffusers installed

How it is built: docs/architecture.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from hypernet.errors import HypernetError, UnreadableFile

if TYPE_CHECKING:
    from hypernet.files import load, save
    from hypernet.network import Metadata, Net, Network, Pair
    from hypernet.pipeline import Hypernetworks, load_pipeline

__version__ = "0.1.0"
__all__ = [
    "HypernetError",
    "Hypernetworks",
    "Metadata",
    "Net",
    "Network",
    "Pair",
    "UnreadableFile",
    "load",
    "load_pipeline",
    "save",
]

_HOMES = {
    **dict.fromkeys(("load", "save"), "files"),
    **dict.fromkeys(("Metadata", "Net", "Network", "Pair"), "network"),
    **dict.fromkeys(("Hypernetworks", "load_pipeline"), "pipeline"),
}


def __getattr__(name: str) -> object:
    """What needs torch comes at its first use: torch takes seconds, and `hypernet --help` should not."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
