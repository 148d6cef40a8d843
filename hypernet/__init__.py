"""Hypernetworks (NovelAI's kind) for Stable Diffusion: read, decide, apply.

    import hypernet
    net = hypernet.load("ink.pt")
    k, v = net(context, strength=0.7)  # context: (batch, tokens, width)

Tags in prompts, sites and hooks: `hypernet.tags`, `hypernet.plan`, `hypernet.engine`, `hypernet.hosts.diffusers`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from hypernet.errors import HypernetError, UnreadableFile

if TYPE_CHECKING:
    from hypernet.files import load, save
    from hypernet.network import Metadata, Net, Network, Pair

__version__ = "0.1.0"
__all__ = ["HypernetError", "Metadata", "Net", "Network", "Pair", "UnreadableFile", "load", "save"]

_HOMES = {"load": "files", "save": "files"} | dict.fromkeys(("Metadata", "Net", "Network", "Pair"), "network")


def __getattr__(name: str) -> object:
    """What needs torch comes at its first use: torch takes seconds, and `hypernet --help` should not."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
