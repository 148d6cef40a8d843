"""Stream: every net runs on the picture's tokens at every step, in chunks (see `chunked.py`)."""

from __future__ import annotations

from hypernet.engine.strategies.strategy import Strategy


class Stream(Strategy):
    """The plain formula, for nets that are not linear."""

    name = "stream"
    cost = "the whole nets"
