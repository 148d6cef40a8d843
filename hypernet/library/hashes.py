"""sha256 of files: computed once, remembered over restarts, in the background where nobody waits for it."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from hypernet.library.scan import Stamp

_log = logging.getLogger(__name__)

_CHUNK = 1 << 20  # bytes read at a time
_PATIENCE = 10.0  # seconds to wait for another process that is writing to the cache
_TABLE = """CREATE TABLE IF NOT EXISTS sha256
    (path TEXT PRIMARY KEY, mtime_ns INTEGER NOT NULL, size INTEGER NOT NULL, digest TEXT NOT NULL) WITHOUT ROWID"""


class Hashes:
    """Remembers the sha256 of each path as long as its time and size stay. Safe from many threads and processes.

    cache: an SQLite file, made on demand; None remembers until the end of the process.
    """

    def __init__(self, cache: Path | None) -> None:
        self._database = _connect(cache)
        self._using_database = threading.Lock()
        self._pending: deque[Path] = deque()
        self._worker: threading.Thread | None = None
        self._changing_worker = threading.Lock()
        self._stop_worker = threading.Event()

    def known(self, path: Path, stamp: Stamp) -> str | None:
        """The digest of the file in that state, without reading it; None when it was not computed yet."""
        query = "SELECT digest FROM sha256 WHERE path = ? AND mtime_ns = ? AND size = ?"
        try:
            with self._using_database:
                row = self._database.execute(query, (_key(path), stamp.mtime_ns, stamp.size)).fetchone()
        except sqlite3.Error as error:
            _log.warning("The hash cache can't be read: %s", error)
            return None
        return None if row is None else str(row[0])

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
        self.stop()
        with self._using_database:
            self._database.close()

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
        row = (_key(path), stamp.mtime_ns, stamp.size, digest)
        try:
            with self._using_database, self._database:
                self._database.execute("INSERT OR REPLACE INTO sha256 VALUES (?, ?, ?, ?)", row)
        except sqlite3.Error as error:
            _log.warning("The hash of %s could not be kept for next time: %s", path, error)


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
    """Opens the cache; a broken one is begun anew, and one that can't be written is done without."""
    if cache is None:
        return _open(":memory:")
    with suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        try:
            return _open(str(cache))
        except sqlite3.OperationalError as error:
            _log.warning("The hash cache %s can't be used (%s): hashes are kept until the end only.", cache, error)
            break
        except sqlite3.DatabaseError as error:
            _log.warning("The hash cache %s is broken (%s): it is begun anew.", cache, error)
            with suppress(OSError):
                cache.unlink()
    return _open(":memory:")


def _open(name: str) -> sqlite3.Connection:
    database = sqlite3.connect(name, timeout=_PATIENCE, check_same_thread=False)
    try:
        with database:
            database.execute(_TABLE)
            database.execute("SELECT path, mtime_ns, size, digest FROM sha256 LIMIT 1").fetchone()
    except BaseException:
        database.close()
        raise
    return database
