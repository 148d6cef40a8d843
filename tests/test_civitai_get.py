"""From Civitai into the folder, against a server that speaks its shapes and misbehaves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("requests")

import hypernet
from hypernet.civitai import get
from hypernet.library import sidefiles
from tests.civitai_site import KEY, Site, pickled, running


@pytest.fixture
def site() -> Iterator[Site]:
    with running() as site:
        site.add(4, "Ink wash", pickled())
        yield site


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "hypernetworks"


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
