"""The library: what is on disk now, whatever happened to it since it was listed."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from hypernet import library as library_module
from hypernet.errors import UnreadableFile
from hypernet.library import Library, NotFound, UserMetadata
from hypernet.network import Network

MakeLibrary = Callable[..., Library]

needs_links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")


def write_network(path: Path, value: float = 0.0, width: int = 4) -> Path:
    """A [1, 1] network whose weights all are `value`, in A1111's first layout."""
    net = {"linear.0.weight": torch.full((width, width), value), "linear.0.bias": torch.full((width,), value)}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({width: (net, net), "name": "what the file calls itself"}, path)
    return path


def value_of(network: Network) -> float:
    """What `write_network` was given."""
    return next(next(network.nets()).tensors()).flatten()[0].item()


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


@pytest.fixture
def make_library(tmp_path: Path) -> Iterator[MakeLibrary]:
    """A library over the temporary folder, or over the given folders in it."""
    made: list[Library] = []

    def make(*folders: str, keep: int = 4) -> Library:
        made.append(Library([tmp_path / folder for folder in folders or ("",)], tmp_path / ".hashes", keep=keep))
        return made[-1]

    yield make
    for library in made:
        library.close()


# Listing


def test_both_formats_are_listed_in_all_folders_whatever_the_case_of_the_suffix(
    make_library: MakeLibrary, tmp_path: Path
) -> None:
    touch(tmp_path / "ink.pt", tmp_path / "a" / "b" / "water.SAFETENSORS", tmp_path / "a" / "dust.Pt")
    assert make_library().names() == ("dust", "ink", "water")


def test_what_is_no_hypernetwork_is_not_listed(make_library: MakeLibrary, tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("ink.pt.optim", "ink.ckpt", "ink.png", "._ink.pt", ".pt", "pt")))
    touch(tmp_path / ".trash" / "old.pt")
    (tmp_path / "folder.pt").mkdir()
    assert make_library().names() == ()


def test_an_entry_says_where_its_file_is_and_how_large(make_library: MakeLibrary, tmp_path: Path) -> None:
    (tmp_path / "styles").mkdir()
    (tmp_path / "styles" / "ink.pt").write_bytes(b"12345")
    (entry,) = make_library().entries()
    assert entry.path == tmp_path / "styles" / "ink.pt"
    assert (entry.root, entry.relative, entry.stamp.size) == (tmp_path, "styles/ink.pt", 5)
    assert entry.stamp.mtime_ns == entry.path.stat().st_mtime_ns


def test_listing_opens_no_file(make_library: MakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "ink.pt", tmp_path / "ink.png", tmp_path / "ink.json")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was opened")

    library = make_library()
    with monkeypatch.context() as patched:
        patched.setattr("io.open", refuse)
        patched.setattr("builtins.open", refuse)
        assert library.names() == ("ink",)


def test_five_thousand_files_are_all_listed_and_found(make_library: MakeLibrary, tmp_path: Path) -> None:
    names = [f"net {number}" for number in range(5000)]
    for number, name in enumerate(names):
        folder = tmp_path / f"folder {number % 50}"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.pt").touch()
    library = make_library()
    assert set(library.names()) == set(names)
    entry = library.find("NET 4321")
    assert entry is not None and entry.relative == "folder 21/net 4321.pt"


def test_folders_inside_each_other_list_a_file_once(make_library: MakeLibrary, tmp_path: Path) -> None:
    touch(tmp_path / "all" / "styles" / "ink.pt")
    (entry,) = make_library("all", "all/styles").entries()
    assert entry.relative == "styles/ink.pt"


def test_a_folder_may_come_into_being_later(make_library: MakeLibrary, tmp_path: Path) -> None:
    library = make_library("later")
    assert library.names() == () and library.problems == ()
    touch(tmp_path / "later" / "ink.pt")
    assert library.names() == ("ink",)


