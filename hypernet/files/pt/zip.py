"""`.pt` files since PyTorch 1.6: a zip archive of stored (not compressed) records.

    NAME/data.pkl    the pickled object
    NAME/data/0 ...  one storage each, named by its key
    NAME/version, NAME/byteorder, NAME/.data/serialization_id, ...  not needed

Read here rather than with `zipfile`, which would take whatever the directory of a hostile archive claims. Every byte is
accounted for: records follow each other from the file's begin to the directory, and the directory ends the file. So
nothing is hidden, and every reader finds the same. Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
and PyTorch's caffe2/serialize/inline_container.cc.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypernet.files import lookalikes
from hypernet.files.errors import AGAIN, HALF_LOADED, HIDDEN, MALICIOUS, OTHER_MODEL, TOO_MUCH, FormatError, shown
from hypernet.files.limits import MAX_DIRECTORY, MAX_PICKLE, MAX_RECORDS
from hypernet.files.pt.contents import contents
from hypernet.files.pt.machine import Unpickled, unpickle
from hypernet.files.pt.names import PickledStorage
from hypernet.files.source import Source
from hypernet.files.weights import ITEMSIZE, Contents

_END = struct.Struct("<4s4H2LH")
_END_64_PLACE = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_BEHIND = struct.Struct("<4s3L")
_BEHIND_64 = struct.Struct("<4sL2Q")

_LENGTHS_BEHIND = 0x0008
_FLAGS = 0x0800 | _LENGTHS_BEHIND  # names in UTF-8, lengths behind the data: what PyTorch sets. All else is refused
_IN_ZIP64 = 0xFFFFFFFF
_LINK = 0xA  # of a Unix file mode, its upper four bits

_RECORD = re.compile(rb"((?!\.\.)[^/\\:]+/)(data\.pkl|data/[0-9]+|version|byteorder|\.[a-z_]+|\.data/serialization_id)")
_MAX_FACT = 64  # bytes of a record that says something about the archive


@dataclass(frozen=True)
class _Record:
    """One file of the archive, as its directory lists it. header: where its local header begins; size: in bytes."""

    path: bytes
    folder: bytes
    name: str
    """Its path in the folder."""
    flags: int
    checksum: int
    size: int
    header: int


@dataclass(frozen=True)
class _Part:
    """Where a record's data lies, in bytes."""

    start: int
    size: int


def read(source: Source) -> Contents:
    """What a zip `.pt` holds. Raises FormatError."""
    loaded, starts = read_object(source)
    return contents("pt", loaded, starts, source.size)


def read_object(source: Source) -> tuple[Any, dict[str, int]]:
    """The object in a zip archive of PyTorch, and where each storage that it names begins. Raises FormatError."""
    parts = _parts(source)
    if "data.pkl" not in parts:
        raise FormatError("it is a zip archive, but not one that PyTorch wrote.", "Unpack it and use the file inside.")
    if (order := parts.get("byteorder")) and source.bytes_at(order.start, order.size) != b"little":
        raise FormatError(
            "its numbers have the byte order of another kind of computer.", "Save it again on a usual one."
        )
    unpickled = _unpickle(source, parts["data.pkl"])
    return unpickled.value, _starts(parts, unpickled.storages)


def _unpickle(source: Source, part: _Part) -> Unpickled:
    try:
        unpickled = unpickle(source, part.start, part.start + part.size)
    except FormatError as error:
        raise lookalikes.instead_of(error, source.bytes_at(part.start, min(part.size, MAX_PICKLE))) from None
    if unpickled.end != part.start + part.size:
        raise FormatError(HIDDEN, MALICIOUS)
    return unpickled


def _starts(parts: Mapping[str, _Part], storages: Mapping[str, PickledStorage]) -> dict[str, int]:
    """Key of a storage -> where its elements begin. Each record of data is some tensor's."""
    starts = {}
    for key, storage in storages.items():
        part = parts.get(f"data/{key}")
        if part is None or part.size != storage.elements * ITEMSIZE[storage.dtype]:
            raise FormatError("the data of a tensor is missing or has the wrong length.")
        starts[key] = part.start
    if len(starts) < sum(name.startswith("data/") for name in parts):
        raise FormatError("it holds data that belongs to no tensor.", MALICIOUS)
    return starts


def _parts(source: Source) -> dict[str, _Part]:
    """The archive's records by their name in its one folder: stored, not encrypted, once, under names PyTorch uses."""
    count, position, length = _directory(source)
    if count > MAX_RECORDS or length > MAX_DIRECTORY:
        raise FormatError(TOO_MUCH, OTHER_MODEL)
    records = _entries(source.bytes_at(position, length), count)
    parts: dict[str, _Part] = {}
    ends = [*(record.header for record in records[1:]), position]
    if records and records[0].header:
        raise FormatError("it hides something before its begin.", MALICIOUS)
    for record, end in zip(records, ends, strict=True):
        if record.name in parts:
            raise FormatError(f"it holds {shown(record.name)} twice.", MALICIOUS)
        parts[record.name] = _part(source, record, end)
        if not record.name.startswith("data") and record.size > _MAX_FACT:
            raise FormatError(TOO_MUCH, OTHER_MODEL)
    if len({record.folder for record in records}) > 1:
        raise FormatError("it holds two archives in one.", MALICIOUS)
    return parts


