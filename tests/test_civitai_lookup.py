"""The user's own files, found on Civitai by their hashes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("requests")

from hypernet.civitai import Cancelled, CivitaiError, Looked, Progress, Watch, get, lookup
from hypernet.library import Library, sidefiles
from tests.civitai_site import Site, pickled, running


@pytest.fixture
def site() -> Iterator[Site]:
    with running() as site:
        site.add(4, "Ink wash", pickled(1))
        site.add(5, "Water", pickled(2))
        yield site


@pytest.fixture
def folder(tmp_path: Path, site: Site) -> Path:
    """Two files from the site under names of the user's, and one of his own."""
    (tmp_path / "styles").mkdir()
    (tmp_path / "styles" / "mine.pt").write_bytes(site.contents[400])
    (tmp_path / "water.pt").write_bytes(site.contents[500])
    (tmp_path / "own.pt").write_bytes(pickled(3))
    return tmp_path


def looked(site: Site, folder: Path, **options: Any) -> dict[str, Looked]:
    with site.client() as civitai:
        return {one.entry.name: one for one in lookup(civitai, Library([folder]), **options)}


def test_files_are_found_whatever_they_are_called(site: Site, folder: Path) -> None:
    found = looked(site, folder)
    assert {name: one.model.name if one.model else None for name, one in found.items()} == {
        "mine": "Ink wash",
        "own": None,
        "water": "Water",
    }
    assert found["mine"].advice.sampler == "DPM++ SDE Karras"


def test_what_the_site_says_is_written_beside_them(site: Site, folder: Path) -> None:
    looked(site, folder)
    mine = folder / "styles" / "mine.pt"
    assert sidefiles.user_metadata(mine).activation_text == "ink style, black ink"
    assert sidefiles.recommended(mine).range == (0.55, 1.0)
    assert sidefiles.recommended(mine).source.model == 4
    assert sidefiles.preview(mine) == folder / "styles" / "mine.preview.png"


def test_a_file_that_is_not_on_the_site_gets_an_empty_info(site: Site, folder: Path) -> None:
    looked(site, folder)
    assert (folder / "own.civitai.info").read_bytes() == b""
    assert not (folder / "own.json").exists()


def test_an_info_that_the_user_has_is_not_emptied(site: Site, folder: Path) -> None:
    (folder / "own.civitai.info").write_text('{"id": 1, "modelId": 2}')
    looked(site, folder)
    assert (folder / "own.civitai.info").read_text() == '{"id": 1, "modelId": 2}'


def test_all_are_asked_for_in_one_go(site: Site, folder: Path) -> None:
    looked(site, folder, write=False)
    assert site.paths() == ["/api/v1/model-versions/by-hash", "/api/v1/models"]


def test_more_than_the_site_takes_are_asked_for_in_parts(site: Site, tmp_path: Path) -> None:
    digests = [f"{number:064x}" for number in range(250)]
    with site.client() as civitai:
        assert civitai.by_hashes(digests) == {}
    assert [len(json.loads(asked.body)) for asked in site.asked] == [100, 100, 50]


