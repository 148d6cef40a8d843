"""The files beside a hypernetwork."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernet.errors import HypernetError
from hypernet.library import sidefiles
from hypernet.library.sidefiles import CivitaiInfo, UserMetadata


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "ink.v2.pt"
    path.write_bytes(b"")
    return path


def test_a_picture_with_the_name_of_the_file_is_its_preview(network: Path) -> None:
    for ending in (".webp", ".preview.png", ".jpg"):
        network.with_name("ink.v2" + ending).write_bytes(b"")
    preview = sidefiles.preview(network)
    assert preview is not None and preview.name == "ink.v2.preview.png"
    network.with_name("ink.v2.png").write_bytes(b"")
    assert sidefiles.preview(network) == network.with_name("ink.v2.png")


def test_the_picture_of_a_name_that_begins_the_same_is_no_preview(network: Path) -> None:
    network.with_name("ink.png").write_bytes(b"")
    assert sidefiles.preview(network) is None


def test_a_description_is_read_whatever_its_bytes(network: Path) -> None:
    assert sidefiles.description(network) is None
    network.with_name("ink.v2.description.txt").write_bytes(b"\xef\xbb\xbfsecond")
    assert sidefiles.description(network) == "second"
    network.with_name("ink.v2.txt").write_bytes(b"first \xff")
    assert sidefiles.description(network) == "first �"


def test_notes_are_read_from_the_keys_that_webuis_write(network: Path) -> None:
    stored = {
        "description": "d",
        "notes": "n",
        "sd version": "SD1",
        "activation text": "ink style",
        "preferred weight": 0.6,
        "negative text": "photo",
    }
    network.with_name("ink.v2.json").write_text(json.dumps(stored))
    assert sidefiles.user_metadata(network) == UserMetadata("d", "n", "SD1", "ink style", 0.6, "photo")


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '"text"', "\xff", '{"notes": 3}', "[" * 100_000, '{"preferred weight": 1e999}']
)
def test_broken_notes_say_nothing(network: Path, text: str) -> None:
    network.with_name("ink.v2.json").write_text(text, encoding="latin-1")
    assert sidefiles.user_metadata(network) == UserMetadata()


@pytest.mark.parametrize(("stored", "weight"), [("0.5", 0.5), (0, None), ("half", None), (None, None), (-1, -1.0)])
def test_a_preferred_weight_is_a_number_or_nothing(network: Path, stored: object, weight: float | None) -> None:
    network.with_name("ink.v2.json").write_text(json.dumps({"preferred weight": stored}))
    assert sidefiles.user_metadata(network).preferred_weight == weight


def test_notes_keep_what_other_programs_wrote(network: Path) -> None:
    file = network.with_name("ink.v2.json")
    file.write_text('{"modelVersions": [{"id": 1}], "notes": "old"}')
    sidefiles.write_user_metadata(network, UserMetadata(notes="new"))
    assert json.loads(file.read_text()) == {"modelVersions": [{"id": 1}], "notes": "new"}


def test_notes_that_were_emptied_are_written_empty(network: Path) -> None:
    sidefiles.write_user_metadata(network, UserMetadata(notes="old", preferred_weight=0.5))
    sidefiles.write_user_metadata(network, UserMetadata())
    assert json.loads(network.with_name("ink.v2.json").read_text()) == {"notes": "", "preferred weight": 0.0}


def test_notes_in_a_file_we_cannot_read_are_not_overwritten(network: Path) -> None:
    file = network.with_name("ink.v2.json")
    file.write_text('{"my": "work",}')
    with pytest.raises(HypernetError, match=r"ink\.v2\.json"):
        sidefiles.write_user_metadata(network, UserMetadata(notes="new"))
    assert file.read_text() == '{"my": "work",}'


TEXT = st.text(max_size=20)


@given(st.builds(UserMetadata, TEXT, TEXT, TEXT, TEXT, st.none() | st.floats(0.01, 2), TEXT))
def test_what_is_written_is_read_back(metadata: UserMetadata) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ink.pt")
        sidefiles.write_user_metadata(path, metadata)
        assert sidefiles.user_metadata(path) == metadata


def test_text_that_utf8_cannot_hold_is_kept_in_the_file_and_read_as_what_can_be_shown(network: Path) -> None:
    sidefiles.write_user_metadata(network, UserMetadata(notes="\ud800"))
    assert json.loads(network.with_name("ink.v2.json").read_text())["notes"] == "\ud800"
    assert sidefiles.user_metadata(network).notes == "?"


def test_side_files_are_not_read_beyond_any_use(network: Path) -> None:
    network.with_name("ink.v2.txt").write_text("x" * 10_000_000)
    network.with_name("ink.v2.json").write_text('{"notes": "' + "x" * 10_000_000 + '"}')
    assert sidefiles.description(network) == "x" * sidefiles.MAX_DESCRIPTION
    assert sidefiles.user_metadata(network) == UserMetadata()
    with pytest.raises(HypernetError):
        sidefiles.write_user_metadata(network, UserMetadata(notes="new"))
    assert network.with_name("ink.v2.json").stat().st_size > 10_000_000


def test_a_side_file_that_would_take_the_parser_long_is_not_parsed(
    network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network.with_name("ink.v2.json").write_text("[" + "[],[]," * 500_000 + "1]")
    monkeypatch.setattr(json, "loads", None)
    assert sidefiles.user_metadata(network) == UserMetadata()


def test_what_civitai_says_is_read(network: Path) -> None:
    info = {
        "id": 5,
        "modelId": 4,
        "name": "v1.0",
        "baseModel": "SD 1.5",
        "trainedWords": ["portrait", 7, "octane render"],
        "model": {"name": "Ink"},
    }
    network.with_name("ink.v2.civitai.info").write_text(json.dumps(info))
    assert sidefiles.civitai_info(network) == CivitaiInfo(4, 5, "Ink", "v1.0", "SD 1.5", ("portrait", "octane render"))


@pytest.mark.parametrize("text", ["", "{}", "[]", "nonsense"])
def test_a_file_that_civitai_does_not_know_has_no_info(network: Path, text: str) -> None:
    assert sidefiles.civitai_info(network) is None
    network.with_name("ink.v2.civitai.info").write_text(text)
    assert sidefiles.civitai_info(network) is None
