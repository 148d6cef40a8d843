"""The object inside a `.pt`: width -> (K, V) state dicts, text -> facts. As A1111, kohya and MonkeyPatch write it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from hypernet.files import lookalikes
from hypernet.files.errors import HALF_LOADED, MALICIOUS, Refused, shown
from hypernet.files.metadata import read_values
from hypernet.files.pt.names import BEYOND, PickledStorage, PickledTensor
from hypernet.files.weights import INFINITY, ITEMSIZE, Contents, Names, StoredTensor

Locate = Callable[[PickledStorage], int]
"""A storage's first byte in the file. Raises Refused when the file doesn't hold it."""

WIDTH = re.compile("[1-9][0-9]{0,5}")


def contents(container: str, loaded: object, locate: Locate, size: int) -> Contents:
    """Sorts a pickle's object into nets and metadata. size: of the file. Raises Refused unless it is a hypernetwork."""
    if isinstance(loaded, PickledTensor):
        raise Refused("it is a single tensor, such as an aesthetic gradient, not a hypernetwork.", "It can't be used.")
    if type(loaded) is not dict:
        raise Refused("it holds no table of networks, so it is not a hypernetwork.", "Check which kind of model it is.")
    nets, values = {}, {}
    for key, value in loaded.items():
        width = _width(key)
        if width is None:
            values[str(key)] = value
        elif width in nets:
            raise Refused(f"it holds the width {width} twice.")
        else:
            nets[width] = _pair(width, value, locate)
    if not nets:
        raise lookalikes.by_names(values) or Refused(
            "it holds no network of any width, so it is not a hypernetwork.", "Check which kind of model it is."
        )
    _check_sizes([tensor for pair in nets.values() for net in pair for tensor in net.values()], size)
    return Contents(container, nets, read_values(values))


def _check_sizes(tensors: list[StoredTensor], size: int) -> None:
    """K and V may share their numbers; a file in which a thousand tensors do would grow a thousandfold when used."""
    if any(tensor.start + tensor.nbytes > size for tensor in tensors):
        raise Refused(BEYOND, HALF_LOADED)
    if sum(math.prod(tensor.shape) * ITEMSIZE[tensor.dtype] for tensor in tensors) > 2 * size:
        raise Refused("its tensors use the same numbers many times.", MALICIOUS)


def _width(key: object) -> int | None:
    """A context width; some tools write it as text. None for the name of a fact."""
    if isinstance(key, str):
        return int(key) if WIDTH.fullmatch(key) else None
    if type(key) is not int or not 0 < key < 1_000_000:
        raise Refused(f"it has a network for the width {shown(key)}, which can't be.")
    return key


def _pair(width: int, value: object, locate: Locate) -> tuple[Names, Names]:
    if not isinstance(value, (tuple, list)):
        raise Refused(f"width {width} holds no pair of networks, so it is not a hypernetwork.")
    if len(value) != 2:
        missing = "one network, for K or for V," if len(value) == 1 else f"{len(value)} networks"
        raise Refused(f"width {width} holds {missing} instead of the two for K and V.")
    k, v = (_names(width, net, locate) for net in value)
    return k, v


def _names(width: int, net: Any, locate: Locate) -> Names:
    if type(net) is not dict:
        raise Refused(f"width {width} lacks the network for K or for V.")
    return {_name(name): stored(name, tensor, locate) for name, tensor in net.items()}


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise Refused(f"a weight has the name {shown(name)}, which is no text.")
    return name


def stored(name: str, tensor: object, locate: Locate) -> StoredTensor:
    """Where a tensor of floating-point numbers lies in the file. name: for messages. Raises Refused for all else."""
    if not isinstance(tensor, PickledTensor):
        raise Refused(f"{shown(name)} is no tensor.")
    dtype = tensor.storage.dtype
    if dtype not in INFINITY:
        raise Refused(f"the weights are of type {str(dtype).removeprefix('torch.')}, not floating-point numbers.")
    start, nbytes = locate(tensor.storage), tensor.storage.elements * ITEMSIZE[dtype]
    return StoredTensor(dtype, tensor.shape, tensor.strides, tensor.offset, start, nbytes)