def test_nothing_is_written_where_that_is_not_wanted(site: Site, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    assert looked(site, folder, write=False)["mine"].found
    assert sorted(folder.rglob("*")) == before


def test_only_those_that_are_given_are_looked_up(site: Site, folder: Path) -> None:
    library = Library([folder])
    entry = library.find("water")
    assert entry is not None
    with site.client() as civitai:
        assert [one.entry.name for one in lookup(civitai, library, [entry])] == ["water"]
    assert len(json.loads(site.asked[0].body)) == 1


def test_a_file_that_was_converted_is_still_known(site: Site, tmp_path: Path) -> None:
    with site.client() as civitai:
        get(civitai, "4", tmp_path, as_safetensors=True)
    assert looked(site, tmp_path)["Ink wash"].found


def test_a_newer_version_for_the_same_base_is_shown(site: Site, folder: Path) -> None:
    later = "2024-01-01T00:00:00.000Z"
    versions = site.models[0]["modelVersions"]
    versions.insert(0, site.version(401, b"1", "a.pt", publishedAt=later, baseModel="SDXL 1.0"))
    versions.insert(1, site.version(402, b"2", "b.pt", publishedAt=later))
    versions.append(site.version(399, b"3", "c.pt", publishedAt="2022-01-01T00:00:00.000Z"))
    found = looked(site, folder, write=False)
    assert found["mine"].update is not None and found["mine"].update.id == 402
    assert found["water"].update is None


def test_of_copies_on_the_site_the_first_published_counts(site: Site, folder: Path) -> None:
    copy = site.add(6, "Stolen ink", site.contents[400])
    copy["modelVersions"][0]["publishedAt"] = "2025-01-01T00:00:00.000Z"
    site.models.insert(0, site.models.pop())
    found = looked(site, folder, write=False)["mine"]
    assert found.model is not None and found.model.name == "Ink wash"


def test_a_model_that_the_site_does_not_list_is_asked_for_by_itself(site: Site, folder: Path) -> None:
    def unlisted(handler: Any, asked: Any) -> bool:
        if asked.path == "/api/v1/models":
            handler.json({"items": [], "metadata": {}})
        return bool(asked.path == "/api/v1/models")

    site.faults.append(unlisted)
    site.refuses(404, 9, "/api/v1/models/5")
    found = looked(site, folder)
    assert found["mine"].advice.steps == 15
    assert found["water"].found and found["water"].model is None
    assert sidefiles.recommended(folder / "water.pt").source.version == 500


def test_files_that_cannot_be_written_beside_are_said_and_the_others_go_on(site: Site, folder: Path) -> None:
    (folder / "styles" / "mine.json").write_text("no json")
    found = looked(site, folder)
    assert "mine.json" in found["mine"].notes[0]
    assert (folder / "styles" / "mine.json").read_text() == "no json"
    assert sidefiles.user_metadata(folder / "water.pt").activation_text


def test_a_preview_that_is_missing_is_a_note(site: Site, folder: Path) -> None:
    site.pictures.clear()
    assert "picture" in looked(site, folder)["mine"].notes[0]
    assert looked(site, folder, previews=False)["mine"].notes == ()


def test_progress_is_told_for_each_file(site: Site, folder: Path) -> None:
    told: list[Progress] = []
    looked(site, folder, watch=Watch(told.append))
    hashed = [progress for progress in told if progress.doing.startswith("Hashing")]
    assert [(progress.done, progress.total) for progress in hashed] == [(0, 3), (1, 3), (2, 3)]


def test_it_can_be_stopped(site: Site, folder: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.doing.startswith("Hashing water"):
            watch.cancel()

    watch = Watch(stop)
    with pytest.raises(Cancelled):
        looked(site, folder, watch=watch)
    assert site.asked == []


@pytest.mark.parametrize("answer", [{}, None, "x", {"error": "no"}])
def test_an_answer_that_is_no_list_says_of_no_file_that_it_is_unknown(answer: Any, site: Site, folder: Path) -> None:
    site.faults.append(lambda handler, asked: handler.json(answer) or True)
    with pytest.raises(CivitaiError):
        looked(site, folder)
    assert not list(folder.rglob("*.civitai.info"))


@pytest.mark.parametrize("answer", [[None], [1], [{"id": 1}], [{"id": 1, "modelId": 2, "files": [{"hashes": "x"}]}]])
def test_versions_that_make_no_sense_are_left(answer: Any, site: Site, folder: Path) -> None:
    def odd(handler: Any, asked: Any) -> bool:
        if asked.method == "POST":
            handler.json(answer)
        return bool(asked.method == "POST")

    site.faults.append(odd)
    assert not any(one.found for one in looked(site, folder).values())
