"""Bytes on disk -> `Network`, and back."""

from __future__ import annotations

import os

from hypernet.network import Network


def load(path: str | os.PathLike[str]) -> Network:
    raise NotImplementedError(path)


def save(network: Network, path: str | os.PathLike[str]) -> None:
    raise NotImplementedError(path)
