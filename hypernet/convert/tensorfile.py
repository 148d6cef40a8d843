"""`.safetensors` files of any size: reads one tensor at a time, and copies a file with some tensors replaced.

Bytes are read, not mapped: tools that show memory count a mapped file of 7 GB as 7 GB.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hypernet.atomic import writing
from hypernet.errors import HypernetError
from hypernet.files.weights import raw

DTYPES: Mapping[str, torch.dtype] = {
    code: getattr(torch, name)
    for code, name in {
        "F64": "float64",
        "F32": "float32",
        "F16": "float16",
        "BF16": "bfloat16",
        "F8_E4M3": "float8_e4m3fn",
        "F8_E5M2": "float8_e5m2",
    }.items()
    if hasattr(torch, name)
}
"""The types that can be changed. Tensors of all others are only copied."""
CODES = {dtype: code for code, dtype in DTYPES.items()}
"""PyTorch's type -> its name in a .safetensors."""

_CHUNK = 4 << 20

Make = Callable[[], Tensor]
"""Makes a tensor when it is about to be written."""
Progress = Callable[[int], None]
"""Called with the bytes written since the last call."""


@dataclass(frozen=True)
class TensorEntry:
    """A tensor in the header. dtype: safetensors' code; start, nbytes: bytes from the beginning of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    nbytes: int


@dataclass(frozen=True)
class TensorFile:
    """The header of a `.safetensors` file."""

    path: Path
    entries: Mapping[str, TensorEntry]
    """By name, in the order of the data."""
    metadata: Mapping[str, str]

    @classmethod
    def open(cls, path: Path) -> TensorFile:
        """Raises HypernetError for a file that is no whole safetensors file."""
        try:
            with safe_open(str(path), framework="pt"):  # checks for truncated, overlapping and duplicate data
                pass
            with path.open("rb") as stream:
                length = int.from_bytes(stream.read(8), "little")
                header: dict[str, Any] = json.loads(stream.read(length))
        except FileNotFoundError:
            raise HypernetError(f"{path.name}: there is no such file. Check its name and folder.") from None
        except (OSError, SafetensorError, ValueError) as error:
            raise HypernetError(f"{path.name}: it can't be read as a safetensors file ({error}).") from error
        metadata = header.pop("__metadata__", None) or {}
        entries = {name: _entry(item, 8 + length) for name, item in header.items()}
        return cls(path, dict(sorted(entries.items(), key=lambda item: item[1].start)), metadata)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(entry.nbytes for entry in self.entries.values())

    def read(self, name: str) -> Tensor:
        """One tensor in its own type. Raises HypernetError for a type that isn't in DTYPES."""
        entry = self.entries[name]
        dtype = DTYPES.get(entry.dtype)
        if dtype is None:
            raise HypernetError(
                f"{self.path.name}: {name} is of type {entry.dtype}: quantised weights can't be changed. "
                "Take the model in float16, bfloat16 or float32."
            )
        if not entry.nbytes:
            return torch.empty(entry.shape, dtype=dtype)
        buffer = bytearray(entry.nbytes)
        with self.path.open("rb") as stream:
            stream.seek(entry.start)
            if stream.readinto(buffer) != entry.nbytes:
                raise HypernetError(f"{self.path.name}: it was cut short while it was read.")
        return torch.frombuffer(buffer, dtype=dtype).reshape(entry.shape)

    def rewrite(
        self, target: Path, replaced: Mapping[str, Make], metadata: Mapping[str, str], progress: Progress
    ) -> None:
        """A copy with some tensors made anew, each in the shape and type it had. Whole or not at all."""
        with writing(target) as stream:
            _write_header(stream, self.entries, metadata)
            with self.path.open("rb") as source:
                for name, entry in self.entries.items():
                    if name in replaced:
                        made = replaced[name]().to(DTYPES[entry.dtype]).contiguous()
                        assert made.shape == entry.shape, f"{name} has another shape"
                        stream.write(raw(made))
                        progress(entry.nbytes)
                    else:
                        source.seek(entry.start)
                        _copy(source, stream, entry.nbytes, progress, self.path.name)


def write(target: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """A new file of these tensors, whole or not at all."""
    kept = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    entries, start = {}, 0
    for name, tensor in kept.items():
        nbytes = tensor.numel() * tensor.element_size()
        entries[name] = TensorEntry(CODES[tensor.dtype], tuple(tensor.shape), start, nbytes)
        start += nbytes
    with writing(target) as stream:
        _write_header(stream, entries, metadata)
        for tensor in kept.values():
            stream.write(raw(tensor))


def refuse_to_replace(target: Path, overwrite: bool, sources: Iterable[Path]) -> None:
    """Raises HypernetError for a target that is in the way, or that is one of the sources."""
    if any(target.exists() and source.exists() and target.samefile(source) for source in sources):
        raise HypernetError(f"{target.name}: originals stay as they are. Choose another name.")
    if target.exists() and not overwrite:
        raise HypernetError(f"{target} is there already: choose another name, or replace it with --force.")


def _entry(entry: Mapping[str, Any], begin: int) -> TensorEntry:
    start, end = entry["data_offsets"]
    return TensorEntry(entry["dtype"], tuple(entry["shape"]), begin + start, end - start)


def _write_header(stream: IO[bytes], entries: Mapping[str, TensorEntry], metadata: Mapping[str, str]) -> None:
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name, entry in entries.items():
        header[name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": (at, at + entry.nbytes)}
        at += entry.nbytes
    data = json.dumps(header, separators=(",", ":")).encode()
    data += b" " * (-len(data) % 8)
    stream.write(len(data).to_bytes(8, "little") + data)


def _copy(source: IO[bytes], target: IO[bytes], nbytes: int, progress: Progress, name: str) -> None:
    while nbytes:
        chunk = source.read(min(nbytes, _CHUNK))
        if not chunk:
            raise HypernetError(f"{name}: it was cut short while it was read.")
        target.write(chunk)
        progress(len(chunk))
        nbytes -= len(chunk)
