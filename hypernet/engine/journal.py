"""Sentences for the user from the sites of one attached plan."""

from __future__ import annotations

import logging

from hypernet.engine.tensors import is_out_of_memory

_log = logging.getLogger("hypernet")


class Journal:
    """Collects sentences, each once, in the order they came."""

    def __init__(self) -> None:
        self._failures: dict[str, None] = {}
        self._remarks: dict[str, None] = {}

    def fail(self, error: Exception) -> None:
        """A network could not run."""
        _log.debug("a hypernetwork could not run", exc_info=error)
        reason = f"there was not enough memory ({error})." if is_out_of_memory(error) else str(error)
        self._failures[f"A hypernetwork could not run: {reason}"] = None

    def remark(self, sentence: str) -> None:
        """Anything else that the user should know."""
        self._remarks[sentence] = None

    @property
    def failures(self) -> tuple[str, ...]:
        """What went wrong, one sentence for each cause."""
        return tuple(self._failures)

    @property
    def remarks(self) -> tuple[str, ...]:
        """The sentences that are no failures."""
        return tuple(self._remarks)
