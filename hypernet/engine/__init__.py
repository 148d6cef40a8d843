"""Plan -> hooks on a UNet's `to_k` and `to_v`. Each site gets the fastest strategy that gives the exact result."""

from hypernet.engine.engine import Engine

__all__ = ["Engine"]
