"""The `.pt` we write: what A1111 1.10.1 writes itself, in the records that every WebUI's loader accepts.

A1111's loader looks at the names in the archive and at the names in the pickle. It refuses `.format_version` and
`.storage_alignment`, which newer PyTorch adds, and some of its descendants refuse `byteorder`: none of them is written.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

import torch
import torch._utils
from torch import Tensor

from hypernet.files.errors import FormatError
from hypernet.files.limits import MAX_PICKLE
from hypernet.files.metadata import values_to_write
from hypernet.files.pt.machine import unpickle
from hypernet.files.pt.names import STORAGES
from hypernet.files.source import Source
from hypernet.files.weights import raw
from hypernet.network import Network

_FOLDER = "archive"
_ALIGNMENT = 64
"""Of every record's data, so that PyTorch can map the file."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
_TYPES = {dtype: getattr(torch, name) for name, dtype in STORAGES.items()}


@dataclass(frozen=True)
class _Storage:
    """A tensor's numbers, which the pickle only points to."""

    key: str
    tensor: Tensor


class _Pickler(pickle.Pickler):
    """Writes tensors as PyTorch does: a call of `_rebuild_tensor_v2` on a storage that lies in a record of its own."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream, protocol=2)
        self.storages: list[_Storage] = []

    def reducer_override(self, value: object) -> Any:
        if not isinstance(value, Tensor):
            return NotImplemented
        storage = _Storage(str(len(self.storages)), value)
        self.storages.append(storage)
        hooks: OrderedDict[Any, Any] = OrderedDict()
        return torch._utils._rebuild_tensor_v2, (storage, 0, tuple(value.shape), value.stride(), False, hooks)

    def persistent_id(self, value: object) -> Any:
        if not isinstance(value, _Storage):
            return None
        return "storage", _TYPES[value.tensor.dtype], value.key, "cpu", value.tensor.numel()


def write(network: Network, names: Mapping[int, tuple[Mapping[str, Tensor], ...]], stream: IO[bytes]) -> None:
    """Writes a network whose weights have these names: width -> (K, V), each name -> contiguous tensor.

    Raises FormatError for one that could not be read again.
    """
    content: dict[int | str, object] = {}
    for width, pair in names.items():
        content[width] = tuple(OrderedDict(net) for net in pair)
    content.update(values_to_write(network.metadata))
    pickled = io.BytesIO()
    pickler = _Pickler(pickled)
    pickler.dump(content)
    if pickled.tell() > MAX_PICKLE:
        raise FormatError("its metadata is too long to be saved.", "Shorten its texts.")
    unpickle(Source.of(pickled.getvalue()), 0, pickled.tell())
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        _record(archive, "data.pkl", pickled.getbuffer())
        for storage in pickler.storages:
            _record(archive, f"data/{storage.key}", raw(storage.tensor))
        _record(archive, "version", b"3\n")


def _record(archive: zipfile.ZipFile, name: str, data: memoryview | bytearray | bytes) -> None:
    """Adds a record whose data begins at a multiple of `_ALIGNMENT`: an extra field of zeros moves it there."""
    entry = zipfile.ZipInfo(f"{_FOLDER}/{name}", _EPOCH)
    assert archive.fp is not None
    begin = archive.fp.tell() + 30 + len(entry.filename) + 4
    padding = -begin % _ALIGNMENT
    entry.extra = b"FB" + padding.to_bytes(2, "little") + bytes(padding)
    archive.writestr(entry, data)
