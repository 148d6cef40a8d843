"""The networks read last, kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from hypernet.errors import UnreadableFile
from hypernet.library.scan import Stamp

if TYPE_CHECKING:
    from hypernet.network import Network

_TRIES = 3


class Loaded:
    """Reads networks and keeps the `keep` used last, by path and state of the file. Safe from many threads."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._networks: OrderedDict[Path, tuple[Stamp, Network]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path) -> Network:
        """The network that is at `path` now. Raises UnreadableFile."""
        with self._lock:
            for _ in range(_TRIES):
                stamp = _stamp(path)
                kept = self._networks.pop(path, None)
                network = kept[1] if kept and kept[0].same(stamp) else _load(path)
                if _stamp(path).same(stamp):
                    self._networks[path] = stamp, network
                    while len(self._networks) > self._keep:
                        self._networks.popitem(last=False)
                    return network
        raise UnreadableFile(path, "it is being written to at this moment.", "Try again when that is done.")

    def clear(self) -> None:
        """Forgets every network."""
        with self._lock:
            self._networks.clear()


def _stamp(path: Path) -> Stamp:
    try:
        return Stamp.of(path.stat())
    except OSError as error:
        raise UnreadableFile(path, f"it can't be opened ({error.strerror}).", "Was it moved or deleted?") from error


def _load(path: Path) -> Network:
    from hypernet.files import load  # here, so that listing does not wait for torch

    return load(path, mapped=False)  # people write to files while we run
