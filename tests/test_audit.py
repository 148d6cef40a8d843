"""The audit of pinned versions, against a database of our own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.test_package import ROOT


@contextmanager
def database(bad: str) -> Iterator[str]:
    """One that knows an advisory on the package `bad`; its address."""

    class Database(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            known = [{"vulns": [{"id": "X-1"}]} if q["package"]["name"] == bad else {} for q in asked["queries"]]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"results": known}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Database)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def audit(address: str) -> subprocess.CompletedProcess[str]:
    world = {**os.environ, "HYPERNET_ADVISORIES": address, "no_proxy": "*"}
    return subprocess.run([sys.executable, ROOT / "tools" / "audit.py"], env=world, capture_output=True, text=True)


@pytest.mark.parametrize("name", ["torch", "numpy", "pytest"])
def test_an_advisory_on_what_is_pinned_is_told(name: str) -> None:
    with database(name) as address:
        done = audit(address)
    assert done.returncode == 1
    assert f"{name} " in done.stdout and "X-1" in done.stdout


def test_without_advisories_all_is_well() -> None:
    with database("no-such-package") as address:
        assert audit(address).returncode == 0


def test_a_database_that_cannot_be_asked_is_not_taken_for_a_clean_one() -> None:
    done = audit("http://127.0.0.1:9")
    assert done.returncode == 2
    assert "Not audited" in done.stderr
