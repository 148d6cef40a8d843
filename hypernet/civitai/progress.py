"""Progress of long tasks, and how to cancel them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from hypernet.errors import HypernetError


@dataclass(frozen=True)
class Progress:
    """How far a task has got."""

    doing: str
    """For the user: 'Downloading ink.pt'."""
    done: int
    total: int | None
    """None if unknown."""
    unit: str = "files"
    """'bytes' or 'files'."""


class Cancelled(HypernetError):
    """The user stopped the task."""


class Watch:
    """Watches one task: `show` is called with its progress, on the task's thread; `cancel()` works from any thread."""

    def __init__(self, show: Callable[[Progress], None] | None = None) -> None:
        self._show = show
        self._stop = threading.Event()

    def cancel(self) -> None:
        """Makes the task raise Cancelled at its next step: within a chunk of a file, at worst after a timeout."""
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
        """Waits. Raises Cancelled as soon as the task is cancelled."""
        self._stop.wait(seconds)
        self.check()
