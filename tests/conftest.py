"""For every test: one thread, as small tensors gain nothing from more; no time limit; and no network."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)
settings.register_profile("no time limit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no time limit")

asked: list[str] = []
"""Attempts to reach beyond this machine."""


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if event not in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto"):
        return
    target = arguments[0] if event.startswith("socket.get") else arguments[1]
    host = target[0] if isinstance(target, tuple) and target else target  # a text or None: this machine's own sockets
    there = isinstance(target, tuple) or event.startswith("socket.get")
    if there and host not in (None, "", "localhost", "127.0.0.1", "::1", b"localhost", b"127.0.0.1"):
        asked.append(f"{event} {target!r}")
        raise PermissionError(f"a test reached for the network: {target!r}")


sys.addaudithook(_refuse)


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    yield
    told = list(asked)
    asked.clear()
    assert not told


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command of ours in an empty folder -> exit code, stdout, stderr."""
    pytest.importorskip("typer")
    from typer.testing import CliRunner

    from hypernet.cli.commands import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYPERNETWORKS", raising=False)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return run
