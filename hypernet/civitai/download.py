"""Downloads one file: resumes where it broke off, and verifies it before it gets its name."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import requests

from hypernet import atomic
from hypernet.civitai.answers import File
from hypernet.civitai.connection import CivitaiError
from hypernet.civitai.http import Http, Interrupted
from hypernet.civitai.progress import Watch
from hypernet.text import printable, size_in_words

MAX_SIZE = 4 << 30
"""Bytes. The largest hypernetwork seen has 0.4 billion."""
_SLACK = 1 << 20  # bytes that a file may be larger than the site says, which rounds
_CHUNK = 1 << 14  # bytes; a chunk that is not complete is lost with the connection
_TRIES = 5
"""How often in a row a download may break off without progress."""
_ABANDONED = 7 * 24 * 3600.0  # seconds after which nobody resumes a download
_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15}|\*)")

_active: set[Path] = set()
_changing_active = threading.Lock()


class _TooLarge(CivitaiError):
    """The file is larger than the site says, or than any hypernetwork."""


@contextmanager
def downloaded(http: Http, file: File, folder: Path, watch: Watch) -> Iterator[Path]:
    """The file under a hidden temporary name in `folder`, whole and verified, for the caller to read and move.

    If the connection breaks or the user cancels, what has arrived is kept for the next time. A file that fails
    verification, or for which the caller raises an error, is deleted. Raises CivitaiError, Cancelled, OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _tidy(folder)
    part = folder / f".hypernet-{_identity(file)}.part"
    with _alone(part):
        _refuse_without_room(folder, file.size)
        _complete(http, file, part, watch)
        try:
            yield part
        finally:
            _forget(part)


def sha256(path: Path, watch: Watch) -> str:
    """64 hex digits. Raises Cancelled, OSError."""
    return _digests(path, watch)[0]


def _complete(http: Http, file: File, part: Path, watch: Watch) -> None:
    """Fetches what is missing and verifies the whole. If a resumed file is wrong, starts over once."""
    for again in (False, True):
        resumed = part.exists()
        try:
            _fetch(http, file, part, watch)
        except _TooLarge:
            _forget(part)
            raise
        watch.report(f"Checking {printable(file.name)}", 0, None, "bytes")
        problem = _wrong(file, part, watch)
        if problem is None:
            return
        _forget(part)
        if again or not resumed:
            raise CivitaiError(f"{printable(file.name)}: {problem} Nothing of it was kept; try again later.")


def _fetch(http: Http, file: File, part: Path, watch: Watch) -> None:
    failures = 0
    while True:
        before = _size(part)
        try:
            _fetch_on(http, file, part, watch)
            return
        except Interrupted:
            failures = 0 if _size(part) > before else failures + 1
            if failures >= _TRIES:
                raise
        watch.sleep(http.pause * 2**failures if failures else 0)


def _fetch_on(http: Http, file: File, part: Path, watch: Watch) -> None:
    """One request for what is missing. Raises Interrupted if the end was not reached."""
    start, headers = _size(part), {"Accept-Encoding": "identity"}
    validator = _validator(part)
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator:
            headers["If-Range"] = validator
    with http.opened(f"{http.site}{file.download}", headers, watch) as response:
        if response.status_code == 416 and response.headers.get("Content-Range") == f"bytes */{start}":
            return  # nothing is missing
        if response.status_code == 416 or not _continues(response, start):
            if response.status_code != 200:
                _forget(part)  # complete, or of another state of the file: only the whole tells
                raise Interrupted("The download can't be continued: it begins anew.")
            start = 0
        _refuse_page(response, file)
        total = _total(response, start)
        _refuse_large(file, total or 0)
        _remember_validator(part, response)
        with part.open("r+b" if start else "wb") as stream:
            stream.seek(start)
            stream.truncate()
            got = _copy(response, stream, file, start, total, watch)
    if total is not None and got < total:
        raise Interrupted(f"{printable(file.name)}: the connection broke off.")