def test_a_folder_that_cannot_be_listed_is_a_problem_and_not_an_error(
    make_library: MakeLibrary, tmp_path: Path
) -> None:
    touch(tmp_path / "file", tmp_path / "good" / "ink.pt")
    library = make_library("file", "good")
    assert library.names() == ("ink",)
    assert str(tmp_path / "file") in library.problems[0]


@needs_links
def test_links_are_followed_out_of_the_folder(make_library: MakeLibrary, tmp_path: Path) -> None:
    touch(tmp_path / "disk" / "styles" / "ink.pt", tmp_path / "disk" / "water.pt")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "linked").symlink_to(tmp_path / "disk" / "styles")
    (tmp_path / "models" / "water.pt").symlink_to(tmp_path / "disk" / "water.pt")
    library = make_library("models")
    assert [entry.relative for entry in library.entries()] == ["linked/ink.pt", "water.pt"]


@needs_links
def test_a_loop_of_links_ends(make_library: MakeLibrary, tmp_path: Path) -> None:
    touch(tmp_path / "nets" / "ink.pt")
    (tmp_path / "nets" / "again").symlink_to(tmp_path / "nets")
    (tmp_path / "nets" / "a.pt").symlink_to(tmp_path / "nets" / "b.pt")
    (tmp_path / "nets" / "b.pt").symlink_to(tmp_path / "nets" / "a.pt")
    assert make_library("nets").names() == ("ink",)


@needs_links
def test_a_folder_and_a_link_to_it_are_listed_once_by_the_real_place(make_library: MakeLibrary, tmp_path: Path) -> None:
    touch(tmp_path / "nets" / "real" / "ink.pt")
    (tmp_path / "nets" / "alias").symlink_to(tmp_path / "nets" / "real")
    (entry,) = make_library("nets").entries()
    assert entry.relative == "real/ink.pt"


# Changes while we run


def test_a_file_that_appeared_is_found(make_library: MakeLibrary, tmp_path: Path) -> None:
    library = make_library()
    assert library.find("ink") is None
    touch(tmp_path / "styles" / "ink.pt")
    assert library.find("ink") is not None
    assert library.names() == ("ink",)


def test_a_file_that_went_away_is_not_found(make_library: MakeLibrary, tmp_path: Path) -> None:
    touch(tmp_path / "ink.pt")
    library = make_library()
    assert library.find("ink") is not None
    (tmp_path / "ink.pt").unlink()
    assert library.find("ink") is None
    assert library.names() == ()


