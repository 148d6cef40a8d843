"""A folder of hypernetworks at a time."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import hypernet
from hypernet import HypernetError, Metadata
from hypernet.convert.folder import convert_folder, duplicates, fingerprint, survey
from tests.conftest import Run
from tests.unets import network


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two networks; of one also a copy, another container and half precision; and three files that can't be used."""
    made = tmp_path / "networks"
    (made / "sub").mkdir(parents=True)
    hypernet.save(network(seed=1), made / "ink.pt")
    shutil.copy(made / "ink.pt", made / "sub" / "copy.pt")
    hypernet.save(network(seed=1), made / "sub" / "other.safetensors")
    hypernet.save(network(seed=1), made / "half.pt", dtype=torch.float16)
    relu = Metadata(activation_func="relu", activate_output=False, step=700)
    hypernet.save(replace(network(seed=1, kind="relu"), metadata=relu), made / "relu.pt")
    (made / "page.pt").write_text("<!doctype html>")
    (made / "cut.pt").write_bytes((made / "ink.pt").read_bytes()[:-1000])
    (made / "empty.safetensors").write_bytes(b"")
    (made / "ink.preview.png").write_bytes(b"x")
    return made


def test_each_file_is_told_of_and_why_it_can_not_be_used(folder: Path) -> None:
    reports = {report.file: report for report in survey(folder)}
    assert len(reports) == 8
    problems = {file: report.problem for file, report in reports.items() if report.problem}
    assert set(problems) == {"page.pt", "cut.pt", "empty.safetensors"}
    assert "web page" in str(problems["page.pt"])
    assert reports["relu.pt"].summary is not None and reports["relu.pt"].summary.activation == "relu"


def test_duplicates_are_found_by_bytes_and_by_weights(folder: Path) -> None:
    found = duplicates(survey(folder))
    assert found.same_file == (("ink.pt", "sub/copy.pt"),)
    assert [set(group) for group in found.same_network] == [{"half.pt", "ink.pt", "sub/other.safetensors"}]


def test_networks_that_differ_in_an_activation_or_a_weight_are_no_duplicates() -> None:
    linear, relu = network(seed=1), network(seed=1, kind="relu")
    assert len({fingerprint(made) for made in (linear, relu, network(seed=2))}) == 3


def test_a_folder_is_converted_file_by_file_and_nothing_is_lost_or_replaced(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    results = {result.file: result for result in convert_folder(folder)}
    assert {path: path.read_bytes() for path in before} == before
    assert {file for file, result in results.items() if result.target} == {
        "ink.pt",
        "half.pt",
        "relu.pt",
        "sub/copy.pt",
    }
    assert {file for file, result in results.items() if result.problem} == {"page.pt", "cut.pt"}
    assert set(results) == {path.relative_to(folder).as_posix() for path in before if path.suffix != ".png"}
    one, two = hypernet.load(folder / "relu.pt"), hypernet.load(folder / "relu.safetensors")
    assert fingerprint(one) == fingerprint(two)
    assert two.metadata == one.metadata
    again = convert_folder(folder)
    assert not [result for result in again if result.target]


def test_another_folder_takes_what_is_made_in_the_same_places(folder: Path, tmp_path: Path) -> None:
    convert_folder(folder, tmp_path / "out", suffix=".pt", dtype=torch.float16)
    made = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    assert made == {"ink.pt", "half.pt", "relu.pt", "sub/copy.pt", "sub/other.pt"}


def test_two_files_that_would_become_one_are_not_both_written(tmp_path: Path) -> None:
    hypernet.save(network(seed=1), tmp_path / "in.pt")
    (tmp_path / "a").mkdir()
    for name, seed in (("ink.pt", 1), ("ink.safetensors", 2)):
        hypernet.save(network(seed=seed), tmp_path / "a" / name)
    results = convert_folder(tmp_path / "a", tmp_path / "out")
    assert [bool(result.target) for result in results] == [True, False]
    assert "goes there" in str(results[1].skipped)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HypernetError, match="no such folder"):
        survey(tmp_path / "nowhere")


def test_info_of_a_folder_as_table_json_and_csv(folder: Path, run: Run) -> None:
    code, out, _ = run("info", folder)
    assert code == 0
    for told in ("ink.pt = sub/copy.pt", "Can't be used:", "page.pt: it is a web page", "5 of 8 files can be used"):
        assert told in out
    told_json = json.loads(run("info", folder, "--json")[1])
    assert told_json["same_file"] == [["ink.pt", "sub/copy.pt"]]
    assert {file["file"]: file["step"] for file in told_json["files"]}["relu.pt"] == 700
    rows = {row["file"]: row for row in csv.DictReader(io.StringIO(run("info", folder, "--csv")[1]))}
    assert rows["relu.pt"]["widths"] == "16 24 32"
    assert rows["relu.pt"]["activation"] == "relu"
    assert rows["page.pt"]["problem"].startswith("it is a web page")


def test_a_cell_is_no_formula(tmp_path: Path, run: Run) -> None:
    hypernet.save(network(seed=1), tmp_path / "=cmd.pt")
    assert "\n'=cmd.pt," in run("info", tmp_path, "--csv")[1]


def test_convert_of_a_folder_tells_what_it_did_and_fails_if_a_file_did(folder: Path, run: Run) -> None:
    code, out, err = run("convert", folder)
    assert code == 1
    assert "4 of 8 files converted." in out
    assert "page.pt: it is a web page" in out
    assert "2 files can't be used" in err
    for path in ("page.pt", "cut.pt"):
        (folder / path).unlink()
    code, _, err = run("convert", folder)
    assert code == 0
    assert "ink.safetensors is there already" in err


@pytest.mark.parametrize("arguments", [("--csv", "--json"), ("--csv",)])
def test_options_that_make_no_sense_are_refused(arguments: tuple[str, ...], folder: Path, run: Run) -> None:
    assert run("info", folder / "ink.pt", *arguments)[0] == 2
