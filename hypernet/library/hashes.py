"""sha256 of files: computed once, remembered over restarts, in the background where nobody waits for it."""

from __future__ import annotations

import hashlib
import logging
import re
import sqlite3
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from hypernet.library.scan import Stamp

INFOTEXT_KEY = "Hypernet hashes"
"""The key in a picture's parameters under which the hashes of its networks stand."""
SHORT = 10
"""Hex digits of a hash in a picture's parameters, as WebUIs show them."""

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")

_CHUNK = 1 << 20  # bytes read at a time
_PATIENCE = 10.0  # seconds to wait for another process that is writing to the cache
_TABLE = """CREATE TABLE IF NOT EXISTS sha256
    (path TEXT PRIMARY KEY, mtime_ns INTEGER NOT NULL, size INTEGER NOT NULL, digest TEXT NOT NULL) WITHOUT ROWID"""
_ERRORS = (sqlite3.Error, UnicodeError)  # of a damaged file even SQLite's messages may be no text
_STORED = re.compile("([0-9a-f]{64})([0-9a-f]{8})")
_OUT_OF_REACH = ("locked", "busy", "readonly", "unable to open", "disk i/o", "full", "permission", "closed")
"""What SQLite says where the file is in order, but can't be used now."""


def in_infotext(digests: Mapping[str, str]) -> str:
    """Name -> sha256, as a picture's parameters have it: `ink: 0123456789, water: abcdef0123`."""
    return ", ".join(f"{name}: {digest[:SHORT]}" for name, digest in digests.items())


class Hashes:
    """Remembers the sha256 of each path as long as its time and size stay. Safe from many threads and processes.

    cache: an SQLite file, made when it is needed; None remembers until the end of the process. A damaged one is set
    aside and made anew.
    """

    def __init__(self, cache: Path | None) -> None:
        self._cache = cache
        self._opened: sqlite3.Connection | None = None
        self._using_database = threading.Lock()
        self._pending: deque[Path] = deque()
        self._worker: threading.Thread | None = None
        self._changing_worker = threading.Lock()
        self._stop_worker = threading.Event()

    def known(self, path: Path, stamp: Stamp) -> str | None:
        """The digest of the file in that state, without reading it; None when it was not computed yet."""
        query = "SELECT digest FROM sha256 WHERE path = ? AND mtime_ns = ? AND size = ?"
        key = (_key(path), stamp.mtime_ns, stamp.size)
        row = self._ask(lambda database: database.execute(query, key).fetchone())
        found = _STORED.fullmatch(row[0]) if row and isinstance(row[0], str) else None
        return found[1] if found and found[2] == _check(*key, found[1]) else None

    def get(self, path: Path) -> str:
        """The digest of the file as it is now, 64 hex digits, reading the file if need be. Raises OSError."""
        digest = self._get(path, threading.Event())
        assert digest is not None
        return digest

    def later(self, paths: Iterable[Path]) -> None:
        """Computes these in the background, one after the other."""
        with self._changing_worker:
            self._pending.extend(paths)
            if self._pending and self._worker is None:
                stop = self._stop_worker = threading.Event()
                self._worker = threading.Thread(target=self._work, args=(stop,), name="hypernet-sha256", daemon=True)
                self._worker.start()

    def stop(self) -> None:
        """Ends the background work, in the middle of a file if need be. `later` begins it anew."""
        with self._changing_worker:
            self._pending.clear()
            self._stop_worker.set()
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.join()

    def close(self) -> None:
        """Ends the background work and lets go of the file. It is opened again when it is needed again."""
        self.stop()
        with self._using_database:
            if self._opened is not None and self._cache is not None:
                self._opened.close()
                self._opened = None

    def _work(self, stop: threading.Event) -> None:
        while True:
            with self._changing_worker:
                if stop.is_set():
                    return
                if not self._pending:
                    self._worker = None
                    return
                path = self._pending.popleft()
            try:
                self._get(path, stop)
            except OSError as error:
                _log.warning("%s could not be hashed: %s", path, error)

    def _get(self, path: Path, stop: threading.Event) -> str | None:
        """The digest, or None if `stop` was set before the end."""
        while True:
            before = Stamp.of(path.stat())
            if digest := self.known(path, before):
                return digest
            digest = _read(path, stop)
            if digest is None:
                return None
            if Stamp.of(path.stat()).same(before):  # else it was written to while we read
                self._remember(path, before, digest)
                return digest

    def _remember(self, path: Path, stamp: Stamp, digest: str) -> None:
        key = (_key(path), stamp.mtime_ns, stamp.size)
        row = (*key, digest + _check(*key, digest))
        self._ask(lambda database: _insert(database, row))

    def _ask(self, what: Callable[[sqlite3.Connection], _Answer]) -> _Answer | None:
        """Asks the database, once more where it was damaged and had to be made anew. None where it can't answer."""
        with self._using_database:
            for _ in range(2):
                if self._opened is None:
                    self._opened = _connect(self._cache)
                try:
                    return what(self._opened)
                except _ERRORS as error:
                    if _is_out_of_reach(error) or self._cache is None:
                        _log.warning("The hash cache %s can't be used now: %s", self._cache, error)
                        return None
                    self._opened.close()
                    self._opened = None
                    _set_aside(self._cache, error)
        return None


