"""Our `.safetensors`: flat names `WIDTH.k.NAME` and `WIDTH.v.NAME`, and everything a file says about itself as JSON.

The layout is a table in docs/format.md. The container's format: https://github.com/huggingface/safetensors#format.
The header is read here, and strictly: duplicate names, gaps, overlaps and lengths that don't fit are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import IO, Any

import torch
from torch import Tensor

from hypernet import safe_json
from hypernet.files import lookalikes
from hypernet.files.errors import AGAIN, HALF_LOADED, MALICIOUS, OTHER_MODEL, TRUNCATED, WHICH_KIND, FormatError, shown
from hypernet.files.limits import MAX_HEADER, MAX_HEADER_VALUES
from hypernet.files.metadata import TEXTS, read_values, values_to_write
from hypernet.files.source import Source
from hypernet.files.weights import ITEMSIZE, Contents, StoredTensor, contiguous, raw
from hypernet.network import Metadata, Network

FORMAT = "hypernet"
"""The value of `format` in the metadata of our files."""
VERSION = 1
"""Of the layout."""
TRAINING = "ss_"
"""What the names of training facts begin with."""

_NAME = re.compile(r"([1-9][0-9]{0,5})\.([kv])\.(.+)", re.DOTALL)
_DTYPES: Mapping[str, torch.dtype] = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F64": torch.float64,
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


def looks_like(head: bytes) -> bool:
    """Whether a file that begins so is one: a length below 4 GB, then JSON."""
    return head[4:9] == b"\0\0\0\0{"


def read(source: Source) -> Contents:
    """What a `.safetensors` file holds. Raises FormatError."""
    length = int.from_bytes(source.bytes_at(0, 8), "little")
    if length > source.size - 8:
        raise FormatError("its header is longer than the file: the download was cut short.", HALF_LOADED)
    if length > MAX_HEADER:
        raise FormatError(f"its header has {length:,} bytes, far more than a hypernetwork's.", OTHER_MODEL)
    header = _header(source.bytes_at(8, length))
    facts = header.pop("__metadata__", {})
    if not isinstance(facts, dict) or not all(isinstance(value, str) for value in facts.values()):
        raise FormatError("its metadata is damaged.", AGAIN)
    names = {name: _address(name) for name in header}
    if not names or None in names.values():
        raise lookalikes.by_names(names) or _not_ours(names)
    _check_version(facts)
    nets: dict[int, tuple[dict[str, StoredTensor], dict[str, StoredTensor]]] = {}
    for address, tensor in zip(names.values(), _tensors(header, 8 + length, source.size), strict=True):
        assert address is not None
        width, which, name = address
        nets.setdefault(width, ({}, {}))[which][name] = tensor
    return Contents("safetensors", nets, read_values(_values(facts)))


def write(network: Network, names: Mapping[int, tuple[Mapping[str, Tensor], ...]], stream: IO[bytes]) -> None:
    """Writes a network whose weights have these names: width -> (K, V), each name -> tensor.

    Raises FormatError for one that could not be read again.
    """
    tensors = {
        f"{width}.{which}.{name}": tensor
        for width, pair in names.items()
        for which, net in zip("kv", pair, strict=True)
        for name, tensor in net.items()
    }
    header: dict[str, Any] = {"__metadata__": _facts(network.metadata)}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    data = json.dumps(header, separators=(",", ":")).encode()
    data += b" " * (-len(data) % 8)
    if len(data) > MAX_HEADER:
        raise FormatError("its metadata is too long to be saved.", "Shorten its texts.")
    stream.write(len(data).to_bytes(8, "little") + data)
    for tensor in tensors.values():
        stream.write(raw(tensor))


def _header(data: bytes) -> dict[str, Any]:
    """The header as JSON."""
    try:
        text = data.decode("utf-8")
        header = safe_json.loads(text, most=MAX_HEADER_VALUES, pairs_hook=_without_duplicates)
    except ValueError:
        raise FormatError("its header is damaged, or not a hypernetwork's.", AGAIN) from None
    if not isinstance(header, dict):
        raise FormatError("its header is damaged.", AGAIN)
    return header


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise FormatError("it holds two things of the same name.", MALICIOUS)
    return made


def _address(name: str) -> tuple[int, int, str] | None:
    """A tensor's width, 0 for K or 1 for V, and name in its net; None for a name that isn't of our layout."""
    match = _NAME.fullmatch(name)
    return (int(match[1]), "kv".index(match[2]), match[3]) if match else None


def _not_ours(names: Mapping[str, Any]) -> FormatError:
    example = f" (it holds {shown(next(iter(names)))})" if names else ""
    return FormatError(f"it is a .safetensors file, but not a hypernetwork{example}.", WHICH_KIND)


def _check_version(facts: Mapping[str, str]) -> None:
    version = facts.get("format_version", "1")
    if facts.get("format") == FORMAT and version != str(VERSION):
        raise FormatError(
            f"it has the format version {shown(version)}; this program reads {VERSION}.", "Update the program."
        )


def _tensors(header: Mapping[str, Any], begin: int, size: int) -> list[StoredTensor]:
    """The tensors in the header's order, known to fill the file from `begin` to its end without gap or overlap."""
    tensors = [_tensor(name, entry, begin) for name, entry in header.items()]
    at = begin
    for start, nbytes in sorted((tensor.start, tensor.nbytes) for tensor in tensors):
        if start != at:
            raise FormatError("its tensors overlap or leave gaps.", AGAIN)
        at += nbytes
    if at > size:
        raise FormatError(TRUNCATED, HALF_LOADED)
    if at < size:
        raise FormatError("it is longer than its header says.", AGAIN)
    return tensors


