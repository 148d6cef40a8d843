"""From Civitai into the folder, against a server that answers as it does and misbehaves."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("requests")

import hypernet
from hypernet.civitai import Cancelled, CivitaiError, Got, NotThere, Progress, Watch, get, safe_copy
from hypernet.civitai import download as downloads
from hypernet.errors import HypernetError
from hypernet.library import Library, sidefiles
from tests.civitai_site import KEY, Site, pickled, png, running


@pytest.fixture
def site() -> Iterator[Site]:
    with running() as site:
        site.add(4, "Ink wash", pickled())
        yield site


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "hypernetworks"


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_CHUNK", 500)


def fetched(site: Site, folder: Path, wanted: str = "4", **options: Any) -> Got:
    with site.client() as civitai:
        return get(civitai, wanted, folder, **options)


def file_of(site: Site) -> dict[str, Any]:
    """What the site lists as the file of model 4."""
    listed: dict[str, Any] = site.models[0]["modelVersions"][0]["files"][0]
    return listed


def fails(site: Site, folder: Path, wanted: str = "4", **options: Any) -> str:
    """Says why it failed; nothing may be left in the folder."""
    with pytest.raises(HypernetError) as caught:
        fetched(site, folder, wanted, **options)
    assert not folder.exists() or not list(folder.iterdir())
    return str(caught.value)


def test_a_model_comes_with_all_that_the_site_says_of_it(site: Site, folder: Path) -> None:
    with site.client() as civitai:
        got = get(civitai, "4", folder)
    assert got.path == folder / "Ink wash.pt"
    assert got.path.read_bytes() == site.contents[400]
    assert hypernet.load(got.path).widths == (16, 24)
    user = sidefiles.user_metadata(got.path)
    assert (user.activation_text, user.sd_version, user.preferred_weight) == ("ink style, black ink", "SD1", 0.7)
    assert "alert" not in user.description and "<" not in user.description
    stored = json.loads(got.path.with_suffix(".json").read_text(encoding="utf-8"))["hypernet"]
    assert stored == {
        "range": [0.55, 1.0],
        "sampler": "DPM++ SDE Karras",
        "steps": 15,
        "cfg": 7.0,
        "tags": ["style", "ink"],
        "source": {
            "url": f"{site.url}/models/4?modelVersionId=400",
            "model": 4,
            "version": 400,
            "sha256": hashlib.sha256(site.contents[400]).hexdigest(),
        },
    }
    info = sidefiles.civitai_info(got.path)
    assert info is not None and (info.model_id, info.version_id, info.model) == (4, 400, "Ink wash")
    assert sidefiles.preview(got.path) == folder / "Ink wash.preview.png"
    assert sorted(file.name for file in folder.iterdir()) == [
        "Ink wash.civitai.info",
        "Ink wash.json",
        "Ink wash.preview.png",
        "Ink wash.pt",
    ]


def test_the_key_goes_to_the_site_and_nowhere_else(site: Site, folder: Path) -> None:
    site.needs_key = True
    with site.client(KEY) as civitai:
        got = get(civitai, "4", folder)
    assert all("Authorization" in asked.headers for asked in site.asked if asked.host == "site")
    assert site.paths("store") and not any("Authorization" in a.headers for a in site.asked if a.host == "store")
    assert not any(KEY in str(asked.query) for asked in site.asked)
    assert not any(KEY.encode() in file.read_bytes() for file in got.path.parent.iterdir())


# What is asked for


@pytest.mark.parametrize(
    "wanted",
    [
        "4",
        "4@400",
        "@400",
        "urn:air:sd1:hypernet:civitai:4@400",
        "https://civitai.com/models/4",
        "https://civitai.com/models/4/ink-wash?modelVersionId=400",
        "civitai.com/models/4/ink-wash",
        "https://www.civitai.com/model-versions/400",
        "https://civitai.com/api/download/models/400?type=Model&format=PickleTensor&token=secret",
    ],
)
def test_a_model_is_named_in_any_way_that_people_have_at_hand(wanted: str, site: Site, folder: Path) -> None:
    assert fetched(site, folder, wanted).version.id == 400
    assert "secret" not in str(site.asked)


def test_a_file_is_named_by_its_hash(site: Site, folder: Path) -> None:
    digest = hashlib.sha256(site.contents[400]).hexdigest()
    assert fetched(site, folder, digest).version.id == 400
    assert fetched(site, folder, f"hash:{digest[:10]}").already


def test_the_newest_version_is_taken_where_none_is_named(site: Site, folder: Path) -> None:
    site.models[0]["modelVersions"].insert(0, site.version(401, pickled(2), "Ink wash 2.pt"))
    assert fetched(site, folder).version.id == 401
    assert fetched(site, folder, "4@400").path.name == "Ink wash.pt"


def test_a_version_of_another_model_is_not_taken_for_this_ones(site: Site, folder: Path) -> None:
    site.add(5, "Water", pickled(2))
    assert "no version 400" in fails(site, folder, "5@400")


def test_a_file_among_several_is_chosen_by_its_format_or_number(site: Site, folder: Path) -> None:
    other = site.version(401, pickled(2), "other.safetensors")["files"][0]
    other |= {
        "primary": False,
        "metadata": {"format": "SafeTensor"},
        "downloadUrl": "https://x/api/download/models/400",
    }
    site.models[0]["modelVersions"][0]["files"].append(other)
    with pytest.raises(CivitaiError, match="hash"):  # the store has but one file: what arrives is not what was chosen
        fetched(site, folder, "https://civitai.com/api/download/models/400?format=SafeTensor")
    assert fetched(site, folder, "https://civitai.com/api/download/models/400?fileId=4000").file.id == 4000


def test_what_is_no_hypernetwork_is_not_downloaded(site: Site, folder: Path) -> None:
    site.models[0]["type"] = "LORA"
    assert "LORA" in fails(site, folder)
    assert not site.paths("store")


def test_an_archive_is_not_taken_for_a_network(site: Site, folder: Path) -> None:
    file_of(site)["type"] = "Archive"
    assert "no such file" in fails(site, folder)


def test_a_model_that_the_site_hides_is_described_by_its_version(site: Site, folder: Path) -> None:
    site.refuses(404, 1, "/api/v1/models/4", {"error": "No model with id 4"})
    got = fetched(site, folder, "@400")
    assert (got.model.name, got.model.id) == ("Ink wash", 4)


def test_a_number_that_the_site_does_not_know_is_said(site: Site, folder: Path) -> None:
    with pytest.raises(NotThere, match="No model with id 99"):
        fetched(site, folder, "99")


# The download


def test_a_download_that_breaks_off_is_continued(site: Site, folder: Path) -> None:
    site.cuts = [1000, 5000]
    assert fetched(site, folder).path.read_bytes() == site.contents[400]
    ranges = [asked.headers.get("Range") for asked in site.asked if asked.path == "/file/400"]
    assert ranges == [None, "bytes=1000-", "bytes=6000-"]


def test_a_download_that_was_stopped_is_continued_the_next_time(site: Site, folder: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.unit == "bytes" and progress.done >= 2000:
            watch.cancel()

    watch = Watch(stop)
    site.cuts = [3000]
    with pytest.raises(Cancelled):
        fetched(site, folder, watch=watch)
    (part,) = (file for file in folder.iterdir() if file.suffix == ".part")
    assert 0 < part.stat().st_size <= 3000
    assert Library([folder]).entries() == ()
    assert fetched(site, folder).path.read_bytes() == site.contents[400]
    assert [asked.headers.get("If-Range") for asked in site.asked if asked.path == "/file/400"] == [None, '"v1"']
    assert not list(folder.glob(".hypernet-*"))


def test_a_part_that_is_whole_already_is_not_fetched_again(site: Site, folder: Path) -> None:
    folder.mkdir()
    digest = hashlib.sha256(site.contents[400]).hexdigest()
    (folder / f".hypernet-{digest[:20]}.part").write_bytes(site.contents[400])
    assert fetched(site, folder).path.read_bytes() == site.contents[400]
    assert site.paths("store").count("/file/400") == 1


def test_a_server_that_ignores_ranges_sends_the_whole(site: Site, folder: Path) -> None:
    site.ignores_range, site.cuts = True, [1000]
    assert fetched(site, folder).path.read_bytes() == site.contents[400]


def test_a_file_that_changed_on_the_server_meanwhile_begins_anew(site: Site, folder: Path) -> None:
    def change(handler: Any, asked: Any) -> bool:
        site.etag = '"v1"' if "Range" not in asked.headers else '"v2"'
        return False

    site.faults.append(change)
    site.cuts = [1000]
    assert fetched(site, folder).path.read_bytes() == site.contents[400]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_a_server_without_a_strong_etag_is_continued_all_the_same(etag: str | None, site: Site, folder: Path) -> None:
    site.etag, site.cuts = etag, [1000]
    assert fetched(site, folder).path.read_bytes() == site.contents[400]
    assert [asked.headers.get("If-Range") for asked in site.asked if asked.path == "/file/400"] == [None, None]


def test_a_range_that_does_not_fit_is_not_appended(site: Site, folder: Path) -> None:
    def wrong(handler: Any, asked: Any) -> bool:
        if "Range" not in asked.headers:
            return False
        handler.answer(206, b"x" * 10, "application/octet-stream", {"Content-Range": "bytes 5-14/20"})
        return True

    site.faults.append(wrong)
    site.cuts = [1000]
    assert fetched(site, folder).path.read_bytes() == site.contents[400]


def test_what_was_spoiled_before_it_was_continued_is_fetched_anew(site: Site, folder: Path) -> None:
    folder.mkdir()
    digest = hashlib.sha256(site.contents[400]).hexdigest()
    (folder / f".hypernet-{digest[:20]}.part").write_bytes(b"x" * 1000)
    assert fetched(site, folder).path.read_bytes() == site.contents[400]


def test_a_file_that_is_not_what_its_hash_says_is_not_kept(site: Site, folder: Path) -> None:
    site.contents[400] = pickled(2)
    assert "not the file that Civitai's hash is of" in fails(site, folder)


def test_a_file_of_which_only_short_hashes_are_known_is_verified_by_them(site: Site, folder: Path) -> None:
    del file_of(site)["hashes"]["SHA256"]
    assert fetched(site, folder).path.is_file()


def test_a_file_of_which_only_the_checksum_is_known_is_verified_by_it(site: Site, folder: Path) -> None:
    file_of(site)["hashes"] = {"CRC32": "00000000"}
    assert "hash" in fails(site, folder)


@pytest.mark.parametrize("hashes", [{}, None, {"SHA256": "abc"}, {"AutoV2": ""}, {"BLAKE3": "0" * 64}])
def test_a_file_without_a_hash_that_can_be_checked_is_not_kept(hashes: Any, site: Site, folder: Path) -> None:
    file_of(site)["hashes"] = hashes
    assert "no hash" in fails(site, folder)


def test_a_file_larger_than_the_site_says_is_stopped(site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_SLACK", 0)
    file_of(site)["sizeKB"] = 1
    assert "larger than Civitai says" in fails(site, folder)


def test_a_file_that_never_ends_is_stopped(site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "MAX_SIZE", 5000)
    file_of(site)["sizeKB"] = None

    def endless(handler: Any, asked: Any) -> bool:
        if asked.path != "/file/400":
            return False
        handler.send_response(200)
        handler.send_header("Content-Type", "application/octet-stream")
        handler.send_header("Connection", "close")
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 4096)

    site.faults.append(endless)
    assert "larger than Civitai says" in fails(site, folder)


def test_a_length_that_is_too_short_gives_no_file(site: Site, folder: Path) -> None:
    site.says_length = 10
    assert "not the file" in fails(site, folder)


def test_a_length_that_is_too_long_gives_the_file_or_none(site: Site, folder: Path) -> None:
    site.says_length = 10**9
    file_of(site)["sizeKB"] = 2e6
    try:
        assert fetched(site, folder).path.read_bytes() == site.contents[400]
    except CivitaiError:
        assert not list(folder.glob("*.pt"))


def test_a_page_in_place_of_a_file_is_said(site: Site, folder: Path) -> None:
    def page(handler: Any, asked: Any) -> bool:
        if asked.path == "/file/400":
            handler.answer(200, b"<html>", "text/html; charset=utf-8")
        return asked.path == "/file/400"

    site.faults.append(page)
    assert "a page instead of the file" in fails(site, folder)


def test_a_download_of_which_the_address_expired_is_asked_for_anew(site: Site, folder: Path) -> None:
    site.refuses(503, 1, "/file/400", Retry_After="0")
    fetched(site, folder)
    assert site.paths().count("/api/download/models/400") == 2


def test_a_disk_without_room_is_said_before_anything_is_fetched(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(free=1000))
    assert "no room" in fails(site, folder)
    assert not site.paths("store")


@dataclass
class Usage:
    free: int


def test_a_part_that_nobody_wants_any_more_is_swept_away(site: Site, folder: Path) -> None:
    folder.mkdir()
    old = folder / ".hypernet-0123456789abcdef0123.part"
    old.write_bytes(b"x")
    os.utime(old, (time.time() - 8 * 24 * 3600,) * 2)
    fetched(site, folder)
    assert not old.exists()


# What arrives


def test_a_pickle_is_kept_as_safetensors_where_that_is_wanted(site: Site, folder: Path) -> None:
    got = fetched(site, folder, as_safetensors=True)
    assert got.path.name == "Ink wash.safetensors" and not got.pickle
    assert hypernet.load(got.path).widths == (16, 24)
    assert not list(folder.glob("*.pt"))
    assert fetched(site, folder).already, "it is known again, though its hash is another"


def test_a_pickle_that_is_here_gets_a_safe_copy_beside_it(site: Site, folder: Path) -> None:
    pickle = fetched(site, folder)
    assert pickle.pickle
    assert safe_copy(pickle.path) == folder / "Ink wash.safetensors"
    assert fetched(site, folder, as_safetensors=True).path == folder / "Ink wash.safetensors"
    assert pickle.path.is_file()


def test_a_file_is_named_for_what_it_is_and_not_for_what_it_says(site: Site, folder: Path) -> None:
    file_of(site)["name"] = "ink.safetensors"
    assert fetched(site, folder).path.name == "ink.pt"


@pytest.mark.parametrize("content", [b"MZ" + b"\0" * 500, b"<html>", b"PK\3\4" + b"\0" * 100, b"\x80\2cos\nsystem\n."])
def test_a_file_that_our_reader_refuses_is_not_kept(content: bytes, site: Site, folder: Path) -> None:
    site.models.clear()
    site.add(4, "Bad", content)
    assert fails(site, folder).startswith("Bad.pt: ")


def test_a_file_that_the_sites_scan_warns_of_is_kept_only_as_safetensors(site: Site, folder: Path) -> None:
    file_of(site)["pickleScanResult"] = "Danger"
    assert "only be kept as .safetensors" in fails(site, folder)
    assert fetched(site, folder, as_safetensors=True).path.suffix == ".safetensors"


# Names and neighbours


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../evil.pt", "_.._evil.pt"),
        ("/etc/cron.d/evil.pt", "_etc_cron.d_evil.pt"),
        ("C:\\Windows\\evil.pt", "C_Windows_evil.pt"),
        ("CON.pt", "_CON.pt"),
        ("aux.v2.pt", "_aux.v2.pt"),
        ("a\x00b\x1b[31m\u202e.pt", "a_b_[31m_.pt"),
        ("...", "civitai-400.pt"),
        ("", "Ink wash.pt"),
        ("x" * 400 + ".pt", "x" * 150 + ".pt"),
        ("画" * 100 + ".pt", "画" * 50 + ".pt"),
    ],
)
def test_a_name_from_the_site_is_only_ever_a_name(name: str, kept: str, site: Site, folder: Path) -> None:
    file_of(site)["name"] = name
    got = fetched(site, folder)
    assert got.path.parent == folder and got.path.is_file()
    assert got.path.name == kept


def test_another_file_of_the_name_stays_and_so_do_its_notes(site: Site, folder: Path) -> None:
    mine = folder / "ink WASH.safetensors"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    mine.with_suffix(".json").write_text('{"notes": "mine"}')
    got = fetched(site, folder)
    assert got.path.name == "Ink wash-400.pt"
    assert mine.read_bytes() == b"mine"
    assert mine.with_suffix(".json").read_text() == '{"notes": "mine"}'


def test_a_file_that_is_here_already_is_not_downloaded_again(site: Site, folder: Path) -> None:
    fetched(site, folder)
    assert fetched(site, folder).already
    assert site.paths("store").count("/file/400") == 1


def test_a_file_that_is_elsewhere_in_the_library_is_not_downloaded_again(site: Site, folder: Path) -> None:
    mine = folder / "old" / "renamed.pt"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(site.contents[400])
    library = Library([folder])
    library.sha256(library.entries()[0])
    got = fetched(site, folder, library=library)
    assert (got.path, got.already) == (mine, True)
    assert mine.with_name("renamed.preview.png").is_file()


def test_what_the_user_wrote_stays(site: Site, folder: Path) -> None:
    folder.mkdir()
    mine = {
        "activation text": "my words",
        "preferred weight": 0.3,
        "other program": [1],
        "hypernet": {"cfg": 5, "x": 1},
    }
    (folder / "Ink wash.json").write_text(json.dumps(mine))
    (folder / "Ink wash.png").write_bytes(b"mine")
    got = fetched(site, folder)
    stored = json.loads((folder / "Ink wash.json").read_text())
    assert (stored["activation text"], stored["preferred weight"], stored["other program"]) == ("my words", 0.3, [1])
    assert (stored["hypernet"]["cfg"], stored["hypernet"]["x"], stored["hypernet"]["steps"]) == (5, 1, 15)
    assert got.preview is None and sidefiles.preview(got.path) == folder / "Ink wash.png"


def test_a_side_file_that_is_a_link_is_not_written_through(site: Site, folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    outside = tmp_path / "outside"
    outside.write_text("{}")
    try:
        (folder / "Ink wash.json").symlink_to(outside)
    except OSError:
        pytest.skip("no links here")
    with pytest.raises(HypernetError, match="is a link"):
        fetched(site, folder)
    assert outside.read_text() == "{}"


# The preview


def test_a_picture_for_adults_becomes_the_preview_only_where_that_is_wanted(site: Site, folder: Path) -> None:
    image = site.models[0]["modelVersions"][0]["images"][0]
    image["nsfwLevel"] = 16
    assert fetched(site, folder).preview is None
    assert fetched(site, folder, adult=True).preview is not None


def test_a_safe_picture_goes_before_the_first(site: Site, folder: Path) -> None:
    site.pictures["/image/safe.jpeg"] = png(3)
    images = site.models[0]["modelVersions"][0]["images"]
    images[0]["nsfw"], images[0]["nsfwLevel"] = "X", None
    images.append(site.image("/image/film.mp4", type="video"))
    images.append(site.image("/image/safe.jpeg"))
    preview = fetched(site, folder).preview
    assert preview is not None and preview.read_bytes() == png(3)


@pytest.mark.parametrize("picture", [b"<svg onload='alert(1)'/>", b"", b"GIF8", b"x" * 100])
def test_what_is_no_picture_becomes_no_preview(picture: bytes, site: Site, folder: Path) -> None:
    for path in site.pictures:
        site.pictures[path] = picture
    got = fetched(site, folder)
    assert got.preview is None and "no preview" in got.notes[0]
    assert not list(folder.glob("*.preview.*"))


def test_a_picture_that_is_missing_costs_nothing_but_a_note(site: Site, folder: Path) -> None:
    site.pictures.clear()
    assert fetched(site, folder).notes


def test_the_preview_keeps_the_suffix_of_what_is_in_it(site: Site, folder: Path) -> None:
    for path in site.pictures:
        site.pictures[path] = b"\xff\xd8\xff\xe0" + b"\0" * 20
    assert fetched(site, folder).preview == folder / "Ink wash.preview.jpeg"
