"""Where weights lie in a file, and how they come into memory."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hypernet.files.refused import Refused
from hypernet.files.source import Source
from hypernet.network import Metadata

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

SAMPLE = 1 << 16
"""Weights of each tensor that are looked at when a file is mapped: reading all would take longer than mapping."""

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""The types weights may have. Anything else in a net is refused."""


@dataclass(frozen=True)
class StoredTensor:
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


@dataclass(frozen=True)
class Contents:
    """What a file holds, before any weight is read. nets: width -> (K, V), each a name -> tensor."""

    container: str
    nets: Mapping[int, tuple[Names, Names]]
    metadata: Metadata

    def stored(self) -> Iterable[StoredTensor]:
        return (tensor for pair in self.nets.values() for names in pair for tensor in names.values())


def read(source: Source, tensors: Iterable[StoredTensor]) -> dict[StoredTensor, Tensor]:
    """The tensors, copied into memory. Raises Refused where the file ends before a tensor does."""
    storages: dict[tuple[int, int], Tensor] = {}
    found = {}
    for tensor in tensors:
        where = (tensor.start, tensor.nbytes)
        if where not in storages:
            storages[where] = _read_storage(source, *where)
        found[tensor] = _view(storages[where].view(tensor.dtype), tensor)
    return found


def mapped(memory: mmap.mmap, tensors: Iterable[StoredTensor]) -> dict[StoredTensor, Tensor]:
    """The tensors as views of a mapped file: read when used. What lies unaligned is copied."""
    whole = torch.frombuffer(memory, dtype=torch.uint8)
    found = {}
    for tensor in tensors:
        storage = whole[tensor.start : tensor.start + tensor.nbytes]
        if tensor.start % ITEMSIZE[tensor.dtype]:
            storage = storage.clone()
        found[tensor] = _view(storage.view(tensor.dtype), tensor)
    return found


def outlines(tensors: Iterable[StoredTensor]) -> dict[StoredTensor, Tensor]:
    """The tensors' shapes and types without their values (on torch's meta device)."""
    return {tensor: torch.empty(tensor.shape, dtype=tensor.dtype, device="meta") for tensor in tensors}


def samples(tensors: Iterable[Tensor]) -> Iterable[Tensor]:
    """The first `SAMPLE` weights of each. A training that fails leaves NaN in all of them."""
    return (tensor.reshape(-1)[:SAMPLE] for tensor in tensors)


def refuse_unless_finite(tensors: Iterable[Tensor]) -> None:
    """Raises Refused when a weight is NaN or infinite: such a network turns every picture black."""
    for tensor in tensors:
        # One pass without a temporary. A sum may overflow where no value does, so that only the slow way says no.
        total = float(tensor.sum(dtype=torch.float32 if ITEMSIZE[tensor.dtype] < 4 else None))
        if not math.isfinite(total) and not bool(torch.isfinite(tensor).all()):
            raise Refused(
                "Some of its weights are not numbers (NaN or infinite): its training failed, or the file is damaged.",
                "Use an earlier save of the same training, or another copy of the file.",
            )


def _read_storage(source: Source, start: int, nbytes: int) -> Tensor:
    storage = torch.empty(nbytes, dtype=torch.uint8)
    if nbytes:
        source.read_into(start, storage.numpy().data)
    return storage


def _view(storage: Tensor, tensor: StoredTensor) -> Tensor:
    view = storage.as_strided(tensor.shape, tensor.strides, storage.storage_offset() + tensor.offset)
    return view.contiguous()
