"""A write is whole or did not happen."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from hypernet.atomic import write_bytes, writing

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="permissions and links as POSIX has them")


def test_a_new_file_holds_what_was_written(tmp_path: Path) -> None:
    write_bytes(tmp_path / "new.json", b"{}")
    assert (tmp_path / "new.json").read_bytes() == b"{}"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), writing(path) as stream:
        stream.write(b"half of the ne")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_is_whole_until_the_new_one_is(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_bytes(b"old")
    with writing(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@posix_only
def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "private.json"
    path.write_bytes(b"old")
    path.chmod(0o600)
    write_bytes(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o600


@posix_only
def test_a_new_file_gets_the_permissions_that_open_gives(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_bytes(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


@posix_only
def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "far.json").write_bytes(b"old")
    (tmp_path / "link.json").symlink_to(tmp_path / "far.json")
    write_bytes(tmp_path / "link.json", b"new")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "far.json").read_bytes() == b"new"


def test_what_a_killed_writer_left_a_day_ago_is_cleared_away_and_nothing_else(tmp_path: Path) -> None:
    names = (".hypernet-old.tmp", ".hypernet-new.tmp", "other.tmp")
    for name in names:
        (tmp_path / name).write_bytes(b"half")
    for name in (".hypernet-old.tmp", "other.tmp"):
        os.utime(tmp_path / name, (time.time() - 90_000,) * 2)
    write_bytes(tmp_path / "file", b"")
    assert {path.name for path in tmp_path.iterdir()} == {".hypernet-new.tmp", "other.tmp", "file"}


@pytest.mark.parametrize(
    ("mode", "said"), [(0o444, "it is write-protected"), (0o644, "another program may have it open")]
)
def test_a_file_that_windows_does_not_replace_is_told_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, said: str
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(13, "Access is denied")

    path = tmp_path / "ink.json"
    path.write_bytes(b"old")
    path.chmod(mode)
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError, match=said) as caught:
        write_bytes(path, b"new")
    assert caught.value.filename == str(path)
    assert [file.name for file in tmp_path.iterdir()] == ["ink.json"]


@posix_only
def test_only_a_file_is_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="it is not a file"):
        write_bytes(pipe, b"new")
    assert pipe.is_fifo()
