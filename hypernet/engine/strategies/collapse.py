"""Collapse: linear nets as one matrix in front of the projection, where the projection's weight can't be used."""

from __future__ import annotations

from hypernet.engine.strategies.strategy import Strategy


class Collapse(Strategy):
    """The plain way for linear nets: the device's weights hold each as one layer (see `weights.py`)."""

    name = "collapse"
    cost = "one matrix product each"
