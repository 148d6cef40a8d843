"""Plan -> hooks on a UNet's `to_k` and `to_v`, the fastest way that mathematics allows at each."""

from hypernet.engine.engine import Engine

__all__ = ["Engine"]
