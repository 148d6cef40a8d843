"""Where weights lie in a file, and how they come into memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from hypernet.files.errors import MALICIOUS, Refused
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

SMALL = 1 << 20
"""Bytes up to which every weight of a mapped file is looked at: in a larger one that takes longer than mapping it."""

ALIGNMENT = 64
"""Of a storage in memory, in bytes."""

INFINITY: Mapping[torch.dtype, tuple[torch.dtype, int]] = {
    torch.float32: (torch.int32, 0x7F80_0000),
    torch.float16: (torch.int16, 0x7C00),
    torch.bfloat16: (torch.int16, 0x7F80),
    torch.float64: (torch.int64, 0x7FF0_0000_0000_0000),
}
"""The types weights may have; whole numbers of the same length, and infinity's bits read as one."""


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


Names = Mapping[str, StoredTensor]
Place = Callable[[StoredTensor], Tensor]
"""Brings a tensor into memory, one way or another."""


@dataclass(frozen=True)
class Contents:
    """What a file holds, before any weight is read. nets: width -> (K, V), each a name -> tensor."""

    container: str
    nets: Mapping[int, tuple[Names, Names]]
    metadata: Metadata


def copied(source: Source) -> Place:
    """Tensors are read into memory, each storage once. They raise Refused where the file ends before they do."""
    memory = torch.frombuffer(source.room(), dtype=torch.uint8)
    storages: dict[tuple[int, int], Tensor] = {}
    used = 0

    def place(tensor: StoredTensor) -> Tensor:
        nonlocal used
        where = (tensor.start, tensor.nbytes)
        if where not in storages:
            storages[where] = memory[used : used + tensor.nbytes]
            used += tensor.nbytes + -tensor.nbytes % ALIGNMENT
            if used > len(memory):
                raise Refused("its tensors use the same data many times.", MALICIOUS)
            source.read_into(tensor.start, storages[where].numpy().data)
        storage = storages[where].view(tensor.dtype)
        return storage.as_strided(tensor.shape, tensor.strides, storage.storage_offset() + tensor.offset).contiguous()

    return place


def mapped(source: Source) -> Place:
    """Tensors are views of the mapped file: read when used. What lies unaligned is read at once.

    Raises OSError on file systems that can't map.
    """
    memory = source.map()
    whole: dict[torch.dtype, Tensor] = {}
    copies = cache(lambda: copied(source))

    def place(tensor: StoredTensor) -> Tensor:
        dtype, size = tensor.dtype, ITEMSIZE[tensor.dtype]
        if tensor.start % size:
            return copies()(tensor)
        if dtype not in whole:
            whole[dtype] = torch.frombuffer(memory, dtype=dtype, count=source.size // size)
        view = whole[dtype].as_strided(tensor.shape, tensor.strides, tensor.start // size + tensor.offset)
        return view.contiguous()

    return place


def outline(tensor: StoredTensor) -> Tensor:
    """The tensor's shape and type without its values (on torch's meta device)."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")


def sample(network: Network) -> Tensor:
    """The smallest tensor of the first net. A training that fails leaves NaN in every one."""
    return min(next(network.nets()).tensors(), key=Tensor.numel)


def checked(place: Place) -> Place:
    """The same, but each tensor is looked at right after it was read, while it is still in the processor's cache."""

    def place_checked(tensor: StoredTensor) -> Tensor:
        placed = place(tensor)
        refuse_unless_finite(placed)
        return placed

    return place_checked


def refuse_unless_finite(tensor: Tensor) -> None:
    """Raises Refused when a weight is NaN or infinite: such a network turns every picture black.

    Read as whole numbers, such floats are the largest of all: a positive one as a signed, a negative one as an unsigned
    number. A maximum needs no temporary memory, unlike `torch.isfinite`, and no second processor.
    """
    if not tensor.numel():
        return
    signed, infinity = INFINITY[tensor.dtype]
    bits = tensor.view(signed).numpy()
    sign = 1 << (8 * bits.itemsize - 1)
    if int(bits.max()) >= infinity or int(bits.view(f"u{bits.itemsize}").max()) >= sign + infinity:
        raise Refused(
            "some of its weights are not numbers (NaN or infinite): its training failed, or the file is damaged.",
            "Use an earlier save of the same training, or another copy of the file.",
        )


def raw(tensor: Tensor) -> memoryview:
    """A contiguous tensor's memory as bytes. Of a side of length one the stride may be anything."""
    return tensor.as_strided((tensor.numel(),), (1,)).view(torch.uint8).numpy().data
