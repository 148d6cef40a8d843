"""`info` and `convert` for a folder."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from hypernet.cli.console import clean, copying, fail, note, out, show_json, table
from hypernet.text import json_safe, size_in_words


def info(folder: Path, as_json: bool, as_csv: bool) -> None:
    """What is in each file of a folder, what is there twice, what can't be used."""
    from hypernet.convert.folder import COLUMNS, duplicates, row, survey

    with copying(f"Reading {folder.name}") as begin:
        reports = survey(folder, begin)
    twice = duplicates(reports)
    if as_json:
        files = [{**row(report), "file": json_safe(report.file)} for report in reports]
        show_json({"files": files, "same_file": twice.same_file, "same_network": twice.same_network})
        return
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([[_cell(value) for value in row(report).values()] for report in reports])
        return
    usable = [(report.file, report.size, report.summary) for report in reports if report.summary is not None]
    rows = (
        (
            *(file, size_in_words(nbytes), summary.base, ", ".join(map(str, summary.widths))),
            *(" → ".join(f"{part:g}" for part in summary.structure), summary.activation, summary.dtype),
        )
        for file, nbytes, summary in usable
    )
    out.print(table("file", ">size", "base", "widths", "structure", "activation", "type", rows=rows))
    for heading, groups in (
        ("The same file:", twice.same_file),
        ("The same network, in another container or in half precision:", twice.same_network),
    ):
        _section(heading, [" = ".join(group) for group in groups])
    _section("Can't be used:", [f"{report.file}: {report.problem}" for report in reports if report.problem])
    out.print(f"\n{len(usable)} of {len(reports)} files can be used, {size_in_words(sum(file[1] for file in usable))}.")


def _section(heading: str, lines: Sequence[str]) -> None:
    if lines:
        out.print(f"\n{heading}", markup=False)
        for line in lines:
            out.print(f"  {clean(line)}", markup=False)


def _cell(value: object) -> str:
    """A cell for a spreadsheet, which takes a text that begins like a formula for one."""
    if isinstance(value, (tuple, list)):
        value = " ".join(f"{item:g}" for item in value)
    text = "" if value is None else clean(json_safe(str(value)))
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") and not isinstance(value, (int, float)) else text


def convert(folder: Path, target: Path | None, kind: str, half: bool, full: bool, force: bool) -> None:
    """Every file of a folder in the other container."""
    if kind not in ("safetensors", "pt"):
        raise typer.BadParameter(f"“{clean(kind)}” is neither safetensors nor pt", param_hint="--to")
    import torch

    from hypernet.convert.folder import convert_folder

    dtype = torch.float16 if half else torch.float32 if full else None
    with copying(f"Converting {folder.name}") as begin:
        results = convert_folder(folder, target, suffix=f".{kind}", dtype=dtype, overwrite=force, progress=begin)
    done = [result for result in results if result.target is not None]
    out.print(table("file", "", rows=[(result.file, f"→ {result.target}") for result in done]))
    for result in results:
        if result.skipped:
            note(f"{result.file} was left out: {result.skipped}")
    failed = [result for result in results if result.problem]
    out.print(f"{len(done)} of {len(results)} files converted.", markup=False)
    if failed:
        _section("Can't be converted:", [f"{result.file}: {result.problem}" for result in failed])
        raise fail(f"{len(failed)} files can't be used.")
