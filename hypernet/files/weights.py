"""Where weights lie in a file, and how they come into memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hypernet.files.refused import Refused
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

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""The types weights may have. Anything else in a net is refused."""


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
    storages: dict[tuple[int, int], Tensor] = {}

    def place(tensor: StoredTensor) -> Tensor:
        where = (tensor.start, tensor.nbytes)
        if where not in storages:
            storages[where] = torch.empty(tensor.nbytes, dtype=torch.uint8)
            source.read_into(tensor.start, storages[where].numpy().data)
        return storages[where].view(tensor.dtype).as_strided(tensor.shape, tensor.strides, tensor.offset).contiguous()

    return place


def mapped(source: Source) -> Place:
    """Tensors are views of the mapped file: read when used. What lies unaligned is read at once."""
    memory = source.map()
    whole: dict[torch.dtype, Tensor] = {}
    read = copied(source)

    def place(tensor: StoredTensor) -> Tensor:
        dtype, size = tensor.dtype, ITEMSIZE[tensor.dtype]
        if tensor.start % size:
            return read(tensor)
        if dtype not in whole:
            whole[dtype] = torch.frombuffer(memory, dtype=dtype, count=source.size // size)
        return whole[dtype].as_strided(tensor.shape, tensor.strides, tensor.start // size + tensor.offset)

    return place


def outline(tensor: StoredTensor) -> Tensor:
    """The tensor's shape and type without its values (on torch's meta device)."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")


def every(network: Network) -> Iterable[Tensor]:
    """All weights."""
    return (tensor for net in network.nets() for tensor in net.tensors())


def samples(network: Network) -> Iterable[Tensor]:
    """The smallest tensor of each net. A training that fails leaves NaN in all of them."""
    return (min(net.tensors(), key=Tensor.numel) for net in network.nets())


def refuse_unless_finite(tensors: Iterable[Tensor]) -> None:
    """Raises Refused when a weight is NaN or infinite: such a network turns every picture black."""
    for tensor in tensors:
        # One pass without a temporary. A sum may overflow where no value does, so that only the slow way says no.
        total = tensor.sum(dtype=torch.float32) if ITEMSIZE[tensor.dtype] < 4 else tensor.sum()
        if not math.isfinite(total) and not bool(torch.isfinite(tensor).all()):
            raise Refused(
                "Some of its weights are not numbers (NaN or infinite): its training failed, or the file is damaged.",
                "Use an earlier save of the same training, or another copy of the file.",
            )
