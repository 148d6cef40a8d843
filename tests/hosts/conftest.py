"""The hosts that tests run against: a fake in this process, and each real one whose folder is given."""

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


FOLDERS = {kind: Path(os.environ[name]) for kind in REAL if os.environ.get(name := f"HYPERNET_{kind.upper()}")}
"""Kind -> the folder of that host, as its environment variable says."""


def variable_of(item: pytest.Item) -> str | None:
    """The environment variable that says where this test's real host is, if it needs one."""
    if "real" in getattr(item, "fixturenames", ()):
        return "HYPERNET_SDNEXT_URL"
    kind = item.callspec.params.get("host") if hasattr(item, "callspec") else None
    return f"HYPERNET_{kind.upper()}" if kind in REAL else None


absent: set[str] = set()
"""The variables that are wanted and not set."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests of hosts that are not here. As skips they would hide all others."""
    here, left_out = [], []
    for item in items:
        variable = variable_of(item)
        if variable and not os.environ.get(variable):
            absent.add(variable)
            left_out.append(item)
        else:
            here.append(item)
    items[:] = here
    config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for all hosts that are not here."""
    if absent:
        terminalreporter.line(f"Real hosts not tested (docs/hosts.md says how): set {', '.join(sorted(absent))}")


@pytest.fixture(scope="session", params=["fake", *REAL])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A running host with the extension and the networks of `nets` in a folder of its own."""
    if request.param == "fake":
        with fake_host(tmp_path_factory.mktemp("fake")) as fake:
            nets.write(fake.folder, fake.state()["widths"])
            yield fake
        return
    from tests.hosts.real import running

    with running(FOLDERS[request.param], request.param) as real:
        nets.write(real.folder, real.state()["widths"])
        real.call("/hypernet/v1/refresh", {})
        yield real


@pytest.fixture(autouse=True)
def _as_before(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "host" in request.fixturenames:
        request.getfixturevalue("host").fail("")
