"""The things PyTorch puts into a pickle besides plain Python, as plain records of ours.

A pickled tensor is a call of `torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...)`; its storage is a
persistent id `("storage", type, key, location, elements)`. See torch/_utils.py and torch/serialization.py.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from hypernet.files.errors import Refused, shown

BEYOND = "a tensor reaches beyond the data that the file holds for it."


@dataclass(frozen=True)
class Known:
    """A name a pickle may call, and what we do in its place."""

    build: Callable[..., Any]


@dataclass(frozen=True)
class StorageType:
    """`torch.FloatStorage` and its kin: a name for an element type."""

    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class PickledStorage:
    """A run of numbers that lies elsewhere in the file under `key`."""

    dtype: torch.dtype
    key: str
    elements: int


@dataclass(frozen=True, slots=True)
class PickledTensor:
    """A view of a storage, known to lie within it. offset, strides: in elements."""

    storage: PickledStorage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class NumpyType:
    """A numpy number's type: a little-endian struct code."""

    code: str

    def check_state(self, state: object) -> None:
        """numpy sends (version, byte order, ...) after the type."""
        if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", "|", "="):
            raise Refused("it holds a number in a form that no hypernetwork uses.")


def persistent(identity: object) -> PickledStorage:
    """The storage a persistent id names. Raises Refused for any other form of id."""
    match identity:
        case ("storage", StorageType(dtype), str(key), str(), int(elements), *view) if not any(view):
            if 0 <= elements < 1 << 48 and len(view) <= 1:
                return PickledStorage(dtype, key, elements)
    raise Refused("it refers to data outside of itself in a way that no hypernetwork does.")


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *ignored: Any) -> PickledTensor:
    shape, strides = _whole_numbers(size), _whole_numbers(stride)
    (offset,) = _whole_numbers((offset,))
    if not isinstance(storage, PickledStorage) or len(shape) != len(strides) or len(ignored) > 3:
        raise Refused("it holds a tensor in a form that no hypernetwork uses.")
    last = sum((length - 1) * step for length, step in zip(shape, strides, strict=True))
    if (math.prod(shape) and offset + last >= storage.elements) or math.prod(shape) > storage.elements:
        raise Refused(BEYOND)
    _refuse_overlap(shape, strides)
    return PickledTensor(storage, offset, shape, strides)


def _refuse_overlap(shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    """A few numbers repeated as a large tensor would need far more memory than the file has bytes."""
    reach = 1
    for step, length in sorted(zip(strides, shape, strict=True)):
        if length > 1:
            if step < reach:
                raise Refused("a tensor uses the same numbers several times.")
            reach = step * (length - 1) + reach


def _whole_numbers(numbers: Any) -> tuple[int, ...]:
    # The length is looked at first: a file may ask for the same long list to be read a thousand times.
    if type(numbers) not in (tuple, list) or len(numbers) > 8:
        raise Refused("it holds a tensor in a form that no hypernetwork uses.")
    if not all(type(n) is int and 0 <= n < 1 << 48 for n in numbers):
        raise Refused("a tensor's sizes are not whole numbers from 0 up.")
    return tuple(numbers)


def _parameter(data: Any, *ignored: Any) -> PickledTensor:
    if not isinstance(data, PickledTensor):
        raise Refused("it holds a tensor in a form that no hypernetwork uses.")
    return data


def _ordered_dict() -> dict[Any, Any]:
    """Python 3 makes it empty and then adds the items, which keeps this from copying a long list over and over."""
    return {}


def _size(numbers: Any = ()) -> tuple[int, ...]:
    return _whole_numbers(numbers)


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Bytes, as pickle's protocol 2 carries them."""
    if not isinstance(text, str) or len(text) > 64 or encoding not in ("latin1", "latin-1"):
        raise Refused("it holds text in a form that no hypernetwork uses.")
    return text.encode("latin-1")


def _numpy_type(name: Any, *ignored: Any) -> NumpyType:
    codes = {"b1": "?", "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q"}
    codes |= {"f2": "e", "f4": "f", "f8": "d"}
    if not isinstance(name, str) or name.lstrip("<|=") not in codes:
        raise Refused(f"it holds a number of the type {shown(name)}, which no hypernetwork uses.")
    return NumpyType("<" + codes[name.lstrip("<|=")])


def _numpy_number(kind: Any, data: Any = b"") -> int | float | bool:
    if not isinstance(kind, NumpyType) or not isinstance(data, bytes) or len(data) != struct.calcsize(kind.code):
        raise Refused("it holds a number in a form that no hypernetwork uses.")
    number: int | float | bool = struct.unpack(kind.code, data)[0]
    return number


STORAGES: Mapping[str, torch.dtype] = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}

KNOWN: Mapping[tuple[str, str], Known | StorageType] = {
    ("collections", "OrderedDict"): Known(_ordered_dict),
    ("torch._utils", "_rebuild_tensor"): Known(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): Known(_tensor),
    ("torch._utils", "_rebuild_parameter"): Known(_parameter),
    ("torch", "Size"): Known(_size),
    ("_codecs", "encode"): Known(_encode),
    ("numpy", "dtype"): Known(_numpy_type),
    ("numpy.core.multiarray", "scalar"): Known(_numpy_number),
    ("numpy._core.multiarray", "scalar"): Known(_numpy_number),
    **{("torch", name): StorageType(dtype) for name, dtype in STORAGES.items()},
}
"""Every name a pickle may use. The functions behind them are the ones above, never those of that name."""
