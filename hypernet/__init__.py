"""Hypernetworks (NovelAI's kind) for Stable Diffusion: read, decide, apply.

    import hypernet
    net = hypernet.load("ink.pt")
    k, v = net(context, strength=0.7)  # context: (batch, tokens, width)
"""

from __future__ import annotations

from hypernet.errors import HypernetError, UnreadableFile
from hypernet.files import load, save
from hypernet.network import Metadata, Net, Network, Pair

__version__ = "0.1.0"
__all__ = ["HypernetError", "Metadata", "Net", "Network", "Pair", "UnreadableFile", "load", "save"]
