"""What a page asks for: search, previews, and tasks in the background."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("requests")

from hypernet.civitai import CivitaiError, Tasks, Watch, tasks
from hypernet.civitai.backend import Backend
from hypernet.library import Library
from tests.civitai_site import KEY, Site, pickled, running


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with running(one_host=True) as site:
        site.add(4, "Ink wash", pickled())
        monkeypatch.setenv("CIVITAI_SITE", site.url)
        yield site


@pytest.fixture
def changed() -> list[int]:
    """One for each time that the backend says that files changed."""
    return []


@pytest.fixture
def backend(site: Site, tmp_path: Path, changed: list[int]) -> Iterator[Backend]:
    library = Library([tmp_path])
    backend = Backend(lambda: library, lambda: KEY, lambda: changed.append(1))
    yield backend
    backend.close()


def done(backend: Backend, state: dict[str, Any]) -> dict[str, Any]:
    """The state of a task when it has ended."""
    while not state["finished"]:
        time.sleep(0.01)
        state = backend.state(state["task"])
    return state


def test_a_search_gives_cards_of_which_the_previews_can_be_asked_for(site: Site, backend: Backend) -> None:
    with pytest.raises(CivitaiError):
        backend.preview(4)
    (card,) = backend.search({"text": "ink", "unknown": 1})["models"]
    assert (card["id"], card["name"], card["versions"][0]["words"]) == (4, "Ink wash", ["ink style", "black ink"])
    content, kind = backend.preview(4)
    assert content.startswith(b"\x89PNG") and kind == "image/png"


def test_a_download_is_a_task_with_an_end(site: Site, backend: Backend, tmp_path: Path, changed: list[int]) -> None:
    state = done(backend, backend.get({"model": "4", "safetensors": True}))
    assert state["error"] is None
    assert state["got"]["path"] == str(tmp_path / "Ink wash.safetensors")
    assert state["got"]["range"] == [0.55, 1.0]
    assert changed == [1]


def test_what_is_no_model_is_said_at_once(backend: Backend, site: Site) -> None:
    with pytest.raises(CivitaiError):
        backend.get({"model": "https://example.com/models/4"})
    with pytest.raises(CivitaiError):
        backend.get({})
    assert site.asked == []


def test_a_download_that_fails_says_why(backend: Backend, site: Site, changed: list[int]) -> None:
    state = done(backend, backend.get({"model": "5"}))
    assert "No model with id 5" in state["error"] and state["got"] is None
    assert changed == []


def test_ones_own_files_are_a_task_too(backend: Backend, site: Site, tmp_path: Path) -> None:
    (tmp_path / "mine.pt").write_bytes(site.contents[400])
    (tmp_path / "own.pt").write_bytes(pickled(9))
    state = done(backend, backend.lookup({}))
    assert [(one["name"], one["title"]) for one in state["looked"]] == [("mine", "Ink wash"), ("own", None)]
    assert [one["name"] for one in done(backend, backend.lookup({"names": ["own", "nothing"]}))["looked"]] == ["own"]


def test_a_task_can_be_stopped(backend: Backend, site: Site, tmp_path: Path) -> None:
    going = threading.Event()

    def wait(handler: Any, asked: Any) -> bool:
        if asked.path.startswith("/file/"):
            going.wait(10)
        return False

    site.faults.append(wait)
    task = backend.get({"model": "4"})["task"]
    backend.cancel(task)
    going.set()
    assert done(backend, backend.state(task))["error"] == "Stopped."
    assert not list(tmp_path.glob("*.pt"))


def test_a_task_that_nobody_started_is_unknown(backend: Backend) -> None:
    with pytest.raises(CivitaiError, match="Nobody knows"):
        backend.state("0123")
    with pytest.raises(CivitaiError, match="Nobody knows"):
        backend.cancel("0123")


def test_only_a_few_tasks_run_at_a_time() -> None:
    some, going = Tasks(), threading.Event()
    numbers = [some.start(lambda watch: going.wait(10)) for _ in range(tasks.MAX_RUNNING)]
    with pytest.raises(CivitaiError, match="running already"):
        some.start(lambda watch: None)
    going.set()
    assert len(set(numbers)) == tasks.MAX_RUNNING


def test_a_task_that_breaks_does_not_take_anything_with_it(caplog: pytest.LogCaptureFixture) -> None:
    def broken(watch: Watch) -> object:
        raise ZeroDivisionError

    some = Tasks()
    number = some.start(broken)
    while (task := some.task(number)) is None or not task.finished:
        time.sleep(0.01)
    assert "not foreseen" in task.error and "ZeroDivisionError" in caplog.text
