"""Where weights lie in a file, and how they come into memory. Nothing here needs torch's bridge to numpy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from hypernet.files.errors import MALICIOUS, FormatError, damaged
from hypernet.files.source import Source
from hypernet.network import Metadata, Network

ITEMSIZE: Mapping[torch.dtype, int] = {
    torch.float32: 4,
    torch.float16: 2,
    torch.bfloat16: 2,
    torch.float64: 8,
    torch.int64: 8,
    torch.int32: 4,
    torch.int16: 2,
    torch.int8: 1,
    torch.uint8: 1,
    torch.bool: 1,
    torch.complex64: 8,
    torch.complex128: 16,
}
"""Bytes per element of every type a reader meets (torch 2.0 has no `dtype.itemsize`)."""

INFINITY: Mapping[torch.dtype, tuple[torch.dtype, int]] = {
    torch.float32: (torch.int32, 0x7F80_0000),
    torch.float16: (torch.int16, 0x7C00),
    torch.bfloat16: (torch.int16, 0x7F80),
    torch.float64: (torch.int64, 0x7FF0_0000_0000_0000),
}
"""The types weights may have; whole numbers of the same length, and infinity's bits read as one."""

_ALIGNMENT = 64  # of a storage in memory, in bytes
_CHUNK = 1 << 15  # elements looked at together: they stay in the processor's cache, and torch starts no second thread


@dataclass(frozen=True)
class LongText:
    """A text or bytes in a pickle that were left in the file. start, length: in bytes, from the file's begin."""

    start: int
    length: int
    encoded: bool
    """Whether the bytes were written as a text, each as the letter of its number (latin-1) in UTF-8."""


Packed: TypeAlias = "LongText | str | bytes"
"""Numbers inside a pickle, as its texts and bytes: a text has a letter for each byte (latin-1)."""


class StoredTensor(NamedTuple):
    """A tensor that still lies in the file.

    start, nbytes: its storage, in bytes from the file's begin; offset, strides: its place in that storage, in elements.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    start: int
    nbytes: int
    packed: Packed | None = None
    """The storage, where it stands inside a pickle; `start` then counts for nothing."""
    cast: torch.dtype | None = None
    """The type it has in use, where it was stored in another."""

    @property
    def elements_nbytes(self) -> int:
        """Bytes of its own elements: those of its storage may be more, or shared."""
        return math.prod(self.shape) * ITEMSIZE[self.dtype]


StoredNet: TypeAlias = Mapping[str, StoredTensor]
"""The weights of one net, by name."""

ReadTensor: TypeAlias = Callable[[StoredTensor], Tensor]
"""Brings a tensor into memory, one way or another."""


@dataclass(frozen=True)
class Contents:
    """What a file holds, before any weight is read. nets: width -> (K, V)."""

    container: str
    nets: Mapping[int, tuple[StoredNet, StoredNet]]
    metadata: Metadata

    def tensors(self) -> Iterator[StoredTensor]:
        """All weights."""
        for pair in self.nets.values():
            for net in pair:
                yield from net.values()


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a tensor whose elements lie in order: (out, in) -> (in, 1)."""
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= length
    return tuple(reversed(strides))


def into_memory(source: Source) -> ReadTensor:
    """Tensors are read into memory, each storage once. They raise FormatError where the file ends before they do."""
    room = source.room()
    memory, buffer = torch.frombuffer(room, dtype=torch.uint8), memoryview(room)
    storages: dict[tuple[int, Packed | None, int], Tensor] = {}
    used = 0

    def storage_of(tensor: StoredTensor) -> Tensor:
        nonlocal used
        key = (tensor.start, tensor.packed, tensor.nbytes)
        if key not in storages:
            end = used + tensor.nbytes
            if end > len(buffer):
                raise FormatError("its tensors use the same data many times.", MALICIOUS)
            _fill(buffer[used:end], source, tensor)
            storages[key] = memory[used:end]
            used = end + -end % _ALIGNMENT
        return storages[key]

    def read(tensor: StoredTensor) -> Tensor:
        storage = storage_of(tensor).view(tensor.dtype)
        view = storage.as_strided(tensor.shape, tensor.strides, storage.storage_offset() + tensor.offset).contiguous()
        return view if tensor.cast is None else view.to(tensor.cast)

    return read


