"""Collapse: linear nets as one matrix in front of the projection, where the projection's weight can't be used."""

from __future__ import annotations

from hypernet.engine.strategies.strategy import Strategy


class Collapse(Strategy):
    """The plain formula for linear nets. `DeviceWeights` holds each of them as one layer."""

    name = "collapse"
    cost = "one matrix product each"
