"""Digests: right, remembered, in the background, and safe from other processes."""

from __future__ import annotations

import hashlib
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hypernet.library import hashes as module
from hypernet.library.hashes import Hashes
from hypernet.library.scan import Stamp


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def known(hashes: Hashes, path: Path) -> str | None:
    return hashes.known(path, Stamp.of(path.stat()))


@pytest.fixture
def hashes(tmp_path: Path) -> Iterator[Hashes]:
    with closing(Hashes(tmp_path / "cache" / "hashes.sqlite")) as opened:
        yield opened


def test_a_digest_is_that_of_the_whole_file(hashes: Hashes, tmp_path: Path) -> None:
    digest = write(tmp_path / "a.pt", os.urandom(3_000_001))
    assert hashes.get(tmp_path / "a.pt") == digest


def test_a_digest_is_known_only_after_it_was_asked_for(hashes: Hashes, tmp_path: Path) -> None:
    digest = write(tmp_path / "a.pt", b"a")
    assert known(hashes, tmp_path / "a.pt") is None
    hashes.get(tmp_path / "a.pt")
    assert known(hashes, tmp_path / "a.pt") == digest


def test_a_known_file_is_not_read_again(hashes: Hashes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = write(tmp_path / "a.pt", b"a")
    hashes.get(tmp_path / "a.pt")
    monkeypatch.setattr(module, "_read", None)
    assert hashes.get(tmp_path / "a.pt") == digest


def test_a_digest_is_remembered_over_a_restart(tmp_path: Path) -> None:
    digest = write(tmp_path / "a.pt", b"a")
    with closing(Hashes(tmp_path / "hashes.sqlite")) as first:
        first.get(tmp_path / "a.pt")
    with closing(Hashes(tmp_path / "hashes.sqlite")) as second:
        assert known(second, tmp_path / "a.pt") == digest


def test_a_file_that_changed_is_read_anew(hashes: Hashes, tmp_path: Path) -> None:
    write(tmp_path / "a.pt", b"a")
    hashes.get(tmp_path / "a.pt")
    digest = write(tmp_path / "a.pt", b"other")
    assert known(hashes, tmp_path / "a.pt") is None
    assert hashes.get(tmp_path / "a.pt") == digest


def test_a_file_that_changes_while_it_is_read_is_read_again(
    hashes: Hashes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pt"
    write(path, b"a")
    read = module._read

    def read_and_change(file: Path, stop: threading.Event) -> str | None:
        digest = read(file, stop)
        monkeypatch.setattr(module, "_read", read)
        write(path, b"changed meanwhile")
        return digest

    monkeypatch.setattr(module, "_read", read_and_change)
    assert hashes.get(path) == hashlib.sha256(b"changed meanwhile").hexdigest()


def test_a_missing_file_is_an_error(hashes: Hashes, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        hashes.get(tmp_path / "none.pt")


def test_the_background_hashes_all_and_outlives_a_missing_file(hashes: Hashes, tmp_path: Path) -> None:
    digests = {path: write(path, path.name.encode()) for path in (tmp_path / f"{n}.pt" for n in range(5))}
    hashes.later([tmp_path / "none.pt", *digests])
    wait_for_background()
    assert {path: known(hashes, path) for path in digests} == digests


def test_the_background_can_be_stopped_and_begun_anew(
    hashes: Hashes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pt"
    digest = write(path, b"a")
    reading = threading.Event()

    def read_until_stopped(_: Path, stop: threading.Event) -> str | None:
        reading.set()
        stop.wait()
        return None

    with monkeypatch.context() as patched:
        patched.setattr(module, "_read", read_until_stopped)
        hashes.later([path])
        reading.wait()
        hashes.stop()
    assert not background()
    assert known(hashes, path) is None
    hashes.later([path])
    wait_for_background()
    assert known(hashes, path) == digest


def background() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "hypernet-sha256"]


def wait_for_background() -> None:
    for thread in background():
        thread.join()


def test_a_broken_cache_is_begun_anew(tmp_path: Path) -> None:
    cache = tmp_path / "hashes.sqlite"
    cache.write_bytes(b"no database, but long enough to look like one" * 100)
    digest = write(tmp_path / "a.pt", b"a")
    for _ in range(2):
        with closing(Hashes(cache)) as hashes:
            assert hashes.get(tmp_path / "a.pt") == digest
    with closing(Hashes(cache)) as hashes:
        assert known(hashes, tmp_path / "a.pt") == digest


def flipped(content: bytes, seed: int) -> bytes:
    """The content with six bytes replaced, after the words that mark a database."""
    chance, damaged = random.Random(seed), bytearray(content)
    for _ in range(6):
        damaged[chance.randrange(16, len(damaged))] = chance.randrange(256)
    return bytes(damaged)


def test_no_damage_to_the_cache_gives_an_error_or_another_digest(tmp_path: Path) -> None:
    digests = {path: write(path, path.name.encode()) for path in (tmp_path / f"{n}.pt" for n in range(20))}
    cache = tmp_path / "hashes.sqlite"
    with closing(Hashes(cache)) as hashes:
        for path in digests:
            hashes.get(path)
    content = cache.read_bytes()
    for seed in range(150):
        cache.write_bytes(flipped(content, seed))
        with closing(Hashes(cache)) as hashes:
            assert all(known(hashes, path) in (digest, None) for path, digest in digests.items())
            assert {path: hashes.get(path) for path in digests} == digests


def test_a_damaged_cache_is_set_aside_and_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = tmp_path / "hashes.sqlite"
    cache.write_bytes(b"no database, but long enough to look like one" * 100)
    write(tmp_path / "a.pt", b"a")
    with closing(Hashes(cache)) as hashes:
        for _ in range(3):
            hashes.get(tmp_path / "a.pt")
    assert (tmp_path / "hashes.sqlite.damaged").read_bytes().startswith(b"no database")
    assert len(caplog.records) == 1 and "damaged" in caplog.text


@pytest.mark.parametrize("digest", ["", "x" * 72, "0" * 72, "0" * 64, b"\xff", 5, None])
def test_a_digest_of_another_form_is_not_known(tmp_path: Path, digest: object) -> None:
    cache = tmp_path / "hashes.sqlite"
    right = write(tmp_path / "a.pt", b"a")
    with closing(Hashes(cache)) as hashes:
        hashes.get(tmp_path / "a.pt")
    with closing(sqlite3.connect(cache)) as database, database:
        if digest is None:
            database.execute("UPDATE sha256 SET digest = cast(x'ff' as text)")
        else:
            database.execute("UPDATE sha256 SET digest = ?", (digest,))
    with closing(Hashes(cache)) as hashes:
        assert known(hashes, tmp_path / "a.pt") is None
        assert hashes.get(tmp_path / "a.pt") == right


def test_the_cache_is_not_opened_before_it_is_needed(tmp_path: Path) -> None:
    cache = tmp_path / "folder" / "hashes.sqlite"
    with closing(Hashes(cache)):
        pass
    assert not cache.parent.exists()


def test_without_a_place_for_the_cache_digests_are_kept_until_the_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    digest = write(tmp_path / "a.pt", b"a")
    for cache in (None, tmp_path / "file" / "hashes.sqlite", tmp_path):
        with closing(Hashes(cache)) as hashes:
            hashes.get(tmp_path / "a.pt")
            assert known(hashes, tmp_path / "a.pt") == digest


def test_a_name_that_is_no_text_is_remembered(hashes: Hashes, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.pt"))
    try:
        digest = write(path, b"a")
    except OSError:
        pytest.skip("this file system takes text only")
    hashes.get(path)
    assert known(hashes, path) == digest


PROCESS = """
import sys
from pathlib import Path
from hypernet.library.hashes import Hashes
hashes = Hashes(Path(sys.argv[1]))
for path in sys.argv[2:]:
    hashes.get(Path(path))
"""


def test_two_processes_share_one_cache(tmp_path: Path) -> None:
    digests = {path: write(path, path.name.encode()) for path in (tmp_path / f"{n}.pt" for n in range(40))}
    paths = [str(path) for path in digests]
    command = [sys.executable, "-c", PROCESS, str(tmp_path / "hashes.sqlite")]
    running = [subprocess.Popen([*command, *half]) for half in (paths[:30], paths[10:][::-1])]
    assert [process.wait() for process in running] == [0, 0]
    with closing(Hashes(tmp_path / "hashes.sqlite")) as hashes:
        assert {path: known(hashes, path) for path in digests} == digests
