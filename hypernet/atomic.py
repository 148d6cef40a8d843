"""Writing a file so that a crash, an interrupt or a full disk leaves the old one whole."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_ABANDONED = 24 * 3600.0
"""Seconds after which a temporary file is nobody's: its writer was killed."""


@contextmanager
def writing(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary stream to a hidden temporary file beside `path`, which takes the place of `path` when all went well.

    An existing file keeps its permissions; a link is written through, not replaced. Raises OSError, `path` untouched.
    Nothing but a file is replaced: root could replace /dev/null.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "it is not a file, so that it can't be replaced", str(target))
    temporary = target.with_name(f".hypernet-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o7777)
        _replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)
    _tidy(target.parent)


def _replace(temporary: Path, target: Path) -> None:
    """Windows replaces no file that is write-protected, or that a program holds open, and says but “access denied”."""
    try:
        temporary.replace(target)
    except PermissionError as error:
        if not target.exists():
            raise
        protected = not target.stat().st_mode & stat.S_IWUSR
        reason = "it is write-protected" if protected else "another program may have it open"
        temporary.chmod(stat.S_IREAD | stat.S_IWRITE)  # a write-protected one can't be removed there either
        raise PermissionError(error.errno, f"{reason}, so that it can't be replaced", str(target)) from error


def write_bytes(path: str | Path, content: bytes) -> None:
    """`Path.write_bytes`, whole or not at all."""
    with writing(path) as stream:
        stream.write(content)


def move_new(source: Path, target: Path) -> None:
    """Gives a finished file its name, in the same folder. Raises FileExistsError if another has it; OSError."""
    with target.open("xb"):  # reserves the name: a plain rename would replace what came in between
        pass
    try:
        source.replace(target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _tidy(folder: Path) -> None:
    with suppress(OSError):
        for file in folder.glob(".hypernet-*.tmp"):
            if time.time() - file.stat().st_mtime > _ABANDONED:
                file.unlink()


def _sync_folder(folder: Path) -> None:
    """Makes the new name itself survive a power cut, where the system lets a folder be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
