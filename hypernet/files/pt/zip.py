"""`.pt` files since PyTorch 1.6: a zip archive of stored (not compressed) records.

    NAME/data.pkl    the pickled object
    NAME/data/0 ...  one storage each, named by its key
    NAME/version, NAME/byteorder, NAME/.data/serialization_id, ...  not needed

Read here rather than with `zipfile`, which would take whatever the directory of a hostile archive claims. Format:
https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT and PyTorch's caffe2/serialize/inline_container.cc.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from hypernet.files import lookalikes
from hypernet.files.errors import AGAIN, HALF_LOADED, MALICIOUS, OTHER_MODEL, Refused, shown
from hypernet.files.pt import contents
from hypernet.files.pt.machine import MAX_BYTES, unpickle
from hypernet.files.pt.names import PickledStorage
from hypernet.files.source import Source
from hypernet.files.weights import ITEMSIZE, Contents

END = struct.Struct("<4s4H2LH")
END_64_PLACE = struct.Struct("<4sLQL")
END_64 = struct.Struct("<4sQ2H2L4Q")
ENTRY = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")

LENGTHS_BEHIND = 0x0008
FLAGS = 0x0800 | LENGTHS_BEHIND
"""Names in UTF-8, and lengths behind the data too: what PyTorch sets. Encryption and all else is refused."""

MAX_ENTRIES = 10_000
MAX_DIRECTORY = 1 << 20
RECORD = re.compile(
    r"(?!\.\.)[^/\\:]+/(data\.pkl|data/[0-9]+|version|byteorder|\.[a-z_]+|\.data/serialization_id)", re.ASCII
)


@dataclass(frozen=True)
class Record:
    """One file of the archive. header: where its local header begins; size: of its data, in bytes."""

    name: bytes
    header: int
    size: int


def read(source: Source) -> Contents:
    """What a zip `.pt` holds. Raises Refused."""
    return contents.contents("pt", *read_object(source), source.size)


def read_object(source: Source) -> tuple[object, contents.Locate]:
    """The object in the archive, its tensors as `PickledTensor`, and where their numbers lie. Raises Refused."""
    records = _records(source)
    pickles = [name for name in records if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise Refused("it is a zip archive, but not one that PyTorch wrote.", "Unpack it and use the file inside.")
    folder = pickles[0].removesuffix("data.pkl")
    if (order := records.get(folder + "byteorder")) and _data(source, order) != b"little":
        raise Refused("its numbers have the byte order of another kind of computer.", "Save it again on a usual one.")

    def locate(storage: PickledStorage) -> int:
        record = records.get(f"{folder}data/{storage.key}")
        if record is None or record.size != storage.elements * ITEMSIZE[storage.dtype]:
            raise Refused("the data of a tensor is missing or has the wrong length.", AGAIN)
        return _start(source, record)

    return _object(_data(source, records[pickles[0]])), locate


def _object(data: bytes) -> object:
    try:
        loaded, end = unpickle(data)
    except Refused as refused:
        raise lookalikes.instead_of(refused, data) from None
    if end != len(data):
        raise Refused("it hides something behind its end.", MALICIOUS)
    return loaded


def _records(source: Source) -> dict[str, Record]:
    """The archive's directory, checked: every record stored, not encrypted, once, under a name PyTorch uses."""
    count, position, length = _directory(source)
    if count > MAX_ENTRIES or length > MAX_DIRECTORY:
        raise Refused("it holds far more than a hypernetwork does.", OTHER_MODEL)
    data, at = source.bytes_at(position, length), 0
    records: dict[str, Record] = {}
    for _ in range(count):
        record, at = _entry(data, at)
        name = record.name.decode("utf-8")
        if not RECORD.fullmatch(name):
            raise Refused(
                f"it is a zip archive with {shown(name)} in it, not a file PyTorch wrote.", "Unpack it first."
            )
        if name in records:
            raise Refused(f"it holds {shown(name)} twice.", MALICIOUS)
        records[name] = record
    if at != length:
        raise Refused("its directory is damaged.", AGAIN)
    _refuse_overlap(records.values(), position)
    return records


def _refuse_overlap(records: Iterable[Record], end: int) -> None:
    """Records that share their bytes are a bomb, or show one program this and another that. end: of the last one."""
    for record in sorted(records, key=lambda record: record.header, reverse=True):
        if record.header + LOCAL.size + len(record.name) + record.size > end:
            raise Refused("its records overlap.", MALICIOUS)
        end = record.header


def _directory(source: Source) -> tuple[int, int, int]:
    """Number of entries, position and length of the directory, from the record at the archive's end."""
    tail_length = min(source.size, END.size + 0xFFFF)
    tail = source.bytes_at(source.size - tail_length, tail_length)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + END.size > len(tail):
        raise Refused("its end is missing: the download was cut short.", HALF_LOADED)
    _, disk, _, _, count, length, position, _ = END.unpack_from(tail, at)
    end = source.size - tail_length + at
    if at >= END_64_PLACE.size:
        signature, _, end_64, _ = END_64_PLACE.unpack_from(tail, at - END_64_PLACE.size)
        if signature == b"PK\6\7":
            fields = END_64.unpack(source.bytes_at(end_64, END_64.size))
            count, length, position, end = fields[7], fields[8], fields[9], end_64
    if disk or position + length != end:
        raise Refused("its directory is damaged.", AGAIN)
    return count, position, length


def _entry(data: bytes, at: int) -> tuple[Record, int]:
    """The record that the directory lists at `at`, and where the next one begins."""
    fields = ENTRY.unpack_from(data, at)
    signature, flags, method, packed, size = fields[0], fields[3], fields[4], fields[8], fields[9]
    name, extra, comment, disk, mode, header = (*fields[10:14], *fields[15:])
    if signature != b"PK\1\2" or disk:
        raise Refused("its directory is damaged.", AGAIN)
    if flags & ~FLAGS:
        raise Refused("it is an encrypted or unusual archive.", "Unpack it and use the file inside.")
    if method or packed != size:
        raise Refused("it is a compressed archive, which PyTorch never writes.", "Unpack it and use the file inside.")
    if (mode >> 28) == 0xA:
        raise Refused("it holds a link to another file.", MALICIOUS)
    at += ENTRY.size
    if 0xFFFFFFFF in (size, header):
        raise Refused("it is larger than 4 GB.", "A hypernetwork is never that large. Is it a checkpoint?")
    return Record(data[at : at + name], header, size), at + name + extra + comment


def _start(source: Source, record: Record) -> int:
    """Where the record's data begins. The header in front of the data must tell the same story as the directory."""
    header = source.bytes_at(record.header, LOCAL.size)
    signature, _, flags, method, _, _, _, packed, size, name, extra = LOCAL.unpack(header)
    start: int = record.header + LOCAL.size + name + extra
    same_name = source.bytes_at(record.header + LOCAL.size, name) == record.name
    same_size = {packed, size} <= {record.size, 0 if flags & LENGTHS_BEHIND else record.size, 0xFFFFFFFF}
    known = signature == b"PK\3\4" and not flags & ~FLAGS and not method
    if not (known and same_name and same_size) or start + record.size > source.size:
        raise Refused("its directory and its data do not fit together.", AGAIN)
    return start


def _data(source: Source, record: Record) -> bytes:
    if record.size > MAX_BYTES:
        raise Refused("it holds far more than a hypernetwork does.", OTHER_MODEL)
    return source.bytes_at(_start(source, record), record.size)
