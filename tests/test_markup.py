"""Nothing that is shown as HTML has a stranger's markup in it. For a real browser see tests/hosts/test_browser.py."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hypernet.library import Library
from hypernet.tags import parse
from hypernet.webui import api, infotext
from hypernet.webui.catalogue import Catalogue
from hypernet.webui.dialects.a1111 import A1111


def catalogue_of(folder: Path) -> Catalogue:
    places: Any = SimpleNamespace(
        model_dirs=lambda: (folder,),
        cache_dir=lambda: None,
        may_hash=lambda: True,
        option=lambda key, default: default,
        publish=lambda files: None,
    )
    return Catalogue(places)


def test_a_pasted_picture_brings_no_markup_into_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """gradio 4 puts messages into the page as HTML."""
    shown: list[str] = []
    monkeypatch.setitem(sys.modules, "gradio", SimpleNamespace(Warning=shown.append))
    host: Any = None
    params = {"Prompt": "a cat <hypernet:<img src=x onerror=alert(1)>:1>", infotext.KEY: "<b>: 0123456789"}
    infotext.pasted(params, Library([tmp_path]), lambda text: A1111.warn(host, text))
    assert not shown  # a name has no < in it
    A1111.warn(host, "The hypernetwork “<img src=x onerror=alert(1)>” is not here.")
    (message,) = shown
    assert "img src=x" in message
    assert not set("<>") & set(message)


@pytest.mark.skipif(sys.platform != "linux", reason="only there a name may be any bytes")
def test_a_name_that_is_no_text_does_not_break_the_list_of_all(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.pt")).write_bytes(b"")
    (tmp_path / "ink.pt").write_bytes(b"")
    catalogue = catalogue_of(tmp_path)
    listed = json.dumps(api.listing(catalogue), ensure_ascii=False, allow_nan=False).encode()
    assert {each["name"] for each in json.loads(listed)} == {"ink", "_"}


def test_half_a_letter_in_a_side_file_breaks_nothing(tmp_path: Path) -> None:
    (tmp_path / "ink.pt").write_bytes(b"")
    for ending in (".json", ".civitai.info"):
        (tmp_path / f"ink{ending}").write_text(
            '{"notes": "\\ud800 x", "name": "\\udfff", "model": {"name": "\\ud800"}}'
        )
    catalogue = catalogue_of(tmp_path)
    (entry,) = catalogue.entries()
    told = json.dumps(api.details(catalogue, entry), ensure_ascii=False, allow_nan=False).encode()
    assert json.loads(told)["notes"] == "? x"


HUGE = 200_000


@pytest.mark.parametrize(
    "text", [" " * HUGE, "a" * HUGE, "a: " * HUGE, ": 0123456789," * HUGE, "a: 0123456789,  " * HUGE], ids=range(5)
)
def test_no_pasted_text_takes_long_to_read(text: str) -> None:
    begin = time.process_time()
    infotext.read(text)
    assert time.process_time() - begin < 5


@pytest.mark.parametrize("text", ["<hypernet:" * HUGE, "<hypernet:a:1>" * 20_000, "<hypernet:a" + ":1" * HUGE + ">"])
def test_no_prompt_takes_long_to_read(text: str) -> None:
    begin = time.process_time()
    parse(text)
    assert time.process_time() - begin < 5


def test_a_pasted_prompt_of_many_names_is_not_looked_up_for_ever(tmp_path: Path) -> None:
    told: list[str] = []
    prompt = "".join(f"<hypernet:gone-{number}:1>" for number in range(10_000))
    params: dict[str, Any] = {"Prompt": prompt}
    infotext.pasted(params, Library([tmp_path]), told.append)
    assert params["Prompt"] == prompt
    assert 0 < len(told) < 100