def _tensor(name: str, entry: Any, begin: int) -> StoredTensor:
    """One entry of the header, whose offsets count from `begin`."""
    try:
        code, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise FormatError(f"the entry of {shown(name)} in its header is damaged.", AGAIN) from None
    dtype = _DTYPES.get(code) if isinstance(code, str) else None
    if dtype is None:
        raise FormatError(f"the weights are of type {shown(code)}, not floating-point numbers.")
    nbytes = ITEMSIZE[dtype]
    if not isinstance(shape, list) or len(shape) > 8:
        raise FormatError(f"the shape of {shown(name)} is damaged.", AGAIN)
    for length in shape:
        if type(length) is not int or not 0 <= length < 1 << 48:
            raise FormatError(f"the shape of {shown(name)} is damaged.", AGAIN)
        nbytes *= length
    if type(start) is not int or type(end) is not int or start < 0 or end - start != nbytes:
        raise FormatError(f"the place of {shown(name)} in the file is damaged.", AGAIN)
    return StoredTensor(dtype, tuple(shape), contiguous(tuple(shape)), 0, begin + start, nbytes)


def _facts(metadata: Metadata) -> dict[str, str]:
    values = values_to_write(metadata)
    texts = {key: _plain_or_json(key, value) for key, value in values.items()}
    return {"format": FORMAT, "format_version": str(VERSION), **texts}


def _plain_or_json(key: str, value: object) -> str:
    """Training facts are texts without quotes, as in every file of kohya's scripts, so that others can read them."""
    if key.startswith(TRAINING) and isinstance(value, str) and not value.startswith('"'):
        return value
    return json.dumps(value)


def _values(facts: Mapping[str, str]) -> dict[str, object]:
    """Metadata values back from JSON; a text that isn't JSON (written by hand) stands for itself."""
    return {key: _value(key, text) for key, text in facts.items() if key not in ("format", "format_version")}


def _value(key: str, text: str) -> object:
    if key.startswith(TRAINING) and not text.startswith('"'):
        return text
    try:
        value: object = safe_json.loads(text)
    except ValueError:
        return text
    return text if key in TEXTS and not isinstance(value, (str, type(None))) else value
