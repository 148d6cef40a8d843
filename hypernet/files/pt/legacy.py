"""`.pt` files of PyTorch 0.2 to 1.5 (and later with `_use_new_zipfile_serialization=False`): pickles, then numbers.

magic number, protocol version, system facts, the object, the storages' keys: five pickles
per key: the number of elements (8 bytes, little-endian), then the elements
"""

from __future__ import annotations

from typing import Any

from hypernet.files import lookalikes
from hypernet.files.errors import AGAIN, Refused
from hypernet.files.pt import contents
from hypernet.files.pt.machine import MAX_BYTES, unpickle
from hypernet.files.pt.names import PickledStorage, PickledTensor
from hypernet.files.source import Source
from hypernet.files.weights import ITEMSIZE, Contents

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


def read(source: Source) -> Contents:
    """What an old, non-zip `.pt` holds. Raises Refused."""
    head = source.bytes_at(0, min(source.size, MAX_BYTES))
    magic, position = unpickle(head)
    if magic != MAGIC:
        raise lookalikes.instead_of(Refused("it is a pickle, but not one that PyTorch wrote.", AGAIN), head)
    protocol, position = unpickle(head, position)
    system, position = unpickle(head, position)
    if protocol != PROTOCOL or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise Refused("it was written by an unusual PyTorch or kind of computer.", "Save it again on a usual one.")
    try:
        loaded, position = unpickle(head, position)
        keys, position = unpickle(head, position)
    except Refused as refused:
        raise lookalikes.instead_of(refused, head) from None
    places = _places(source, position, keys, _storages(loaded))

    def locate(storage: PickledStorage) -> int:
        if storage.key not in places:
            raise Refused("the data of a tensor is missing.", AGAIN)
        return places[storage.key]

    return contents.contents("pt (legacy)", loaded, locate, source.size)


def _storages(loaded: object) -> dict[str, PickledStorage]:
    """Every storage the object mentions, by key. Walks without recursion and visits nothing twice."""
    found: dict[str, PickledStorage] = {}
    seen: set[int] = set()
    waiting: list[Any] = [loaded]
    while waiting:
        item = waiting.pop()
        if isinstance(item, PickledTensor):
            if found.setdefault(item.storage.key, item.storage) != item.storage:
                raise Refused("two tensors disagree about the data they share.")
        elif isinstance(item, (dict, list, tuple)) and id(item) not in seen:
            seen.add(id(item))
            waiting.extend(item.values() if isinstance(item, dict) else item)
    return found


def _places(source: Source, position: int, keys: object, storages: dict[str, PickledStorage]) -> dict[str, int]:
    """Key of a storage -> where its elements begin."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Refused("the list of its data is damaged.")
    places: dict[str, int] = {}
    for key in keys:
        if key not in storages or key in places:
            raise Refused("it holds data that belongs to no tensor.")
        storage = storages[key]
        if int.from_bytes(source.bytes_at(position, 8), "little") != storage.elements:
            raise Refused("the data of a tensor has the wrong length.")
        places[key] = position + 8
        position += 8 + storage.elements * ITEMSIZE[storage.dtype]
    return places