def _directory(source: Source) -> tuple[int, int, int]:
    """Number of entries, position and length of the directory, from the record at the archive's end."""
    end = source.size - _END.size
    if end < 0 or source.bytes_at(end, 4) != b"PK\5\6":
        tail = min(source.size, _END.size + 0xFFFF)
        if b"PK\5\6" in source.bytes_at(source.size - tail, tail):
            raise FormatError(HIDDEN, MALICIOUS)
        raise FormatError("its end is missing: the download was cut short.", HALF_LOADED)
    _, disk, first_disk, here, count, length, position, comment = _END.unpack(source.bytes_at(end, _END.size))
    if disk or first_disk or comment or here != count:
        raise _disagreement()
    place = end - _END_64_PLACE.size
    if place >= 0 and source.bytes_at(place, 4) == b"PK\6\7":
        end = place - _END_64.size
        wide = _directory_64(source, place, end)
        if any(
            small not in (large, top) for small, large, top in zip((count, length, position), wide, _TOPS, strict=True)
        ):
            raise _disagreement(MALICIOUS)
        count, position, length = wide[0], wide[2], wide[1]
    if position + length != end:
        raise _disagreement(MALICIOUS)
    return count, position, length


_TOPS = (0xFFFF, _IN_ZIP64, _IN_ZIP64)
"""What the fields of the short record at the end hold where only the long one counts."""


def _directory_64(source: Source, place: int, end: int) -> tuple[int, int, int]:
    """Number of entries, length and position, from the long record at `end`, whose place the record at `place` says."""
    _, disk, position, disks = _END_64_PLACE.unpack(source.bytes_at(place, _END_64_PLACE.size))
    if disk or disks != 1 or position != end or end < 0:
        raise _disagreement(MALICIOUS)
    signature, size, _, _, *numbers = _END_64.unpack(source.bytes_at(end, _END_64.size))
    if signature != b"PK\6\6" or size != _END_64.size - 12 or numbers[0] or numbers[1] or numbers[2] != numbers[3]:
        raise _disagreement(MALICIOUS)
    return numbers[3], numbers[4], numbers[5]


def _disagreement(advice: str = AGAIN) -> FormatError:
    return FormatError("its directory and its data do not fit together.", advice)


def _entries(data: bytes, count: int) -> list[_Record]:
    """The records that the directory lists, in the order they lie in the file."""
    records, at = [], 0
    for _ in range(count):
        record, at = _entry(data, at)
        records.append(record)
    if at != len(data):
        raise _disagreement()
    return sorted(records, key=lambda record: record.header)


def _entry(data: bytes, at: int) -> tuple[_Record, int]:
    """The record that the directory lists at `at`, and where the next one begins."""
    if at + _ENTRY.size > len(data):
        raise _disagreement()
    signature, _, _, flags, method, _, _, checksum, packed, size, name, extra, comment, disk, _, mode, header = (
        _ENTRY.unpack_from(data, at)
    )
    if signature != b"PK\1\2" or disk:
        raise _disagreement()
    at += _ENTRY.size
    path = data[at : at + name]
    match = _RECORD.fullmatch(path)
    if match is None:
        called = shown(path.decode("utf-8", "replace"))
        raise FormatError(f"it is a zip archive with {called} in it, not a file PyTorch wrote.", "Unpack it first.")
    at += name
    if comment or not _is_padding(data[at : at + extra]):
        raise FormatError("it was packed by another program than PyTorch.", "Save it again with PyTorch.")
    _refuse_unusual(flags, method)
    if packed != size:
        raise _disagreement()
    if (mode >> 28) == _LINK:
        raise FormatError("it holds a link to another file.", MALICIOUS)
    if _IN_ZIP64 in (size, header):
        raise FormatError("it is larger than 4 GB.", "A hypernetwork is never that large. Is it a checkpoint?")
    return _Record(path, match[1], match[2].decode("ascii"), flags, checksum, size, header), at + extra


def _refuse_unusual(flags: int, method: int) -> None:
    if flags & ~_FLAGS:
        raise FormatError("it is an encrypted or unusual archive.", "Unpack it and use the file inside.")
    if method:
        raise FormatError(
            "it is a compressed archive, which PyTorch never writes.", "Unpack it and use the file inside."
        )


def _part(source: Source, record: _Record, end: int) -> _Part:
    """Where the record's data lies. It ends at `end`, and what stands around the data agrees with the directory."""
    header = source.bytes_at(record.header, _LOCAL.size)
    signature, _, flags, method, _, _, checksum, packed, size, name, extra = _LOCAL.unpack(header)
    start = record.header + _LOCAL.size + name + extra
    if start + record.size > end:
        raise FormatError("its records overlap.", MALICIOUS)
    around = source.bytes_at(record.header + _LOCAL.size, name + extra)
    behind = source.bytes_at(start + record.size, min(end - start - record.size, _BEHIND_64.size + 1))
    same = signature == b"PK\3\4" and flags == record.flags and not method and around[:name] == record.path
    known = ((record.checksum, record.size, record.size), (0, 0, 0))[: 2 if flags & _LENGTHS_BEHIND else 1]
    if not same or (checksum, packed, size) not in known:
        raise _disagreement()
    if not _is_padding(around[name:]) or behind not in _allowed_behind(record):
        raise FormatError("it hides something between its records.", MALICIOUS)
    return _Part(start, record.size)


def _is_padding(extra: bytes) -> bool:
    """Whether an extra field only moves the data to an even place, as PyTorch (with Z) and we (with zeros) do."""
    content = extra[4:]
    one_letter = not content.strip(b"Z") or not content.strip(b"\0")
    return not extra or (extra[:4] == b"FB" + struct.pack("<H", len(content)) and one_letter)


def _allowed_behind(record: _Record) -> Sequence[bytes]:
    """What may stand behind a record's data: its checksum and lengths once more, where its flags say so."""
    if not record.flags & _LENGTHS_BEHIND:
        return (b"",)
    numbers = (b"PK\7\x08", record.checksum, record.size, record.size)
    return (_BEHIND.pack(*numbers), _BEHIND_64.pack(*numbers))