def _fill(buffer: memoryview, source: Source, tensor: StoredTensor) -> None:
    packed = tensor.packed
    if packed is None:
        source.read_into(tensor.start, buffer)
        return
    try:
        if isinstance(packed, LongText):
            data = source.bytes_at(packed.start, packed.length)
            data = data.decode("utf-8").encode("latin-1") if packed.encoded else data
        else:
            data = packed.encode("latin-1") if isinstance(packed, str) else packed
    except UnicodeError:
        raise damaged() from None
    if len(data) != len(buffer):
        raise FormatError("the data of a tensor has the wrong length.")
    buffer[:] = data


def mapped(source: Source) -> ReadTensor:
    """Tensors are views of the mapped file: read when used. What lies unaligned or packed is read at once.

    Raises OSError on file systems that can't map.
    """
    memory = source.map()
    whole: dict[torch.dtype, Tensor] = {}
    copies = cache(lambda: into_memory(source))

    def read(tensor: StoredTensor) -> Tensor:
        dtype, size = tensor.dtype, ITEMSIZE[tensor.dtype]
        if tensor.start % size or tensor.packed is not None or tensor.cast is not None:
            return copies()(tensor)
        if dtype not in whole:
            whole[dtype] = torch.frombuffer(memory, dtype=dtype, count=source.size // size)
        view = whole[dtype].as_strided(tensor.shape, tensor.strides, tensor.start // size + tensor.offset)
        return view.contiguous()

    return read


def shape_only(tensor: StoredTensor) -> Tensor:
    """The tensor's shape and type without its values (on torch's meta device)."""
    return torch.empty(tensor.shape, dtype=tensor.cast or tensor.dtype, device="meta")


def smallest(network: Network) -> Tensor:
    """The smallest tensor of the first net. A training that fails leaves NaN in every one."""
    return min(next(network.nets()).tensors(), key=Tensor.numel)


def finite(read: ReadTensor) -> ReadTensor:
    """The same, but each tensor is looked at right after it was read, while it is still in the processor's cache."""

    def read_finite(tensor: StoredTensor) -> Tensor:
        found = read(tensor)
        refuse_unless_finite(found)
        return found

    return read_finite


def refuse_unless_finite(tensor: Tensor) -> None:
    """Raises FormatError when a weight is NaN or infinite: such a network turns every picture black.

    A few thousand are looked at together, which needs no memory to speak of, unlike `torch.isfinite`.
    tensor: contiguous.
    """
    flat = tensor.view(-1)
    for start in range(0, flat.numel(), _CHUNK):
        if not _is_finite(flat[start : start + _CHUNK]):
            raise FormatError(
                "some of its weights are not numbers (NaN or infinite): its training failed, or the file is damaged.",
                "Use an earlier save of the same training, or another copy of the file.",
            )


def _is_finite(chunk: Tensor) -> bool:
    if chunk.dtype in (torch.float32, torch.float64):
        return all(math.isfinite(float(extreme)) for extreme in torch.aminmax(chunk))  # both are NaN where one is
    # Of the short types, older versions of torch compare whole numbers alone. Without their sign, NaN and infinity
    # are the largest of all.
    whole, infinity = INFINITY[chunk.dtype]
    return int((chunk.view(whole) & 0x7FFF).max()) < infinity


def raw(tensor: Tensor) -> bytearray:
    """A copy of a contiguous tensor's memory. Of a side of length one the stride may be anything."""
    data = bytearray(tensor.numel() * tensor.element_size())
    if data:
        torch.frombuffer(data, dtype=tensor.dtype).copy_(tensor.as_strided((tensor.numel(),), (1,)))
    return data
