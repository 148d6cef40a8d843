"""`load` and `peek`: a file's first bytes say which reader takes it; whatever goes wrong becomes `UnreadableFile`."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hypernet.errors import UnreadableFile, carried
from hypernet.files import layout, lookalikes, safetensors, weights
from hypernet.files.errors import AGAIN, Refused
from hypernet.files.pt import legacy
from hypernet.files.pt import zip as zipped
from hypernet.files.source import Source, opened
from hypernet.files.summary import Summary, summarise
from hypernet.files.weights import Contents, Place
from hypernet.network import Network

HEAD = 512


def load(path: str | os.PathLike[str], *, mapped: bool = True) -> Network:
    """The network in a `.pt` or `.safetensors` file of any known kind, whatever the file is called.

    Nothing in the file is run. The weights stay in the file until they are used; with `mapped` False they are copied
    into memory: a program that keeps a network while people write to its file wants that (what is written shows in a
    mapped network, and a process that reads a mapped file beyond its new end is killed). Replacing a file is harmless.

    Raises UnreadableFile, and nothing else, for a file that can't be used: missing, damaged, of another kind, or with
    weights that are not finite. In a mapped `.safetensors` over `weights.SMALL` only a few weights are looked at.
    """
    with _explained(path), opened(path) as source:
        return read(source, mapped=mapped and os.name != "nt")


def peek(path: str | os.PathLike[str]) -> Summary:
    """What the file holds, without reading its weights. Raises UnreadableFile as `load` does."""
    with _explained(path), opened(path) as source:
        contents = _contents(source)
        return summarise(contents.container, _network(contents, weights.outline))


def outline(path: str | os.PathLike[str]) -> Network:
    """The network without its weights' values (on torch's meta device). Raises Refused, OSError."""
    with opened(path) as source:
        return _network(_contents(source), weights.outline)


def read(source: Source, *, mapped: bool) -> Network:
    """The network in an open file, as `load` gives it. Raises Refused, and what Python raises on damaged data."""
    contents = _contents(source)
    try:
        place = weights.mapped(source) if mapped else weights.copied(source)
    except OSError:  # not every network drive can map
        place, mapped = weights.copied(source), False
    if mapped and contents.container == "safetensors" and source.size > weights.SMALL:
        network = _network(contents, place)
        weights.refuse_unless_finite(weights.sample(network))
        return network
    return _network(contents, weights.checked(place))


def _contents(source: Source) -> Contents:
    head = source.bytes_at(0, min(source.size, HEAD))
    if not head:
        raise Refused("it is empty.", AGAIN)
    return _reader(head)(source)


def _reader(head: bytes) -> Callable[[Source], Contents]:
    if safetensors.looks_like(head):  # first: its length may begin with any byte, also with those below
        return safetensors.read
    if head.startswith(b"PK\3\4"):
        return zipped.read
    if head.startswith(b"\x80"):
        return legacy.read
    raise lookalikes.by_first_bytes(head) or lookalikes.unknown()


def _network(contents: Contents, place: Place) -> Network:
    nets = {
        width: ({name: place(at) for name, at in k.items()}, {name: place(at) for name, at in v.items()})
        for width, (k, v) in contents.nets.items()
    }
    return layout.build(nets, contents.metadata)


@contextmanager
def _explained(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns every error into `UnreadableFile`. A damaged file can make Python fail in any way it knows."""
    try:
        yield
    except Refused as refused:
        raise UnreadableFile(_path(path), refused.problem, refused.advice) from None
    except OSError as error:
        raise UnreadableFile(_path(path), *_system_says(error)) from error
    except MemoryError as error:
        raise UnreadableFile(_path(path), "there is not enough memory for it.", "Close other programs.") from error
    except Exception as error:
        raise UnreadableFile(_path(path), "it is damaged.", AGAIN) from error


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
    return carried(os.fsdecode(path)).replace("\0", "?")
