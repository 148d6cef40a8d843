"""What this WebUI remembers of each network beside the user's notes: favourites, how often and when it last drew.

Kept by the file's sha256, so that it survives renaming and moving; by its path until the digest is known.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypedDict

from hypernet import atomic
from hypernet.library import Entry

_log = logging.getLogger(__name__)

_VERSION = 1


class Remembered(TypedDict, total=False):
    """What is kept of one network; what is missing was never set."""

    favourite: bool
    uses: int
    used: float
    """When a picture was last drawn with it, in seconds since 1970."""


class Memory:
    """Safe from many threads. A file that can't be read or written costs what it held, and no picture."""

    def __init__(self, file: Path | None, digest: Callable[[Entry], str | None]) -> None:
        """file: JSON, made on demand; None forgets all at the end of the process. digest: the sha256 if it is known."""
        self._file, self._digest = file, digest
        self._known: dict[str, Remembered] | None = None
        self._lock = threading.RLock()

    def of(self, entry: Entry) -> Remembered:
        """What is kept of the network."""
        with self._lock:
            known = self._load()
            if not known:
                return {}
            digest = self._digest(entry)
            by_path = known.get(entry.shown_path)
            if digest is None:
                return by_path or {}
            if by_path is not None:  # from before the digest was known
                known[digest] = {**by_path, **known.get(digest, {})}
                del known[entry.shown_path]
            return known.get(digest, {})

    def set_favourite(self, entry: Entry, favourite: bool) -> None:
        """Marks the network, or takes its mark away."""
        self._change([entry], lambda kept: {**kept, "favourite": favourite})

    def note_use(self, entries: Iterable[Entry], now: Callable[[], float] = time.time) -> None:
        """A picture was drawn with these."""
        self._change(entries, lambda kept: {**kept, "uses": kept.get("uses", 0) + 1, "used": now()})

    def _change(self, entries: Iterable[Entry], changed: Callable[[Remembered], Remembered]) -> None:
        with self._lock:
            for entry in entries:
                kept = changed(self.of(entry))
                self._load()[self._digest(entry) or entry.shown_path] = kept
            self._save()

    def _load(self) -> dict[str, Remembered]:
        if self._known is None:
            self._known = _read(self._file)
        return self._known

    def _save(self) -> None:
        if self._file is None:
            return
        text = json.dumps({"version": _VERSION, "networks": self._load()}, indent=1, ensure_ascii=False)
        try:
            atomic.write_bytes(self._file, text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            _log.warning("Favourites can't be written to %s: %s", self._file, error)


def _read(file: Path | None) -> dict[str, Remembered]:
    """What an earlier run wrote; what is of another kind is left out."""
    if file is None or not file.is_file():
        return {}
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))["networks"]
        return {str(key): _checked(kept) for key, kept in stored.items() if isinstance(kept, dict)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _log.warning("%s is written anew: %s", file, error)
        return {}


def _checked(kept: dict[str, Any]) -> Remembered:
    checked: Remembered = {}
    if kept.get("favourite") is True:
        checked["favourite"] = True
    if isinstance(kept.get("uses"), int):
        checked["uses"] = kept["uses"]
    if isinstance(kept.get("used"), (int, float)):
        checked["used"] = float(kept["used"])
    return checked
