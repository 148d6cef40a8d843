"""A file while it is read: nothing is taken beyond its end, and nothing is allocated that it can't fill."""

from __future__ import annotations

import io
import mmap
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from typing import Any

from hypernet.files.errors import AGAIN, OTHER_MODEL, FormatError
from hypernet.files.limits import MAX_FILE
from hypernet.text import size_in_words

CHANGED = FormatError(
    "it changed or was cut short while it was read.", "Wait until whatever writes it is done; then retry."
)
"""Raised where the file ends before the length it had when it was opened."""

_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_HUGE_PAGES_FROM = 8 << 20  # bytes
_ROOM_TO_ALIGN = 1 << 20  # bytes


class Source:
    """An open regular file. Positions and lengths are in bytes."""

    def __init__(self, file: FileIO | io.BytesIO, size: int) -> None:
        """Raises FormatError for a size that no hypernetwork has."""
        if size > MAX_FILE:
            raise FormatError(f"it has {size_in_words(size)}, far more than a hypernetwork.", OTHER_MODEL)
        self._file, self.size = file, size

    @classmethod
    def of(cls, data: bytes) -> Source:
        """A file that is in memory."""
        return cls(io.BytesIO(data), len(data))

    def bytes_at(self, position: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises FormatError where the file ends before."""
        self._require(position, length)
        buffer = bytearray(length)
        self.read_into(position, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, position: int, buffer: memoryview) -> None:
        """Fills the buffer from the file. Raises FormatError where the file ends before."""
        self._require(position, len(buffer))
        self._file.seek(position)
        done = 0
        while done < len(buffer):
            count = self._file.readinto(buffer[done:])
            if not count:
                raise CHANGED
            done += count

    def map(self) -> mmap.mmap:
        """The whole file as memory that is read on first use; writing to it changes a copy, never the file."""
        untracked: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
        return mmap.mmap(self._file.fileno(), self.size, access=mmap.ACCESS_COPY, **untracked)

    def room(self) -> mmap.mmap:
        """Empty memory for all that the file can hold, not taken from the system before it is written to.

        It comes in large pages where the system has them, which makes reading three times as fast.
        """
        length = self.size + _ROOM_TO_ALIGN
        if os.name == "nt":
            return mmap.mmap(-1, length)
        memory = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if self.size > _HUGE_PAGES_FROM and hasattr(mmap, "MADV_HUGEPAGE"):
            with suppress(OSError):
                memory.madvise(mmap.MADV_HUGEPAGE)
        return memory

    def _require(self, position: int, length: int) -> None:
        if position < 0 or length < 0 or position + length > self.size:
            raise FormatError("it ends before its data does: the file was cut short or is damaged.", AGAIN)


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Source]:
    """Opens a regular file. Raises OSError; FormatError for a pipe or a device, which it does not wait on."""
    with FileIO(os.fspath(path), opener=lambda name, _: os.open(name, _OPEN_FLAGS)) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise FormatError("it is not an ordinary file.", "Give the path of a .pt or .safetensors file.")
        yield Source(file, found.st_size)
