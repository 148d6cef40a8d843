"""`load` and `peek`: a file's first bytes say which reader takes it; whatever goes wrong becomes `UnreadableFile`."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hypernet.errors import UnreadableFile
from hypernet.files import layout, lookalikes, safetensors, weights
from hypernet.files.errors import OTHER_MODEL, FormatError
from hypernet.files.limits import CHECKED_WHEN_MAPPED, HEAD, MAX_WEIGHTS
from hypernet.files.pt import legacy
from hypernet.files.pt import zip as zipped
from hypernet.files.source import Source, opened
from hypernet.files.summary import Summary, summarise
from hypernet.files.weights import Contents, ReadTensor
from hypernet.network import Network
from hypernet.text import json_safe, size_in_words

_log = logging.getLogger(__name__)


def load(path: str | os.PathLike[str], *, mapped: bool = True) -> Network:
    """The network in a `.pt` or `.safetensors` file of any known kind, whatever the file is called.

    Nothing in the file is run. The weights stay in the file until they are used; with `mapped` False they are copied
    into memory: a program that keeps a network while people write to its file wants that (what is written shows in a
    mapped network, and a process that reads a mapped file beyond its new end is killed). Replacing a file is harmless.

    Raises UnreadableFile, and nothing else, for a file that can't be used: missing, damaged, of another kind, or with
    weights that are not finite. In a mapped `.safetensors` over 1 MB only a few weights are looked at.
    """
    with _explained(path), opened(path) as source:
        return read(source, mapped=mapped and os.name != "nt")


def peek(path: str | os.PathLike[str]) -> Summary:
    """What the file holds, without reading its weights. Raises UnreadableFile as `load` does."""
    with _explained(path), opened(path) as source:
        contents = _contents(source)
        return summarise(contents.container, _network(contents, weights.shape_only))


def outline(path: str | os.PathLike[str]) -> Network:
    """The network without its weights' values (on torch's meta device). Raises FormatError, OSError."""
    with opened(path) as source:
        return _network(_contents(source), weights.shape_only)


def read(source: Source, *, mapped: bool) -> Network:
    """The network in an open file, as `load` gives it. Raises FormatError, OSError."""
    contents = _contents(source)
    try:
        read_tensor = weights.mapped(source) if mapped else weights.into_memory(source)
    except OSError:  # not every network drive can map
        read_tensor, mapped = weights.into_memory(source), False
    if mapped and contents.container == "safetensors" and source.size > CHECKED_WHEN_MAPPED:
        network = _network(contents, read_tensor)
        weights.refuse_unless_finite(weights.smallest(network))
        return network
    return _network(contents, weights.finite(read_tensor))


def _contents(source: Source) -> Contents:
    head = source.bytes_at(0, min(source.size, HEAD))
    if not head:
        raise FormatError("it is empty.")
    contents = _reader(head)(source)
    total = sum(tensor.elements_nbytes for tensor in contents.tensors())
    if total > MAX_WEIGHTS:
        raise FormatError(f"its weights have {size_in_words(total)}, far more than a hypernetwork's.", OTHER_MODEL)
    return contents


def _reader(head: bytes) -> Callable[[Source], Contents]:
    if safetensors.looks_like(head):  # first: its length may begin with any byte, also with those below
        return safetensors.read
    if head.startswith(b"PK\3\4"):
        return zipped.read
    if head.startswith(b"\x80"):
        return legacy.read
    raise lookalikes.by_first_bytes(head) or lookalikes.unknown()


def _network(contents: Contents, read_tensor: ReadTensor) -> Network:
    nets = {
        width: ({name: read_tensor(at) for name, at in k.items()}, {name: read_tensor(at) for name, at in v.items()})
        for width, (k, v) in contents.nets.items()
    }
    return layout.build(nets, contents.metadata)


@contextmanager
def _explained(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns every error into `UnreadableFile`. Readers blame a file by `FormatError` alone: all else is our fault."""
    try:
        yield
    except FormatError as error:
        raise UnreadableFile(_path(path), error.problem, error.advice) from None
    except OSError as error:
        raise UnreadableFile(_path(path), *_system_says(error)) from error
    except Exception as error:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):  # torch raises RuntimeError
            raise UnreadableFile(_path(path), "there is not enough memory for it.", "Close other programs.") from error
        if isinstance(error, ValueError) and "\0" in os.fsdecode(path):
            raise UnreadableFile(_path(path), "there is no such file.", "Check its name and folder.") from error
        _log.exception("Reading %s failed by an error of this program", _path(path))
        raise UnreadableFile(
            _path(path),
            f"reading it failed by an error of this program ({type(error).__name__}: {error}), not of the file.",
            "Please report it with what the log says.",
        ) from error


def _system_says(error: OSError) -> tuple[str, str]:
    if error.errno == errno.EISDIR:
        return "it is a folder.", "Give the path of a .pt or .safetensors file."
    if error.errno == errno.ENOENT:
        return "there is no such file.", "Check its name and folder."
    if error.errno in (errno.EACCES, errno.EPERM):
        return "reading it is not permitted, or it is a folder.", "Change its permissions, or give the path of a file."
    return f"the system can't read it ({error.strerror or error}).", "Check the disk or the network drive."


def _path(path: str | os.PathLike[str]) -> str:
    """The path for a message: unprintable characters and NUL would garble it."""
    return json_safe(os.fsdecode(path)).replace("\0", "?")
