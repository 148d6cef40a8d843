"""What fuzzers feed: each target takes bytes and raises when a reader broke one of its promises.

Promises: a reader gives a network whose numbers are finite, or raises `FormatError` and nothing else: `load` blames the
file for that alone. It never runs out of stack or memory, and what it gives can be saved and read again.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator

import torch

from hypernet.files import reading
from hypernet.files.errors import FormatError
from hypernet.files.pt.contents import contents
from hypernet.files.pt.machine import unpickle
from hypernet.files.pt.writer import write as write_torch
from hypernet.files.safetensors import write as write_safetensors
from hypernet.files.source import Source
from hypernet.files.writing import named
from hypernet.network import Network
from hypernet.tags import parse
from tests import hostile, make_files


def whole_file(data: bytes) -> None:
    """Any reader: the first bytes decide which."""
    try:
        network = reading.read(Source.of(data), mapped=False)
    except FormatError:
        return
    _check(network)


def pickled(data: bytes) -> None:
    """A pickle, with 256 bytes of weights beside it."""
    try:
        unpickled = unpickle(Source.of(data), 0, len(data))
        contents("pt", unpickled.value, dict.fromkeys(unpickled.storages, 0), 4096)
    except FormatError:
        return


def zip_file(data: bytes) -> None:
    """A zip archive, whatever its first bytes are."""
    whole_file(b"PK\3\4" + data[4:])


def zipped(data: bytes) -> None:
    """A pickle in a good archive beside 256 bytes of weights, so that only the layers can refuse it."""
    whole_file(hostile.archive({"a/data.pkl": data, "a/data/0": bytes(256)}))


def legacy(data: bytes) -> None:
    """A stream of pickles that begins with PyTorch's magic number."""
    whole_file(LEGACY_HEAD + data)


def safetensors(data: bytes) -> None:
    """A header of the right length and some weights. The fuzzer fills the header."""
    header, _, rest = data.partition(b"\0\0")
    whole_file(struct.pack("<Q", len(header) + 1) + b"{" + header + rest)


def tags(data: bytes) -> None:
    """A prompt. Nothing in it makes the parser raise; every tag has a name, every problem a reason."""
    parsed = parse(data.decode("utf-8", "replace"))
    assert all(tag.name for tag in parsed.tags)
    assert all(problem.reason for problem in parsed.problems)


LEGACY_HEAD = hostile.legacy(b"N").split(b"\x80\x02N.")[0]

TARGETS: dict[str, Callable[[bytes], None]] = {
    "pickle": pickled,
    "zip": zip_file,
    "zipped": zipped,
    "legacy": legacy,
    "safetensors": safetensors,
    "file": whole_file,
    "tags": tags,
}

PROMPTS = (
    "a cat <hypernet:ink:0.7> on a mat",
    "<hypernet:a/b:0@0,1@0.5,0@1:start=0.1:stop=0.9:hr=0.3:k=1:v=0:self=1:cross=0.5:lbw=INALL:on=cond>",
    "<hypernet:x:nan><hypernet::1><hypernet:y:0,7><hypernet:z:lbw=1,0,0.5,1,1,1,1,1,1,1,1,1>",
)


def seeds(target: str) -> Iterator[bytes]:
    """Inputs to begin with: what the target may read, good and hostile, of at most 4 KB."""
    if target == "tags":
        yield from (prompt.encode() for prompt in PROMPTS)
        return
    for data in _files():
        if target in ("pickle", "zipped") and data.startswith(b"PK"):
            at, end = data.find(b"data.pkl") + 8, data.find(b"PK", 4)
            yield data[at:end]
        elif target == "safetensors" and data[8:9] == b"{":
            length = int.from_bytes(data[:8], "little")
            yield data[9 : 8 + min(length, 1 << 20)] + b"\0\0" + data[8 + min(length, 1 << 20) :]
        elif target == "legacy" and data.startswith(LEGACY_HEAD):
            yield data[len(LEGACY_HEAD) :]
        elif target == "file" or (target == "zip" and data.startswith(b"PK")):
            yield data


def _files() -> Iterator[bytes]:
    yield from (hostile.zipped(hostile.network()), hostile.legacy(hostile.network()), hostile.tensors(hostile.header()))
    for make in make_files.GENERATIONS.values():
        content = {key: value for key, value in make().items() if key not in (12, "12")}
        for zipped in (True, False):
            stream = io.BytesIO()
            torch.save(content, stream, _use_new_zipfile_serialization=zipped)
            yield stream.getvalue()
        stream = io.BytesIO()
        network = reading.read(Source.of(_saved(content)), mapped=False)
        write_safetensors(network, named(network), stream)
        yield stream.getvalue()
    yield from hostile.small().values()


def _saved(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def _check(network: Network) -> None:
    for net in network.nets():
        assert all(bool(torch.isfinite(tensor).all()) for tensor in net.tensors())
        assert len(net.names) == len(list(net.tensors()))
    for write in (write_torch, write_safetensors):
        stream = io.BytesIO()
        try:
            write(network, named(network), stream)
        except FormatError:  # each format has its own limits; what is written at all can be read
            continue
        again = reading.read(Source.of(stream.getvalue()), mapped=False)
        assert again.widths == network.widths
        for one, other in zip(network.nets(), again.nets(), strict=True):
            assert one.names == other.names
            assert all(torch.equal(a, b) for a, b in zip(one.tensors(), other.tensors(), strict=True))
