"""`.pt` files of PyTorch 0.2 to 1.5 (and later with `_use_new_zipfile_serialization=False`): pickles, then numbers.

magic number, protocol version, system facts, the object, the storages' keys: five pickles
per key: the number of elements (8 bytes, little-endian), then the elements
"""

from __future__ import annotations

from collections.abc import Mapping

from hypernet.files import lookalikes
from hypernet.files.errors import HIDDEN, MALICIOUS, FormatError
from hypernet.files.limits import MAX_PICKLE
from hypernet.files.pt.contents import contents
from hypernet.files.pt.machine import unpickle
from hypernet.files.pt.names import PickledStorage
from hypernet.files.source import Source
from hypernet.files.weights import ITEMSIZE, Contents

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


def read(source: Source) -> Contents:
    """What an old, non-zip `.pt` holds. Raises FormatError."""
    magic, position, _ = unpickle(source, 0, source.size)
    if magic != _MAGIC:
        raise _instead_of(FormatError("it is a pickle, but not one that PyTorch wrote."), source)
    protocol, position, _ = unpickle(source, position, source.size)
    system, position, _ = unpickle(source, position, source.size)
    if protocol != _PROTOCOL or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise FormatError("it was written by an unusual PyTorch or kind of computer.", "Save it again on a usual one.")
    try:
        loaded, position, storages = unpickle(source, position, source.size)
        keys, position, _ = unpickle(source, position, source.size)
    except FormatError as error:
        raise _instead_of(error, source) from None
    return contents("pt (legacy)", loaded, _starts(source, position, keys, storages), source.size)


def _instead_of(error: FormatError, source: Source) -> FormatError:
    return lookalikes.instead_of(error, source.bytes_at(0, min(source.size, MAX_PICKLE)))


def _starts(source: Source, position: int, keys: object, storages: Mapping[str, PickledStorage]) -> dict[str, int]:
    """Key of a storage -> where its elements begin. They fill the file from `position` to its end."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise FormatError("the list of its data is damaged.")
    starts: dict[str, int] = {}
    for key in keys:
        if key not in storages or key in starts:
            raise FormatError("it holds data that belongs to no tensor.")
        storage = storages[key]
        if int.from_bytes(source.bytes_at(position, 8), "little") != storage.elements:
            raise FormatError("the data of a tensor has the wrong length.")
        starts[key] = position + 8
        position += 8 + storage.elements * ITEMSIZE[storage.dtype]
    if len(starts) < len(storages):
        raise FormatError("the data of a tensor is missing.")
    if position < source.size:
        raise FormatError(HIDDEN, MALICIOUS)
    return starts
