"""Favourites and uses outlive renaming, and a broken file of ours costs only itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypernet.library import Entry, Stamp
from hypernet.webui.memory import Memory


def entry(name: str) -> Entry:
    return Entry(name, Path("/networks") / f"{name}.pt", Path("/networks"), f"{name}.pt", Stamp(0, 1, 1))


def test_a_favourite_and_a_use_are_there_after_a_restart(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "cards.json", lambda its: "ab")
    memory.set_favourite(entry("ink"), True)
    memory.note_use([entry("ink")], lambda: 5.0)
    memory.note_use([entry("ink")], lambda: 7.0)
    again = Memory(tmp_path / "cards.json", lambda its: "ab")
    assert again.of(entry("ink")) == {"favourite": True, "uses": 2, "used": 7.0}


def test_it_belongs_to_the_content_of_a_file_once_that_is_known(tmp_path: Path) -> None:
    digests: dict[str, str] = {}
    memory = Memory(tmp_path / "cards.json", lambda its: digests.get(its.name))
    memory.set_favourite(entry("ink"), True)
    digests.update(ink="ab", renamed="ab")
    assert memory.of(entry("ink")) == {"favourite": True}
    assert memory.of(entry("renamed")) == {"favourite": True}
    assert memory.of(entry("other")) == {}


@pytest.mark.parametrize("text", ["", "[]", '{"networks": 3}', '{"networks": {"ab": {"favourite": "x", "used": "y"}}}'])
def test_a_broken_file_says_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cards.json"
    file.write_text(text, encoding="utf-8")
    memory = Memory(file, lambda its: "ab")
    assert memory.of(entry("ink")) == {}
    memory.set_favourite(entry("ink"), True)
    assert Memory(file, lambda its: "ab").of(entry("ink")) == {"favourite": True}


def test_without_a_place_it_lasts_as_long_as_the_process() -> None:
    memory = Memory(None, lambda its: None)
    memory.set_favourite(entry("ink"), True)
    assert memory.of(entry("ink")) == {"favourite": True}
