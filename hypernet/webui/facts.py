"""What there is to say about a file: for cards, for the API. Each state of a file is read once, also over restarts."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypernet import atomic
from hypernet.errors import HypernetError
from hypernet.library import Entry
from hypernet.text import size_in_words

if TYPE_CHECKING:
    from hypernet.files import Summary

_log = logging.getLogger(__name__)

Facts = Mapping[str, Any]
"""What a file holds, as JSON: the keys are those of `facts`; a file that can't be used has `problem` alone."""

_VERSION = 1
_AT_ONCE = 50
"""Files read before what is known so far is written down."""


class FactsCache:
    """The facts of files by path and state. Nothing is read before it is asked for. Safe from many threads."""

    def __init__(self, file: Path | None) -> None:
        """file: a JSON file, made on demand; None remembers until the end of the process."""
        self._file = file
        self._known: dict[str, list[Any]] | None = None
        self._waiting: dict[Path, Entry] = {}
        self._worker: threading.Thread | None = None
        self._lock = threading.RLock()

    def known(self, entry: Entry) -> Facts | None:
        """The facts of the file in this state, without opening it; None when it was not read yet."""
        with self._lock:
            if self._known is None:
                self._known = _load(self._file)
            time, size, found = self._known.get(entry.shown_path, (None, None, None))
        fits = (time, size) == (entry.stamp.mtime_ns, entry.stamp.size) and isinstance(found, dict)
        return found if fits else None

    def get(self, entry: Entry) -> Facts:
        """The facts of the file, which is read if need be."""
        found = self.known(entry)
        if found is None:
            found = facts(entry.path)
            with self._lock:
                assert self._known is not None, "known() loaded it"
                self._known[entry.shown_path] = [entry.stamp.mtime_ns, entry.stamp.size, found]
        return found

    def read_later(self, entries: Iterable[Entry]) -> None:
        """Reads these in the background, one after the other."""
        with self._lock:
            self._waiting.update((entry.path, entry) for entry in entries)
            if self._waiting and self._worker is None:
                self._worker = threading.Thread(target=self._work, name="hypernet facts", daemon=True)
                self._worker.start()

    def _work(self) -> None:
        count = 0
        while True:
            with self._lock:
                if not self._waiting:
                    self._worker = None
                    break
                _, entry = self._waiting.popitem()
            self.get(entry)
            count += 1
            if count % (20 * _AT_ONCE) == 0:
                self.save()
        self.save()

    def save(self) -> None:
        """Writes what is known to the file."""
        if self._file is None:
            return
        with self._lock:
            text = json.dumps({"version": _VERSION, "files": self._known or {}}, ensure_ascii=False)
        try:
            atomic.write_bytes(self._file, text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            _log.warning("What is known of the files can't be written to %s: %s", self._file, error)


def _load(file: Path | None) -> dict[str, list[Any]]:
    """What an earlier run wrote; a file that can't be read says nothing and is written anew."""
    if file is None or not file.is_file():
        return {}
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        if stored["version"] != _VERSION:
            return {}
        return {str(path): list(known) for path, known in stored["files"].items() if len(known) == 3}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _log.info("%s is written anew: %s", file, error)
        return {}


def facts(path: Path) -> Facts:
    """What the file at `path` holds, or as `problem` why it can't be used."""
    from hypernet.files import peek  # here, so that the door opens before the readers are needed

    try:
        return _told(peek(path))
    except HypernetError as error:
        return {"problem": str(error)}


def _told(found: Summary) -> Facts:
    metadata = found.metadata
    told = {
        "base": found.base,
        "widths": list(found.widths),
        "layer structure": list(found.structure),
        "activation": found.activation,
        "activation at the end": found.activate_output,
        "layer norm": found.layer_norm,
        "residual": found.residual,
        "free while drawing": found.linear,
        "steps": metadata.step,
        "name in the file": metadata.name,
        "trained on": metadata.sd_checkpoint_name,
        "trained on (hash)": metadata.sd_checkpoint,
        "dropout": list(metadata.dropout_structure) if metadata.dropout_structure else metadata.use_dropout,
        "notes in the file": metadata.optional_info,
        "precision": found.dtype,
        "parameters": found.parameters,
        "format": found.container,
        "written by": found.generation,
    }
    return {key: value for key, value in told.items() if value is not None}


def line(told: Facts, nbytes: int) -> str:
    """`SD1 · trained 5,000 steps · costs nothing · 84 MB`: one line for the card. Plain text.

    nbytes: the file's size.
    """
    if "problem" in told:
        return str(told["problem"])
    parts = [
        "" if told["base"] == "unknown" else str(told["base"]),
        f"trained {told['steps']:,} steps" if told.get("steps") else "",
        "costs nothing" if told["free while drawing"] else "",
        size_in_words(nbytes),
    ]
    return " · ".join(part for part in parts if part)
