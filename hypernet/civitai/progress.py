"""How a long task tells how far it is, and how it is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from hypernet.errors import HypernetError


@dataclass(frozen=True)
class Progress:
    """How far a task is."""

    doing: str
    """For the user: 'Downloading ink.pt'."""
    done: int
    total: int | None
    """None when nobody knows."""
    unit: str = "files"
    """'bytes' or 'files'."""


class Cancelled(HypernetError):
    """The user stopped the task."""


class Watch:
    """One task seen from outside: `show` hears of its progress, on the task's thread; `cancel()` ends it from any."""

    def __init__(self, show: Callable[[Progress], None] | None = None) -> None:
        self._show = show
        self._stop = threading.Event()

    def cancel(self) -> None:
        """The task raises Cancelled at its next step: within a piece of a file, or a read's timeout at worst."""
        self._stop.set()

    def report(self, doing: str, done: int, total: int | None, unit: str = "files") -> None:
        """Called by the task. Raises Cancelled."""
        self.check()
        if self._show is not None:
            self._show(Progress(doing, done, total, unit))

    def check(self) -> None:
        """Raises Cancelled if the task was cancelled."""
        if self._stop.is_set():
            raise Cancelled("Stopped.")

    def sleep(self, seconds: float) -> None:
        """Waits. Raises Cancelled at once when the task is cancelled meanwhile."""
        self._stop.wait(seconds)
        self.check()
