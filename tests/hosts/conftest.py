"""The hosts that tests run against: a fake in this process, and a real one where its folder is given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts import nets
from tests.hosts.fake_host import fake_host

REAL = {
    "a1111": "AUTOMATIC1111's stable-diffusion-webui",
    "forge": "stable-diffusion-webui-forge",
    "reforge": "stable-diffusion-webui-reForge",
    "reforge4": "stable-diffusion-webui-reForge's gradio 4 branch",
    "classic": "sd-webui-forge-classic",
    "neo": "sd-webui-forge-classic's neo branch",
}


def folder_of(kind: str) -> Path:
    """The folder of that host, one of `REAL`; skips the test where none is given."""
    variable = f"HYPERNET_{kind.upper()}"
    root = os.environ.get(variable)
    if not root:
        pytest.skip(f"{variable} names no folder of {REAL[kind]}")
    return Path(root)


@pytest.fixture(scope="session", params=["fake", *REAL])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A running host with the extension and the networks of `nets` in a folder of its own."""
    if request.param == "fake":
        with fake_host(tmp_path_factory.mktemp("fake")) as fake:
            nets.write(fake.folder, fake.state()["widths"])
            yield fake
        return
    from tests.hosts.real import running

    with running(folder_of(request.param), request.param) as real:
        nets.write(real.folder, real.state()["widths"])
        real.call("/hypernet/v1/refresh", {})
        yield real


@pytest.fixture(autouse=True)
def _as_before(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "host" in request.fixturenames:
        request.getfixturevalue("host").fail("")
