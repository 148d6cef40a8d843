"""The things PyTorch puts into a pickle besides plain Python, as plain records of ours.

A pickled tensor is a call of `torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...)`; its storage is a
persistent id `("storage", type, key, location, elements)`. Devices without storages (Apple's in 2022, DirectML, XLA,
ONNX Runtime) pickle a numpy array instead. See torch/_tensor.py, torch/_utils.py and torch/serialization.py.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from inspect import Signature, signature
from typing import Any

import torch

from hypernet.files.errors import OTHER_MODEL, TRUNCATED, FormatError, damaged, shown
from hypernet.files.limits import MAX_TEXT
from hypernet.files.weights import ITEMSIZE, LongText, Packed, contiguous

_MAX_BYTES = 64  # that stand for one number


@dataclass(frozen=True)
class Call:
    """A function that a pickle may call, and what we do in its place."""

    build: Callable[..., Any]

    def __call__(self, arguments: tuple[Any, ...]) -> Any:
        """Raises FormatError for arguments that the function doesn't take."""
        try:
            self._signature.bind(*arguments)
        except TypeError:
            raise _unusual_tensor() from None
        return self.build(*arguments)

    @cached_property
    def _signature(self) -> Signature:
        return signature(self.build)


@dataclass(frozen=True)
class StorageType:
    """`torch.FloatStorage` and its kin: a name for an element type."""

    dtype: torch.dtype


@dataclass(frozen=True)
class ElementType:
    """`torch.float32` and its kin."""

    dtype: torch.dtype


@dataclass(frozen=True)
class Class:
    """A class that is only named: `numpy.ndarray`, `torch.nn.parameter.Parameter`."""

    name: str


@dataclass(frozen=True, slots=True)
class PickledStorage:
    """A run of numbers that lies elsewhere in the file under `key`."""

    dtype: torch.dtype
    key: str
    elements: int


@dataclass(frozen=True, slots=True)
class PickledTensor:
    """A view of a storage, known to lie within it. offset, strides: in elements."""

    storage: PickledStorage | PickledArray
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    cast: torch.dtype | None = None
    """The type it has once it is read, where its storage has another."""


@dataclass(frozen=True)
class PickledBytes:
    """Bytes in a pickle, which stay as they were written until they are needed."""

    packed: Packed

    @property
    def is_long(self) -> bool:
        """Whether only the numbers of an array are so many."""
        return isinstance(self.packed, LongText) or len(self.packed) > _MAX_BYTES


@dataclass(frozen=True)
class NumpyType:
    """A numpy number's type: a little-endian struct code."""

    code: str

    def set_state(self, state: object) -> None:
        """numpy sends (version, byte order, ...) after the type."""
        if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", "|", "="):
            raise FormatError("it holds a number in a form that no hypernetwork uses.")

    @property
    def size(self) -> int:
        """Bytes of one number."""
        return struct.calcsize(self.code)


@dataclass(eq=False)
class PickledArray:
    """A numpy array: empty when it is made, then filled once. Its numbers are the storage of a tensor."""

    dtype: torch.dtype = torch.float32
    shape: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    packed: Packed = field(default=b"")
    filled: bool = False

    def set_state(self, state: object) -> None:
        """numpy sends (version, shape, type, whether the first axis runs fastest, the numbers)."""
        match state:
            case (int(), tuple(shape), NumpyType(code), bool(fortran), PickledBytes(packed)) if not self.filled:
                self.shape, self.packed, self.filled = _whole_numbers(shape), packed, True
            case _:
                raise FormatError("it holds an array in a form that no hypernetwork uses.")
        if code not in _ARRAY_TYPES:
            raise FormatError("the weights of an array are not floating-point numbers.")
        self.dtype = _ARRAY_TYPES[code]
        self.strides = contiguous(self.shape[::-1])[::-1] if fortran else contiguous(self.shape)
        length = packed.length if isinstance(packed, LongText) else len(packed)
        fits = self.nbytes == length
        if isinstance(packed, LongText) and packed.encoded:
            fits = self.nbytes <= length <= 2 * self.nbytes
        if not fits:
            raise FormatError("the data of an array has the wrong length.")

    @property
    def nbytes(self) -> int:
        """Of all its numbers."""
        return math.prod(self.shape) * ITEMSIZE[self.dtype]


_ARRAY_TYPES: Mapping[str, torch.dtype] = {"<e": torch.float16, "<f": torch.float32, "<d": torch.float64}