def _copy(
    response: requests.Response, stream: IO[bytes], file: File, start: int, total: int | None, watch: Watch
) -> int:
    """Appends the answer's body; returns how many bytes the file has now."""
    got = start
    doing = f"Downloading {printable(file.name)}"
    watch.report(doing, got, total, "bytes")
    try:
        for piece in response.iter_content(_CHUNK):
            stream.write(piece)
            got += len(piece)
            _refuse_large(file, got)
            watch.report(doing, got, total, "bytes")
    except requests.RequestException:
        raise Interrupted(f"{printable(file.name)}: the connection broke off.") from None
    finally:
        stream.flush()
        os.fsync(stream.fileno())
    return got


def _continues(response: requests.Response, start: int) -> bool:
    """Whether the answer is what follows `start` bytes."""
    if response.status_code == 200:
        return start == 0
    said = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return said is not None and int(said[1]) == start


def _total(response: requests.Response, start: int) -> int | None:
    """How long the whole file is, as the answer says."""
    said = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status_code == 206 and said is not None and said[3] != "*":
        return int(said[3])
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isascii() and length.isdigit() and len(length) < 16 else None


def _refuse_page(response: requests.Response, file: File) -> None:
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/json"):
        raise CivitaiError(f"{printable(file.name)}: Civitai sent a page instead of the file. Try again later.")
    if response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise CivitaiError(f"{printable(file.name)}: Civitai sent it compressed, which was not asked for.")


def _refuse_large(file: File, size: int) -> None:
    limit = min(MAX_SIZE, file.size + file.size // 100 + _SLACK) if file.size else MAX_SIZE
    if size > limit:
        raise _TooLarge(f"{printable(file.name)}: it is larger than Civitai says: the download was stopped.")


def _refuse_without_room(folder: Path, size: int) -> None:
    with suppress(OSError):
        if shutil.disk_usage(folder).free < size + _SLACK:
            raise CivitaiError(f"The disk of {folder} has no room for {size_in_words(size)}: make some and try again.")


def _wrong(file: File, part: Path, watch: Watch) -> str | None:
    """What is wrong with a file that arrived, by the best hash that the site gives; None if nothing is."""
    if not _size(part):
        return "it is empty."
    digest, crc = _digests(part, watch)
    short = next((value for name, value in file.hashes.items() if name == "AutoV2" and len(value) == 10), "")
    if file.sha256 or short:
        fits = digest.startswith(file.sha256 or short)
    elif "CRC32" in file.hashes:
        fits = f"{crc:08x}" == file.hashes["CRC32"]
    else:
        return "Civitai gives no hash of it, so it can't be verified."
    return None if fits else "what arrived is not the file that Civitai's hash is of."


def _digests(path: Path, watch: Watch) -> tuple[str, int]:
    """sha256 in hex, and CRC32."""
    hasher, crc = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as stream:
        while piece := stream.read(1 << 20):
            watch.check()
            hasher.update(piece)
            crc = zlib.crc32(piece, crc)
    return hasher.hexdigest(), crc


def _identity(file: File) -> str:
    """The part of the temporary name by which the same download finds its file again."""
    return (file.sha256 or hashlib.sha256(file.download.encode()).hexdigest())[:20]


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    with _changing_active:
        if part in _active:
            raise CivitaiError("This file is being downloaded already.")
        _active.add(part)
    try:
        yield
    finally:
        with _changing_active:
            _active.discard(part)


def _validator(part: Path) -> str:
    """The server's ETag or date of the file that we have the beginning of; empty if unknown."""
    try:
        stored = json.loads(_beside(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return stored if isinstance(stored, str) and stored.isascii() and stored.isprintable() else ""


def _remember_validator(part: Path, response: requests.Response) -> None:
    """Keeps the ETag, or the date if the ETag is weak: a weak one doesn't identify bytes."""
    tag = response.headers.get("ETag", "")
    validator = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
    atomic.write_bytes(_beside(part), json.dumps(validator).encode())


def _beside(part: Path) -> Path:
    return part.with_suffix(".state")


def _forget(part: Path) -> None:
    for file in (part, _beside(part)):
        file.unlink(missing_ok=True)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _tidy(folder: Path) -> None:
    with suppress(OSError):
        for file in folder.glob(".hypernet-*.part"):
            if time.time() - file.stat().st_mtime > _ABANDONED:
                _forget(file)
