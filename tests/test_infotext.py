"""`Hypernet hashes`: written with a picture, read when it is pasted."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernet.files import save
from hypernet.library import Library
from hypernet.network import Metadata
from hypernet.webui import infotext
from tests.unets import network

DIGEST = st.text("0123456789abcdef", min_size=64, max_size=64)
NAME = st.text(st.characters(blacklist_characters=':<>"', blacklist_categories=["Cc", "Cs"]), min_size=1).map(str.strip)


@given(st.dictionaries(NAME.filter(bool), DIGEST, min_size=1))
def test_what_is_written_is_read(hashes: dict[str, str]) -> None:
    params: dict[str, Any] = {}
    infotext.remember(params, hashes, keep=False)
    read = infotext.read(params[infotext.KEY])
    assert set(read.values()) == {digest[:10] for digest in hashes.values()}


def test_names_with_commas_are_read() -> None:
    assert infotext.read("a, b: 0123456789, c: abcdef0123") == {"a, b": "0123456789", "c": "abcdef0123"}


def test_the_hires_pass_adds_to_the_first_and_a_new_picture_begins_anew() -> None:
    params: dict[str, Any] = {}
    infotext.remember(params, {"ink": "0" * 64}, keep=False)
    infotext.remember(params, {"wash": "1" * 64}, keep=True)
    assert params[infotext.KEY] == "ink: 0000000000, wash: 1111111111"
    infotext.remember(params, {"wash": "1" * 64}, keep=False)
    assert params[infotext.KEY] == "wash: 1111111111"
    infotext.remember(params, {}, keep=False)
    assert params == {}


@pytest.fixture
def library(tmp_path: Path) -> Library:
    (tmp_path / "ink.pt").write_bytes(b"ink")
    (tmp_path / "wash.pt").write_bytes(b"wash")
    return Library([tmp_path])


def paste(library: Library, **params: str) -> tuple[str, list[str]]:
    told: list[str] = []
    pasted: dict[str, Any] = {key.replace("_", " "): value for key, value in params.items()}
    infotext.pasted(pasted, library, told.append)
    return pasted["Prompt"], told


def digest(library: Library, name: str) -> str:
    entry = library.find(name)
    assert entry is not None
    return (library.sha256(entry) or "")[:10]


def test_a_file_that_is_here_keeps_its_name(library: Library) -> None:
    hashes = f"ink: {digest(library, 'ink')}"
    assert paste(library, Prompt="<hypernet:ink:1>", Hypernet_hashes=hashes) == ("<hypernet:ink:1>", [])


def test_a_renamed_file_is_found_by_its_hash(library: Library) -> None:
    hashes = f"old: {digest(library, 'ink')}"
    prompt = "<hypernet:old:0.7:k=1> <hypernet:wash>"
    pasted, said = paste(library, Prompt=prompt, Hypernet_hashes=hashes)
    assert pasted == "<hypernet:ink:0.7:k=1> <hypernet:wash>"
    assert said == ["The hypernetwork “old” is called “ink” here: its tag was changed."]


def test_files_that_swapped_names_are_swapped_back(library: Library) -> None:
    hashes = f"ink: {digest(library, 'wash')}, wash: {digest(library, 'ink')}"
    prompt = "<hypernet:ink:1><hypernet:wash:2>"
    assert paste(library, Prompt=prompt, Hypernet_hashes=hashes)[0] == "<hypernet:wash:1><hypernet:ink:2>"


def test_a_missing_file_is_told(library: Library) -> None:
    prompt, told = paste(library, Prompt="<hypernet:gone:1>", Hypernet_hashes="gone: 0123456789")
    assert prompt == "<hypernet:gone:1>"
    assert told == ["The hypernetwork “gone” (hash 0123456789) is not here."]


def test_another_file_of_that_name_is_told(library: Library) -> None:
    digest(library, "ink")
    prompt, told = paste(library, Prompt="<hypernet:ink:1>", Hypernet_hashes="ink: 0123456789")
    assert prompt == "<hypernet:ink:1>"
    assert "is another file than the one in the picture" in told[0]


def test_the_hires_prompt_is_mended_too(library: Library) -> None:
    params: dict[str, Any] = {
        "Prompt": "a",
        "Hires prompt": "<hypernet:old:1>",
        infotext.KEY: f"old: {digest(library, 'ink')}",
    }
    infotext.pasted(params, library, lambda text: None)
    assert params["Hires prompt"] == "<hypernet:ink:1>"


def test_the_first_versions_keys_become_a_tag_where_the_host_makes_none(library: Library) -> None:
    prompt, told = paste(library, Prompt="a cat", Hypernet="ink", Hypernet_strength="0.4")
    assert (prompt, told) == ("a cat<hypernet:ink:0.4>", [])
    assert paste(library, Prompt="a cat<hypernet:ink:0.4>", Hypernet="ink")[0] == "a cat<hypernet:ink:0.4>"


def test_the_first_versions_hash_finds_a_renamed_file(tmp_path: Path) -> None:
    (tmp_path / "new.pt").write_bytes(bytes(0x100000) + b"x" * 0x10000)
    library = Library([tmp_path])
    old = hashlib.sha256(b"x" * 0x10000).hexdigest()[:8]
    prompt, _ = paste(library, Prompt="a<hypernet:old:1.0>", Hypernet="old", Hypernet_hash=old)
    assert prompt == "a<hypernet:new:1.0>"


def named_inside(folder: Path, stem: str, inner: str) -> None:
    metadata = Metadata(name=inner, step=200000, layer_structure=(1, 2, 1))
    save(replace(network(seed=1), metadata=metadata), folder / f"{stem}.safetensors")


@pytest.mark.parametrize("strength", ["", "<hypernet:taichi-200000:0.7>"])
def test_the_first_versions_name_a_file_as_it_calls_itself_inside(tmp_path: Path, strength: str) -> None:
    named_inside(tmp_path, "Taichi (v2)", "taichi-200000")
    prompt, said = paste(
        Library([tmp_path]), Prompt=f"a boy{strength}", Hypernet="taichi-200000", Hypernet_strength="0.7"
    )
    assert (prompt, said) == ("a boy<hypernet:Taichi (v2):0.7>", [])


def test_of_two_files_that_call_themselves_the_same_inside_none_is_meant(tmp_path: Path) -> None:
    for stem in ("one", "two"):
        named_inside(tmp_path, stem, "taichi")
    prompt, (said,) = paste(Library([tmp_path]), Prompt="<hypernet:taichi:1>")
    assert prompt == "<hypernet:taichi:1>" and "is not here" in said


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("key", ["hypernet:old", "Hypernetwork:old"])
def test_hashes_as_civitai_writes_them_find_a_renamed_file(library: Library, key: str, quoted: bool) -> None:
    hashes = json.dumps({"model": "0011223344", key: digest(library, "ink").upper()})
    text = f"a cat <hypernet:old:1>\nSteps: 2, Hashes: {json.dumps(hashes) if quoted else hashes}, Version: v1"
    params: dict[str, Any] = {"Prompt": "a cat <hypernet:old:1>"}
    infotext.pasted(params, library, lambda said: None, text)
    assert params["Prompt"] == "a cat <hypernet:ink:1>"


def test_a_hash_of_the_weights_alone_finds_a_renamed_file(tmp_path: Path) -> None:
    named_inside(tmp_path, "new", "x")
    data = (tmp_path / "new.safetensors").read_bytes()
    weights = hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()[:12]
    prompt, _ = paste(Library([tmp_path]), Prompt="<hypernet:old:1>", Hypernet_hashes=f"old: {weights}")
    assert prompt == "<hypernet:new:1>"


@pytest.mark.parametrize("begin", ["Hashes: {", 'Hashes: "', "Hashes: {{{{{{{{", 'Hashes: "\\', 'Hashes: "\\"'])
def test_no_pasted_hashes_take_long_to_read(begin: str) -> None:
    start = time.process_time()
    infotext.other_hashes(begin * (200_000 // len(begin)))
    assert time.process_time() - start < 5
