"""`search`, `get` and `lookup`, as typed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("typer")
pytest.importorskip("requests")

from typer.testing import CliRunner

from hypernet.cli.commands import app
from tests.civitai_site import Site, pickled, running

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def site() -> Iterator[Site]:
    with running(one_host=True) as site:
        site.add(4, "Ink wash", pickled())
        yield site


@pytest.fixture
def run(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty folder -> exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CIVITAI_SITE", site.url)
    for name in ("HYPERNETWORKS", "CIVITAI_API_KEY", "CIVITAI_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return run


def test_a_search_lists_what_can_be_got(run: Run) -> None:
    code, out, _ = run("search", "ink")
    assert code == 0
    assert "Ink wash" in out and "SD 1.5" in out and "painter" in out


def test_a_search_without_a_result_says_so(run: Run) -> None:
    code, out, err = run("search", "nothing of the kind")
    assert (code, out) == (0, "") and "no such hypernetwork" in err


def test_a_search_tells_programs_the_same(run: Run) -> None:
    told = json.loads(run("search", "--json")[1])
    assert told["models"][0]["versions"][0]["id"] == 400
    assert told["cursor"] == ""


def test_a_file_is_got_with_its_settings(run: Run, tmp_path: Path) -> None:
    code, out, err = run("get", "4")
    assert code == 0
    for piece in ("Ink wash.pt", "0.55 to 1, best 0.7", "DPM++ SDE Karras", "15", "ink style"):
        assert piece in out
    assert "pickle" in err
    assert (tmp_path / "hypernetworks" / "Ink wash.pt").is_file()


def test_a_file_goes_into_the_folder_that_is_given(run: Run, tmp_path: Path) -> None:
    told = json.loads(run("get", "4@400", "--safetensors", "-H", str(tmp_path / "there"), "--json")[1])
    assert told["path"] == str(tmp_path / "there" / "Ink wash.safetensors")
    assert (told["range"], told["strength"], told["cfg"]) == ([0.55, 1.0], 0.7, 7.0)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [("ink", "address of a page"), ("https://example.com/models/4", "is not Civitai"), ("5", "No model with id 5")],
)
def test_what_can_not_be_got_is_said_in_a_sentence(wanted: str, said: str, run: Run) -> None:
    code, out, err = run("get", wanted)
    assert (code, out) == (1, "") and said in err


def test_ones_own_files_are_looked_up(run: Run, site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "hypernetworks"
    folder.mkdir(parents=True)
    (folder / "mine.pt").write_bytes(site.contents[400])
    (folder / "own.pt").write_bytes(pickled(7))
    code, out, _ = run("lookup", "--dry-run")
    assert code == 0 and "Ink wash" in out
    assert not list(folder.glob("*.json"))
    told = json.loads(run("lookup", "mine", "--json")[1])
    assert [(one["name"], one["model"], one["newer"]) for one in told] == [("mine", 4, None)]
    assert (folder / "mine.preview.png").is_file()


def test_a_newer_version_is_told_with_the_command_that_gets_it(run: Run, site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "hypernetworks"
    folder.mkdir()
    (folder / "mine.pt").write_bytes(site.contents[400])
    later = site.version(401, b"x", "b.pt", name="v2", publishedAt="2024-01-01T00:00:00.000Z")
    site.models[0]["modelVersions"].insert(0, later)
    assert "v2 (hypernet get 4@401)" in run("lookup")[1]


def test_a_name_that_is_not_there_is_not_looked_up(run: Run, site: Site) -> None:
    code, _, err = run("lookup", "ink")
    assert code == 1 and "There is no hypernetwork “ink”" in err
    assert site.asked == []
