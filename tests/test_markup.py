"""What is shown as HTML somewhere has no markup of a stranger in it. In a real browser: tests/hosts/test_browser.py."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hypernet.hosts.a1111 import A1111
from hypernet.library import Library
from hypernet.ui import infotext


def test_a_pasted_picture_brings_no_markup_into_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """gradio 4 puts messages into the page as HTML."""
    shown: list[str] = []
    monkeypatch.setitem(sys.modules, "gradio", SimpleNamespace(Warning=shown.append))
    host: Any = None
    params = {"Prompt": "a cat <hypernet:<img src=x onerror=alert(1)>:1>", infotext.KEY: "<b>: 0123456789"}
    infotext.pasted(params, Library([tmp_path]), lambda text: A1111.tell(host, text))
    (message,) = shown
    assert "img src=x" in message
    assert not set("<>") & set(message)
