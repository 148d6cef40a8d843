"""Kills, a full disk, read-only folders, two writers: there is always the whole old file or the whole new one."""

from __future__ import annotations

import codecs
import os
import random
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from hypernet.errors import HypernetError
from tests.kill import kill
from tests.writers import PROCESSES, WRITERS, prepare, write_on

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals, limits and permissions as POSIX has them")

NOBODY = 65534


@pytest.mark.parametrize("name", WRITERS)
def test_a_kill_at_any_moment_leaves_whole_files(tmp_path: Path, name: str) -> None:
    """A short run; `python -m tests.kill --kills 1000` is a long one."""
    prepare(name, tmp_path)
    chosen = random.Random(0)
    for _ in range(4):
        kill(name, tmp_path, chosen)


@pytest.mark.parametrize("name", WRITERS)
def test_two_processes_at_once_leave_whole_files(tmp_path: Path, name: str) -> None:
    prepare(name, tmp_path)
    processes = [PROCESSES.Process(target=write_on, args=(name, tmp_path)) for _ in range(2)]
    for process in processes:
        process.start()
    until = time.monotonic() + 1
    try:
        while time.monotonic() < until and name != "hashes":  # where what is hashed is itself not written whole
            WRITERS[name][1](tmp_path)
    finally:
        for process in processes:
            process.kill()
            process.join()
    WRITERS[name][1](tmp_path)


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, name: str) -> None:
    prepare(name, tmp_path)
    fails(name, tmp_path, full)


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_may_not_be_written_to_keeps_its_files(tmp_path: Path, name: str) -> None:
    prepare(name, tmp_path)
    for path in (*tmp_path.iterdir(), tmp_path):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for path in tmp_path.parents[:2]:  # pytest's own, which nobody else may enter
        path.chmod(0o755)
    try:
        fails(name, tmp_path, powerless)
    finally:
        tmp_path.chmod(0o755)


def full() -> None:
    """As on a full disk: no file may grow beyond 100 bytes."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))


def powerless() -> None:
    """Becomes a user without rights, as root may write anywhere."""
    codecs.lookup("utf-8-sig")  # while their folders can still be read
    import_module("hypernet.files")
    if os.getuid() == 0:
        os.setuid(NOBODY)


def fails(name: str, folder: Path, how: Callable[[], None]) -> None:
    """A second write under such conditions reports its failure and changes no file."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    process = PROCESSES.Process(target=write_once, args=(name, folder, how))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    WRITERS[name][1](folder)


def write_once(name: str, folder: Path, how: Callable[[], None]) -> None:
    """Exits with 0 if the writer reported its failure. The hash cache only warns, as nobody depends on it."""
    how()
    try:
        if name == "hashes":
            from hypernet.library.hashes import Hashes
            from tests.writers import telling

            with telling() as told:
                assert len(Hashes(folder / "cache.sqlite").get(Path(__file__))) == 64
            assert told
        else:
            WRITERS[name][0](folder, 2)
            os._exit(1)
    except (OSError, HypernetError):
        pass
