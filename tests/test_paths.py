"""No name in a prompt, a file or an API call reaches a file outside the folders, not even through links."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hypernet.errors import HypernetError
from hypernet.library import Library, NotFound, UserMetadata
from hypernet.plan import open_tags
from hypernet.tags import parse

needs_links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")

NAMES = (
    *("../secret", "..\\secret", "nets/../../secret", "nets\\..\\..\\secret", "./../secret", "....//secret"),
    *("/etc/passwd", "//host/share/secret", "\\\\host\\share\\secret", "\\\\?\\C:\\secret", "C:secret", "C:\\secret"),
    *("CON", "con.pt", "NUL", "AUX.safetensors", "COM1", "LPT1.pt", "CONIN$", "secret.", "secret ", "secret.pt."),
    *("secret.pt::$DATA", "secret%00", "secret\0", "~/secret", "%2e%2e/secret", "$HOME/secret", "file:///etc/passwd"),
)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """A library of a folder with one file. Beside the folder lies a file that no name may reach."""
    (tmp_path / "secret.pt").write_bytes(b"")
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "ink.pt").write_bytes(b"")
    made = Library([tmp_path / "nets"])
    yield made
    made.close()


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_is_looked_up_and_never_made_into_a_path(
    library: Library, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.entries()
    opened: list[str] = []
    monkeypatch.setattr("hypernet.files.source.os.open", lambda path, *_: opened.append(path))
    assert library.find(name) is None
    with pytest.raises(NotFound):
        library.open(name)
    assert not opened


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_tag_with_a_path_for_a_name_is_told_and_reads_nothing(library: Library, name: str) -> None:
    tags = parse(f"<hypernet:{name}:1>").tags
    uses, told = open_tags(tags, library.open)
    assert not uses
    assert len(told) == len(tags)


def test_files_with_names_that_windows_reserves_are_only_names(tmp_path: Path) -> None:
    for name in ("CON.pt", "nul.safetensors", "ink..pt", "ink .pt", "aux.preview.png", "back\\slash.pt"):
        if sys.platform != "win32":
            (tmp_path / name).write_bytes(b"")
    library = Library([tmp_path])
    for entry in library.entries():
        assert library.find(entry.name) == entry
        assert entry.path.parent == tmp_path
    library.close()


@needs_links
@pytest.mark.parametrize("ending", [".txt", ".json", ".png", ".civitai.info"])
def test_a_side_file_that_links_to_elsewhere_is_not_there(library: Library, tmp_path: Path, ending: str) -> None:
    (tmp_path / "private").write_text('{"description": "private", "name": "private"}')
    (tmp_path / "nets" / f"ink{ending}").symlink_to(tmp_path / "private")
    (entry,) = library.scan()
    assert library.description(entry) is None
    assert library.user_metadata(entry) == UserMetadata()
    assert library.preview(entry) is None
    assert library.civitai_info(entry) is None


@needs_links
def test_a_side_file_that_links_to_one_of_the_folders_is_read(library: Library, tmp_path: Path) -> None:
    (tmp_path / "nets" / "texts").mkdir()
    (tmp_path / "nets" / "texts" / "ink").write_text("in here")
    (tmp_path / "nets" / "ink.txt").symlink_to(tmp_path / "nets" / "texts" / "ink")
    (entry,) = library.scan()
    assert library.description(entry) == "in here"


@needs_links
def test_notes_are_not_written_through_a_link_to_elsewhere(library: Library, tmp_path: Path) -> None:
    (tmp_path / "nets" / "ink.json").symlink_to(tmp_path / "elsewhere.json")
    (entry,) = library.scan()
    with pytest.raises(HypernetError, match="link"):
        library.write_user_metadata(entry, UserMetadata(notes="x"))
    assert not (tmp_path / "elsewhere.json").exists()


@needs_links
@pytest.mark.parametrize("ending", [".txt", ".json", ".pt"])
def test_a_pipe_is_no_file_and_nobody_waits_for_it(library: Library, tmp_path: Path, ending: str) -> None:
    os.mkfifo(tmp_path / "nets" / f"water{ending}")
    os.mkfifo(tmp_path / "nets" / "ink.txt")
    (entry,) = library.scan()
    assert library.description(entry) is None


def test_a_slow_drive_keeps_only_one_waiting(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other threads, such as the one that draws the cards, go on with what was known."""
    library.entries()
    (tmp_path / "nets" / "water.pt").write_bytes(b"")
    reached, released = threading.Event(), threading.Event()
    fast = os.scandir

    def slow(folder: str) -> Any:
        reached.set()
        assert released.wait(20)
        return fast(folder)

    monkeypatch.setattr(os, "scandir", slow)
    waiting = threading.Thread(target=library.scan)
    waiting.start()
    assert reached.wait(20)
    names = library.names()
    released.set()
    waiting.join()
    assert names == ("ink",)
    assert library.names() == ("ink", "water")