def test_a_change_is_noticed_even_where_folders_keep_no_time(make_library: MakeLibrary, tmp_path: Path) -> None:
    touch(tmp_path / "ink.pt")
    library = make_library()
    library.names()
    times = tmp_path.stat()
    touch(tmp_path / "water.pt")
    (tmp_path / "ink.pt").unlink()
    os.utime(tmp_path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert library.find("water") is not None
    assert library.find("ink") is None


@pytest.mark.parametrize("ahead", [-3600, 0, 3600], ids=["behind", "right", "ahead"])
def test_folders_that_stay_as_they_are_are_listed_once_whatever_the_clock_of_their_drive(
    make_library: MakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    touch(tmp_path / "nets" / "ink.pt")
    os.utime(tmp_path / "nets", (time.time() + ahead,) * 2)
    library = make_library("nets")
    listed = count_listings(monkeypatch)
    for _ in range(20):
        assert library.names() == ("ink",)
        assert library.find("missing") is None
    assert len(listed) == 1
    touch(tmp_path / "nets" / "water.pt")
    os.utime(tmp_path / "nets", (time.time() + ahead,) * 2)
    assert library.names() == ("ink", "water")


def test_unknown_names_list_no_folder_anew(
    make_library: MakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "ink.pt")
    library = make_library()
    listed = count_listings(monkeypatch)
    for number in range(200):
        with pytest.raises(NotFound):
            library.open(f"unknown {number}")
    assert len(listed) == 1


def count_listings(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows with each listing of the folders."""
    listed: list[object] = []
    scan = library_module.scan

    def counted(roots: Any) -> Any:
        listed.append(roots)
        return scan(roots)

    monkeypatch.setattr(library_module, "scan", counted)
    return listed


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("mix.hns", "mix.hns, but only .pt and .safetensors are read. It is a list of networks"),
        ("mix.ckpt", "mix.ckpt, but only .pt and .safetensors are read. If it is a hypernetwork, rename it"),
        ("styles/mix.pth", "rename it so that it ends with .pt"),
        ("mix.bin", "rename it so that it ends with .pt"),
    ],
)
def test_a_file_that_only_other_programs_list_is_named(
    make_library: MakeLibrary, tmp_path: Path, file: str, said: str
) -> None:
    touch(tmp_path / file)
    for typed in ("mix", Path(file).name):
        with pytest.raises(NotFound, match=re.escape(said)):
            make_library().open(typed)


def test_a_name_that_became_unclear_is_not_served(make_library: MakeLibrary, tmp_path: Path) -> None:
    touch(tmp_path / "a" / "ink.pt")
    library = make_library()
    assert library.find("ink") is not None
    touch(tmp_path / "b" / "ink.pt")
    assert library.find("ink") is None


@pytest.mark.parametrize("name", ["../secret", "/secret", "nets/../../secret", "..\\secret", "C:\\secret"])
def test_no_name_reaches_a_file_outside_the_folders(make_library: MakeLibrary, tmp_path: Path, name: str) -> None:
    touch(tmp_path / "secret.pt", tmp_path / "nets" / "ink.pt")
    assert make_library("nets").find(name) is None
    assert make_library("nets").find(str(tmp_path / "secret.pt")) is None


# Networks


def test_a_name_opens_its_network(make_library: MakeLibrary, tmp_path: Path) -> None:
    write_network(tmp_path / "ink.pt", 0.25)
    assert value_of(make_library().open("INK.pt")) == 0.25


def test_a_network_is_read_once(make_library: MakeLibrary, tmp_path: Path) -> None:
    write_network(tmp_path / "ink.pt")
    library = make_library()
    assert library.open("ink") is library.open("ink")


def test_a_file_that_was_replaced_is_read_anew(make_library: MakeLibrary, tmp_path: Path) -> None:
    write_network(tmp_path / "ink.pt", 0.25)
    library = make_library()
    entry = library.find("ink")
    assert entry is not None and value_of(library.load(entry)) == 0.25
    write_network(tmp_path / "new", 0.5).replace(tmp_path / "ink.pt")
    assert value_of(library.open("ink")) == 0.5
    assert value_of(library.load(entry)) == 0.5


def test_a_renamed_file_is_not_served_from_the_cache_of_another(make_library: MakeLibrary, tmp_path: Path) -> None:
    write_network(tmp_path / "ink.pt", 0.25)
    write_network(tmp_path / "water.pt", 0.5)
    library = make_library()
    library.open("ink")
    library.open("water")
    (tmp_path / "water.pt").replace(tmp_path / "ink.pt")
    assert value_of(library.open("ink")) == 0.5


def test_only_the_networks_used_last_are_kept(make_library: MakeLibrary, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_network(tmp_path / f"{name}.pt")
    library = make_library(keep=2)
    first = {name: library.open(name) for name in ("a", "b", "a", "c")}
    assert library.open("a") is first["a"]
    assert library.open("c") is first["c"]
    assert library.open("b") is not first["b"]


def test_many_threads_get_one_network(make_library: MakeLibrary, tmp_path: Path) -> None:
    write_network(tmp_path / "ink.pt")
    library = make_library()
    opened: list[Network] = []
    threads = [threading.Thread(target=lambda: opened.append(library.open("ink"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 8 and len(set(map(id, opened))) == 1


def test_an_unknown_name_is_answered_with_those_like_it(make_library: MakeLibrary, tmp_path: Path) -> None:
    touch(tmp_path / "water.pt")
    with pytest.raises(NotFound, match=r"no hypernetwork “watr”\. Did you mean “water”"):
        make_library().open("watr")


def test_an_unclear_name_is_answered_with_all_it_could_mean(make_library: MakeLibrary, tmp_path: Path) -> None:
    touch(tmp_path / "a" / "ink.pt", tmp_path / "b" / "ink.pt")
    with pytest.raises(NotFound, match="Several hypernetworks are called “ink”: write “a/ink” or “b/ink”"):
        make_library().open("ink")


def test_a_broken_file_is_an_error_that_names_it(make_library: MakeLibrary, tmp_path: Path) -> None:
    (tmp_path / "ink.pt").write_bytes(b"not a network")
    with pytest.raises(UnreadableFile, match=r"ink\.pt"):
        make_library().open("ink")


def test_a_file_that_vanished_after_it_was_found_is_an_error_that_names_it(
    make_library: MakeLibrary, tmp_path: Path
) -> None:
    touch(tmp_path / "ink.pt")
    library = make_library()
    (entry,) = library.entries()
    entry.path.unlink()
    with pytest.raises(UnreadableFile, match=r"ink\.pt"):
        library.load(entry)
    with pytest.raises(UnreadableFile, match=r"ink\.pt"):
        library.sha256(entry)


# Hashes


def test_a_hash_is_known_once_it_was_computed(make_library: MakeLibrary, tmp_path: Path) -> None:
    (tmp_path / "ink.pt").write_bytes(b"ink")
    library = make_library()
    (entry,) = library.entries()
    digest = hashlib.sha256(b"ink").hexdigest()
    assert library.sha256_if_known(entry) is None
    assert library.sha256(entry) == digest
    assert library.sha256_if_known(entry) == digest


def test_all_hashes_come_in_the_background(make_library: MakeLibrary, tmp_path: Path) -> None:
    for name in ("ink", "water"):
        (tmp_path / f"{name}.pt").write_bytes(name.encode())
    library = make_library()
    library.hash_all()
    for thread in threading.enumerate():
        if thread.name == "hypernet-sha256":
            thread.join()
    assert [library.sha256_if_known(entry) for entry in library.entries()] == [
        hashlib.sha256(name).hexdigest() for name in (b"ink", b"water")
    ]


def test_a_file_is_found_by_its_hash_whatever_it_is_called_now(make_library: MakeLibrary, tmp_path: Path) -> None:
    for name, content in (("renamed", b"ink"), ("copy", b"ink"), ("water", b"water")):
        (tmp_path / f"{name}.pt").write_bytes(content)
    library = make_library()
    digest = hashlib.sha256(b"ink").hexdigest()
    assert library.by_hash(digest[:10]) is None, "nothing was hashed yet"
    for entry in library.entries():
        library.sha256(entry)
    found = library.by_hash(digest[:10].upper())
    assert found is not None and found.name == "copy"
    for nonsense in ("", digest[:7], "g" * 10, digest + "0", "%"):
        assert library.by_hash(nonsense) is None


# Side files


def test_side_files_are_those_beside_the_file(make_library: MakeLibrary, tmp_path: Path) -> None:
    touch(tmp_path / "styles" / "ink.pt", tmp_path / "styles" / "ink.preview.png", tmp_path / "ink.txt")
    library = make_library()
    (entry,) = library.entries()
    assert library.preview(entry) == tmp_path / "styles" / "ink.preview.png"
    assert library.description(entry) is None
    assert library.civitai_info(entry) is None


def test_notes_that_were_written_are_read_at_once(make_library: MakeLibrary, tmp_path: Path) -> None:
    touch(tmp_path / "ink.pt")
    library = make_library()
    (entry,) = library.entries()
    library.write_user_metadata(entry, UserMetadata(activation_text="ink style"))
    assert library.user_metadata(entry).activation_text == "ink style"
