"""Every writer, as a process that writes for ever, and what must be true of its files at any time.

Each file says which write it comes from, so that a mixture of two would be seen.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL import Image

import hypernet
from hypernet import atomic
from hypernet.library.hashes import Hashes
from hypernet.library.scan import Stamp
from hypernet.library.sidefiles import UserMetadata, write_user_metadata
from hypernet.network import Linear, Metadata, Net, Network, Pair

FOREIGN = {"modelVersions": [{"id": 1}], "activation": "x" * 5000}
"""What another program keeps in the side file."""


def write_network(path: Path, number: int) -> None:
    """Writes a network over an existing file."""
    net = Net(64, (Linear(torch.full((64, 64), float(number)), None),))
    hypernet.save(Network({64: Pair(net, net)}, Metadata(step=number)), path, overwrite=True)


def check_network(path: Path) -> None:
    network = hypernet.load(path, mapped=False)
    for net in network.nets():
        for tensor in net.tensors():
            assert bool((tensor == float(network.metadata.step or 0)).all()), "the parts of two writes"


def write_notes(folder: Path, number: int) -> None:
    write_user_metadata(folder / "file.pt", UserMetadata(notes=f"{number} " * 500, activation_text=str(number)))


def check_notes(folder: Path) -> None:
    stored = json.loads((folder / "file.json").read_text())
    assert {key: stored[key] for key in FOREIGN} == FOREIGN, "another program's keys are gone"
    assert stored.get("notes", "") == f"{stored.get('activation text')} " * 500 * ("notes" in stored), "two writes"


def write_hashes(folder: Path, number: int) -> None:
    file = folder / f"hashed-{number % 50}"
    file.write_bytes(str(number).encode())
    hashes = Hashes(folder / "cache.sqlite")
    hashes.get(file)
    hashes.close()


def check_hashes(folder: Path) -> None:
    """The cache is never broken and never wrong."""
    with telling() as told:
        hashes = Hashes(folder / "cache.sqlite")
        for file in folder.glob("hashed-*"):
            known = hashes.known(file, Stamp.of(file.stat()))
            assert known in (None, hashlib.sha256(file.read_bytes()).hexdigest()), "a wrong hash"
        hashes.close()
    assert not told, told


def write_picture(folder: Path, number: int) -> None:
    """What `generate` and the demo write."""
    with atomic.writing(folder / "picture.png") as stream:
        Image.new("L", (200, 200), number % 256).save(stream, "PNG")


def check_picture(folder: Path) -> None:
    with Image.open(folder / "picture.png") as image:
        assert len(set(image.tobytes())) == 1, "the parts of two writes"


@contextlib.contextmanager
def telling() -> Iterator[list[str]]:
    """The log's messages during the block."""
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("hypernet").addHandler(handler)
    try:
        yield told
    finally:
        logging.getLogger("hypernet").removeHandler(handler)


WRITERS: dict[str, tuple[Callable[[Path, int], None], Callable[[Path], None]]] = {
    "pt": (lambda at, number: write_network(at / "file.pt", number), lambda at: check_network(at / "file.pt")),
    "safetensors": (
        lambda at, number: write_network(at / "file.safetensors", number),
        lambda at: check_network(at / "file.safetensors"),
    ),
    "notes": (write_notes, check_notes),
    "hashes": (write_hashes, check_hashes),
    "picture": (write_picture, check_picture),
}
"""Writes the n-th time; checks what is there."""

PROCESSES = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
PROCESSES.set_forkserver_preload(["tests.writers"]) if os.name == "posix" else None


def prepare(name: str, folder: Path) -> None:
    """A first write, beside another program's side file."""
    (folder / "file.json").write_text(json.dumps(FOREIGN))
    WRITERS[name][0](folder, 1)


def write_on(name: str, folder: Path) -> None:
    for number in itertools.count(2):
        WRITERS[name][0](folder, number)
