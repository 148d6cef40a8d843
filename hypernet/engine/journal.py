"""What the sites of one attached plan have to report."""

from __future__ import annotations

import logging

from hypernet.engine.tensors import is_out_of_memory

_log = logging.getLogger("hypernet")


class Journal:
    """Sentences for the user, each once, in the order they came."""

    def __init__(self) -> None:
        self._failures: dict[str, None] = {}
        self._remarks: dict[str, None] = {}

    def fail(self, error: Exception) -> None:
        """A network could not run."""
        _log.debug("a hypernetwork could not run", exc_info=error)
        reason = f"there was not enough memory ({error})." if is_out_of_memory(error) else str(error)
        self._failures[f"A hypernetwork could not run: {reason}"] = None

    def remark(self, sentence: str) -> None:
        """Something else worth telling."""
        self._remarks[sentence] = None

    @property
    def failures(self) -> tuple[str, ...]:
        """What went wrong, one sentence for each cause."""
        return tuple(self._failures)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What else was remarked."""
        return tuple(self._remarks)
