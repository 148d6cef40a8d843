"""Long tasks behind a page: started by one request, watched and stopped by others."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

from hypernet.civitai.connection import CivitaiError
from hypernet.civitai.progress import Progress, Watch
from hypernet.errors import HypernetError

_log = logging.getLogger(__name__)

MAX_RUNNING = 4
"""Tasks at the same time."""
_KEPT = 50  # tasks that can still be asked about


@dataclass(frozen=True)
class Task:
    """The state of a task."""

    id: str
    progress: Progress | None
    """None before its first step."""
    finished: bool
    """True also after a failure or a cancellation."""
    error: str = ""
    """Why it failed, for the user."""
    result: object = None
    """What the work returned."""


class Tasks:
    """Runs each task in a thread of its own. Safe from many threads."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}
        self._watches: dict[str, Watch] = {}
        self._changing = threading.Lock()

    def start(self, work: Callable[[Watch], object]) -> str:
        """Starts it and returns its id. Raises CivitaiError if too many run already."""
        number = secrets.token_hex(8)
        watch = Watch(lambda progress: self._change(Task(number, progress, finished=False)))
        with self._changing:
            if len(self._watches) >= MAX_RUNNING:
                raise CivitaiError("Several downloads are running already: wait until one of them is done.")
            self._watches[number] = watch
            self._tasks[number] = Task(number, None, finished=False)
            for old in [known for known in self._tasks if known not in self._watches][:-_KEPT]:
                del self._tasks[old]
        threading.Thread(target=self._run, args=(number, work, watch), name="hypernet-task", daemon=True).start()
        return number

    def task(self, number: str) -> Task | None:
        """Its state; None for a task that was forgotten."""
        with self._changing:
            return self._tasks.get(number)

    def cancel(self, number: str) -> None:
        """Stops it at its next step. A finished task stays as it is."""
        with self._changing:
            watch = self._watches.get(number)
        if watch is not None:
            watch.cancel()

    def close(self) -> None:
        """Stops all of them."""
        with self._changing:
            watches = list(self._watches.values())
        for watch in watches:
            watch.cancel()

    def _run(self, number: str, work: Callable[[Watch], object], watch: Watch) -> None:
        result, error = None, ""
        try:
            result = work(watch)
        except HypernetError as problem:
            error = str(problem)
        except OSError as broken:
            error = f"The system can't write it: {broken.strerror or type(broken).__name__}."
        except Exception:
            _log.exception("A Civitai task failed")
            error = "This failed in a way that was not foreseen: the console says more."
        with self._changing:
            self._watches.pop(number, None)
            self._tasks[number] = Task(number, self._tasks[number].progress, True, error, result)

    def _change(self, task: Task) -> None:
        with self._changing:
            self._tasks[task.id] = task