def persistent_storage(identity: object) -> PickledStorage:
    """The storage a persistent id names. Raises FormatError for any other form of id."""
    match identity:
        case ("storage", StorageType(dtype), str(key), str(), int(elements), *view) if not any(view):
            if 0 <= elements < 1 << 48 and len(view) <= 1:
                return PickledStorage(dtype, key, elements)
    raise FormatError("it refers to data outside of itself in a way that no hypernetwork does.")


def _unusual_tensor() -> FormatError:
    return FormatError("it holds a tensor in a form that no hypernetwork uses.")


def _tensor(
    storage: Any, offset: Any, size: Any, stride: Any, grad: Any = False, hooks: Any = None, facts: Any = None
) -> PickledTensor:
    """facts: of a view that is negated or conjugated, which would give other numbers than those that are stored."""
    shape, strides = _whole_numbers(size), _whole_numbers(stride)
    (offset,) = _whole_numbers((offset,))
    if not isinstance(storage, PickledStorage) or len(shape) != len(strides):
        raise _unusual_tensor()
    if type(grad) is not bool or hooks not in (None, {}) or facts not in (None, {}):
        raise _unusual_tensor()
    last = sum((length - 1) * step for length, step in zip(shape, strides, strict=True))
    if (math.prod(shape) and offset + last >= storage.elements) or math.prod(shape) > storage.elements:
        raise FormatError(TRUNCATED)
    _refuse_overlap(shape, strides)
    return PickledTensor(storage, offset, shape, strides)