def _insert(database: sqlite3.Connection, row: tuple[object, ...]) -> None:
    with database:
        database.execute("INSERT OR REPLACE INTO sha256 VALUES (?, ?, ?, ?)", row)


def _check(path: str, mtime_ns: int, size: int, digest: str) -> str:
    """8 hex digits by which a damaged row is seen: a database only sees damage to its own bookkeeping."""
    return f"{zlib.crc32(f'{path}|{mtime_ns}|{size}|{digest}'.encode()):08x}"


def sha256(path: Path) -> str:
    """The digest of a file, 64 hex digits, read anew. Raises OSError."""
    digest = _read(path, threading.Event())
    assert digest is not None
    return digest


def _read(path: Path, stop: threading.Event) -> str | None:
    hasher = hashlib.sha256()
    with path.open("rb", buffering=0) as stream:
        while chunk := stream.read(_CHUNK):
            if stop.is_set():
                return None
            hasher.update(chunk)
    return hasher.hexdigest()


def _key(path: Path) -> str:
    return str(path).encode("utf-8", "backslashreplace").decode()


def _connect(cache: Path | None) -> sqlite3.Connection:
    """Opens the cache. Without one, or with one that can't be used, digests are kept in memory."""
    if cache is None:
        return _open(":memory:")
    with suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        try:
            return _open(str(cache))
        except _ERRORS as error:
            if _is_out_of_reach(error):
                _log.warning("The hash cache %s can't be used (%s): hashes are kept until the end only.", cache, error)
                break
            _set_aside(cache, error)
    return _open(":memory:")


def _is_out_of_reach(error: Exception) -> bool:
    return any(word in str(error).lower() for word in _OUT_OF_REACH)


def _set_aside(cache: Path, error: Exception) -> None:
    aside = cache.with_name(cache.name + ".damaged")
    _log.warning("The hash cache %s is damaged (%s): it is now %s, and made anew.", cache, error, aside.name)
    for ending in ("", "-journal", "-wal", "-shm"):
        with suppress(OSError):
            cache.with_name(cache.name + ending).replace(aside.with_name(aside.name + ending))


def _open(name: str) -> sqlite3.Connection:
    database = sqlite3.connect(name, timeout=_PATIENCE, check_same_thread=False)
    database.text_factory = lambda data: data.decode("utf-8", "replace")
    try:
        with database:
            database.execute(_TABLE)
            database.execute("SELECT path, mtime_ns, size, digest FROM sha256 LIMIT 1").fetchone()
    except BaseException:
        database.close()
        raise
    return database
