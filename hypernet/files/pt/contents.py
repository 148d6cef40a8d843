"""The object inside a `.pt`: width -> (K, V) state dicts, text -> facts. As A1111, kohya and MonkeyPatch write it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hypernet.files import lookalikes
from hypernet.files.errors import HALF_LOADED, MALICIOUS, TRUNCATED, WHICH_KIND, FormatError, shown
from hypernet.files.metadata import read_values
from hypernet.files.pt.names import PickledArray, PickledTensor
from hypernet.files.weights import INFINITY, ITEMSIZE, Contents, StoredNet, StoredTensor

_WIDTH = re.compile("[1-9][0-9]{0,5}")

Starts = Mapping[str, int]
"""Key of a storage -> its first byte in the file."""


def contents(container: str, loaded: object, starts: Starts, size: int) -> Contents:
    """Sorts a pickle's object into nets and metadata. size: of the file.

    Raises FormatError unless it is a hypernetwork.
    """
    if isinstance(loaded, PickledTensor):
        raise FormatError(
            "it is a single tensor, such as an aesthetic gradient, not a hypernetwork.", "It can't be used."
        )
    if type(loaded) is not dict:
        raise FormatError("it holds no table of networks, so it is not a hypernetwork.", WHICH_KIND)
    nets, values = {}, {}
    for key, value in loaded.items():
        width = _width(key)
        if width is None:
            values[str(key)] = value
        elif width in nets:
            raise FormatError(f"it holds the width {width} twice.")
        else:
            nets[width] = _pair(width, value, starts)
    if not nets:
        raise lookalikes.by_names([*values, *_inner_names(values)]) or FormatError(
            "it holds no network of any width, so it is not a hypernetwork.", WHICH_KIND
        )
    _check_sizes([tensor for pair in nets.values() for net in pair for tensor in net.values()], size)
    return Contents(container, nets, read_values(values))


def _inner_names(values: Mapping[str, object]) -> list[str]:
    """The names of a checkpoint's or a VAE's weights, which lie one table deeper."""
    inner = values.get("state_dict")
    return [name for name in inner if isinstance(name, str)] if isinstance(inner, dict) else []


def _check_sizes(tensors: list[StoredTensor], size: int) -> None:
    """K and V may share their numbers; a file in which a thousand tensors do would grow a thousandfold when used."""
    if any(tensor.packed is None and tensor.start + tensor.nbytes > size for tensor in tensors):
        raise FormatError(TRUNCATED, HALF_LOADED)
    if sum(tensor.elements_nbytes for tensor in tensors) > 2 * size:
        raise FormatError("its tensors use the same numbers many times.", MALICIOUS)


def _width(key: object) -> int | None:
    """A context width; some tools write it as text. None for the name of a fact."""
    if isinstance(key, str):
        return int(key) if _WIDTH.fullmatch(key) else None
    if type(key) is not int or not 0 < key < 1_000_000:
        raise FormatError(f"it has a network for the width {shown(key)}, which can't be.")
    return key


def _pair(width: int, value: object, starts: Starts) -> tuple[StoredNet, StoredNet]:
    if not isinstance(value, (tuple, list)):
        raise FormatError(f"width {width} holds no pair of networks, so it is not a hypernetwork.")
    if len(value) != 2:
        missing = "one network, for K or for V," if len(value) == 1 else f"{len(value)} networks"
        raise FormatError(f"width {width} holds {missing} instead of the two for K and V.")
    k, v = (_net(width, net, starts) for net in value)
    return k, v


def _net(width: int, net: Any, starts: Starts) -> StoredNet:
    if type(net) is not dict:
        raise FormatError(f"width {width} lacks the network for K or for V.")
    return {_name(name): stored(name, tensor, starts) for name, tensor in net.items()}


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise FormatError(f"a weight has the name {shown(name)}, which is no text.")
    return name


def stored(name: str, tensor: object, starts: Starts) -> StoredTensor:
    """Where the tensor of this name lies in the file. Raises FormatError for what is no tensor of floating-point."""
    if isinstance(tensor, PickledArray) and tensor.filled:
        tensor = PickledTensor(tensor, 0, tensor.shape, tensor.strides)
    if not isinstance(tensor, PickledTensor):
        raise FormatError(f"{shown(name)} is no tensor.")
    storage = tensor.storage
    for dtype in (storage.dtype, tensor.cast or storage.dtype):
        if dtype not in INFINITY:
            raise FormatError(
                f"the weights are of type {str(dtype).removeprefix('torch.')}, not floating-point numbers."
            )
    if isinstance(storage, PickledArray):
        start, nbytes, packed = 0, storage.nbytes, storage.packed
    else:
        start, nbytes, packed = starts[storage.key], storage.elements * ITEMSIZE[storage.dtype], None
    return StoredTensor(storage.dtype, tensor.shape, tensor.strides, tensor.offset, start, nbytes, packed, tensor.cast)