def _refuse_overlap(shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    """A few numbers repeated as a large tensor would need far more memory than the file has bytes."""
    reach = 1
    for step, length in sorted(zip(strides, shape, strict=True)):
        if length > 1:
            if step < reach:
                raise FormatError("a tensor uses the same numbers several times.")
            reach = step * (length - 1) + reach


def _whole_numbers(numbers: Any) -> tuple[int, ...]:
    # The length is looked at first: a file may ask for the same long list to be read a thousand times.
    if type(numbers) not in (tuple, list) or len(numbers) > 8:
        raise _unusual_tensor()
    if not all(type(n) is int and 0 <= n < 1 << 48 for n in numbers):
        raise FormatError("a tensor's sizes are not whole numbers from 0 up.")
    return tuple(numbers)


def _parameter(data: Any, grad: Any = False, hooks: Any = None, state: Any = None) -> PickledTensor:
    if not isinstance(data, PickledTensor):
        raise _unusual_tensor()
    return data


def _of_type(function: Any, kind: Any, arguments: Any, state: Any) -> PickledTensor:
    """A tensor with attributes of its own: how it is built, its class, what it is built of."""
    if not isinstance(function, Call) or not isinstance(kind, Class) or type(arguments) is not tuple:
        raise _unusual_tensor()
    return _parameter(function(arguments))


def _of_device(data: Any, dtype: Any, device: Any, grad: Any = False) -> PickledTensor:
    """A tensor of a device without storages: from a numpy array, or from a copy in the computer's own memory.

    numpy has no bfloat16, so that such a tensor comes as float32.
    """
    if not isinstance(dtype, ElementType) or not isinstance(device, str):
        raise _unusual_tensor()
    if isinstance(data, PickledArray) and data.filled:
        data = PickledTensor(data, 0, data.shape, data.strides)
    if not isinstance(data, PickledTensor):
        raise _unusual_tensor()
    return data if data.storage.dtype == dtype.dtype else replace(data, cast=dtype.dtype)


def _array(kind: Any, shape: Any, code: Any) -> PickledArray:
    """How numpy begins: an empty array of bytes."""
    if kind != Class("numpy.ndarray") or shape != (0,) or _short_bytes(code) != b"b":
        raise FormatError("it holds an array in a form that no hypernetwork uses.")
    return PickledArray()


def _ordered_dict() -> dict[Any, Any]:
    """Python 3 makes it empty and then adds the items, which keeps this from copying a long list over and over."""
    return {}


def _size(numbers: Any = ()) -> tuple[int, ...]:
    return _whole_numbers(numbers)


def _encode(text: Any, encoding: Any = "latin1") -> PickledBytes:
    """Bytes, as pickle's protocol 2 carries them."""
    if not isinstance(text, (str, LongText)) or encoding not in ("latin1", "latin-1"):
        raise FormatError("it holds text in a form that no hypernetwork uses.")
    return PickledBytes(text)


def _short_bytes(value: Any) -> bytes:
    """What `_encode` or the pickle itself gave; a text for one of Python 2."""
    packed = value.packed if isinstance(value, PickledBytes) else value
    if not isinstance(packed, (str, bytes)) or len(packed) > _MAX_BYTES:
        raise FormatError("it holds a number in a form that no hypernetwork uses.")
    try:
        return packed.encode("latin-1") if isinstance(packed, str) else packed
    except UnicodeError:
        raise damaged() from None


def _numpy_type(name: Any, align: Any = False, copy: Any = False) -> NumpyType:
    if not isinstance(name, str) or len(name) > MAX_TEXT or name.lstrip("<|=") not in _NUMPY_CODES:
        raise FormatError(f"it holds a number of the type {shown(name)}, which no hypernetwork uses.")
    return NumpyType("<" + _NUMPY_CODES[name.lstrip("<|=")])


_NUMPY_CODES: Mapping[str, str] = {
    "b1": "?",
    "i1": "b",
    "u1": "B",
    "i2": "h",
    "u2": "H",
    "i4": "i",
    "u4": "I",
    "i8": "q",
    "u8": "Q",
    "f2": "e",
    "f4": "f",
    "f8": "d",
}


def _numpy_number(kind: Any, data: Any = b"") -> int | float | bool:
    found = _short_bytes(data)
    if not isinstance(kind, NumpyType) or len(found) != kind.size:
        raise FormatError("it holds a number in a form that no hypernetwork uses.")
    number: int | float | bool = struct.unpack(kind.code, found)[0]
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
"""PyTorch's storage types, by the name they have in a pickle."""

Allowed = Call | StorageType | ElementType | Class

ALLOWED: Mapping[tuple[str, str], Allowed] = {
    ("collections", "OrderedDict"): Call(_ordered_dict),
    ("torch._utils", "_rebuild_tensor"): Call(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): Call(_tensor),
    ("torch._utils", "_rebuild_parameter"): Call(_parameter),
    ("torch._utils", "_rebuild_parameter_with_state"): Call(_parameter),
    ("torch._tensor", "_rebuild_from_type"): Call(_of_type),
    ("torch._tensor", "_rebuild_from_type_v2"): Call(_of_type),
    **{
        ("torch._utils", f"_rebuild_{name}"): Call(_of_device)
        for name in (
            *("device_tensor_from_numpy", "device_tensor_from_cpu_tensor"),
            *("xla_tensor", "ort_tensor", "mlc_tensor", "hpu_tensor"),
        )
    },
    ("torch", "Tensor"): Class("torch.Tensor"),
    ("torch.nn.parameter", "Parameter"): Class("torch.nn.Parameter"),
    ("torch", "Size"): Call(_size),
    ("_codecs", "encode"): Call(_encode),
    ("numpy", "ndarray"): Class("numpy.ndarray"),
    ("numpy", "dtype"): Call(_numpy_type),
    **{
        (f"numpy.{core}.multiarray", name): Call(build)
        for core in ("core", "_core")
        for name, build in (("scalar", _numpy_number), ("_reconstruct", _array))
    },
    **{("torch", name): StorageType(dtype) for name, dtype in STORAGES.items()},
    **{("torch", str(dtype).removeprefix("torch.")): ElementType(dtype) for dtype in STORAGES.values()},
}
"""Every name a pickle may use. The functions behind them are the ones above, never those of that name."""

_NO_WEIGHTS: Mapping[tuple[str, str], str] = {
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): "tensors without numbers (of the device “meta”)",
    ("torch._utils", "_rebuild_sparse_tensor"): "sparse tensors",
    ("torch._utils", "_rebuild_sparse_csr_tensor"): "sparse tensors",
    ("torch._utils", "_rebuild_nested_tensor"): "nested tensors",
    ("torch._utils", "_rebuild_qtensor"): "quantised tensors",
    ("torch._utils", "_rebuild_wrapper_subclass"): "tensors of a class of their own",
    ("torch._utils", "_rebuild_tensor_v3"): "numbers of another kind than floating-point",
    ("torch.storage", "UntypedStorage"): "numbers of another kind than floating-point",
    **{
        ("torch", name): "quantised tensors"
        for name in ("QInt8Storage", "QUInt8Storage", "QInt32Storage", "QUInt4x2Storage", "QUInt2x4Storage")
    },
}


def refuse_tensors(module: str, name: str) -> None:
    """Raises FormatError for a name by which PyTorch pickles tensors of a kind that no hypernetwork is made of."""
    if kind := _NO_WEIGHTS.get((module, name)):
        raise FormatError(f"it holds {kind}, which no hypernetwork is made of.", OTHER_MODEL)
