"""Nothing here uses the network unasked. conftest.py makes sure that no test does either."""

from __future__ import annotations

import ast
import re
import socket

import pytest

from tests.conftest import asked
from tests.test_package import ROOT, importers

LIBRARIES = (
    *("socket", "ssl", "http", "urllib", "ftplib", "smtplib", "xmlrpc", "asyncio"),
    *("requests", "httpx", "aiohttp", "urllib3", "huggingface_hub"),
)


@pytest.mark.parametrize("library", LIBRARIES)
def test_only_what_asks_civitai_imports_what_speaks_to_the_network(library: str) -> None:
    assert importers(library) <= {"civitai"}


SVG_NAMESPACE = "http://www.w3.org/2000/svg"
"""The name that a picture in SVG must carry; nothing is asked there."""


def test_the_browsers_half_names_no_address() -> None:
    files = [ROOT / "style.css", *(ROOT / "javascript").glob("*.js"), *(ROOT / "hypernet" / "webui").rglob("*.py")]
    assert len(files) > 5
    for file in files:
        text = file.read_text(encoding="utf-8").replace(SVG_NAMESPACE, "")
        assert not re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", text, re.IGNORECASE), file


def test_models_are_only_looked_for_on_disk() -> None:
    found = 0
    for file in (ROOT / "hypernet").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if getattr(getattr(node, "func", None), "attr", "") in ("from_pretrained", "from_single_file"):
                assert isinstance(node, ast.Call)
                assert "local_files_only=True" in [ast.unparse(keyword) for keyword in node.keywords], file
                found += 1
    assert found


def test_the_watch_over_the_tests_sees_and_stops_a_request() -> None:
    with pytest.raises(PermissionError):
        socket.create_connection(("example.org", 80), timeout=1)
    with pytest.raises(PermissionError):
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9))
    assert len(asked) == 2
    asked.clear()
