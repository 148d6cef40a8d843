"""`list`, `info` and `convert`: commands about files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hypernet.cli import folders
from hypernet.cli.console import note, out, show_json, table, waiting
from hypernet.cli.options import AsJson, Folders, Force, folders_or_usual
from hypernet.errors import HypernetError
from hypernet.text import size_in_words

if TYPE_CHECKING:
    from hypernet.files import Summary
    from hypernet.library import Entry
    from hypernet.network import Metadata, Net, Network


def list_files(folders: Folders = None, as_json: AsJson = False) -> None:
    """List the hypernetworks that a prompt can name.

    [bold]Examples[/bold]

    hypernet list

    hypernet list -H models/hypernetworks --json
    """
    from hypernet.library import Library

    library = Library(folders_or_usual(folders))
    entries = library.entries()
    for problem in library.problems:
        note(problem)
    if as_json:
        show_json([_listed(entry) for entry in entries])
        return
    if not entries:
        note("There are no hypernetworks here: put .pt or .safetensors files into models/hypernetworks, or give -H.")
        return
    rows = ((f"<hypernet:{entry.name}:1>", size_in_words(entry.stamp.size), entry.path) for entry in entries)
    out.print(table("tag", ">size", "file", rows=rows))


def _listed(entry: Entry) -> dict[str, Any]:
    return {"name": entry.name, "path": entry.shown_path, "size": entry.stamp.size}


def info(
    file: Annotated[Path, typer.Argument(help="A hypernetwork file, .pt or .safetensors, or a folder of them.")],
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Of a folder: print CSV, for spreadsheets.")] = False,
) -> None:
    """Show what is in a hypernetwork file: structure, activation, widths, training, weights.

    Of a folder: what is in each file, what is there twice, and what can't be used and why.

    [bold]Examples[/bold]

    hypernet info ink.pt

    hypernet info ink.safetensors --json

    hypernet info models/hypernetworks --csv > files.csv
    """
    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    if file.is_dir():
        folders.info(file, as_json, as_csv)
        return
    if as_csv:
        raise typer.BadParameter("--csv is for a folder; a file has --json")
    from hypernet.files import load, peek
    from hypernet.library.hashes import sha256

    with waiting(f"Reading {file.name}"):
        summary, network = peek(file), load(file)
        digest = sha256(file)
    about = {"file": file.name, "size": file.stat().st_size, "sha256": digest}
    if as_json:
        norms = {str(width): {"k": norm(pair.k), "v": norm(pair.v)} for width, pair in network.pairs.items()}
        show_json(about | _facts(summary) | {"weight_norms": norms})
        return
    out.print(table("", "", rows=_described(about, summary)))
    out.print()
    out.print(table(">width", ">K norm", ">V norm", "acts on", rows=_norms(network)))


def _described(about: dict[str, Any], summary: Summary) -> Iterator[tuple[object, ...]]:
    yield "file", about["file"]
    yield "size", f"{size_in_words(about['size'])}, {summary.parameters:,} weights in {summary.dtype}"
    yield "sha256", about["sha256"]
    yield "kind", f"{summary.generation}, {summary.container}"
    yield "base", summary.base
    yield "structure", " → ".join(f"{factor:g}" for factor in summary.structure)
    yield "activation", summary.activation + (", also after the last layer" if _active_output(summary) else "")
    yield "layer norm", "yes" if summary.layer_norm else "no"
    if summary.residual:
        yield "skip paths", "yes"
    yield "cost", "none once folded: it is linear" if summary.linear else "its own layers run in self-attention"
    yield from _training(summary.metadata)


def _active_output(summary: Summary) -> bool:
    return summary.activation != "linear" and summary.activate_output


_TOLD = ("name", "step", "sd_checkpoint_name", "sd_checkpoint", "weight_initialization", "optional_info")


def _training(metadata: Metadata) -> Iterator[tuple[str, object]]:
    """What the file says about how it was made."""
    for name in _TOLD:
        value = getattr(metadata, name)
        if value is not None:
            yield name.replace("_", " "), value
    if any(metadata.dropout_structure or ()):
        yield "dropout", " → ".join(f"{chance:g}" for chance in metadata.dropout_structure or ())
    elif metadata.use_dropout:
        yield "dropout", "yes"


def _norms(network: Network) -> Iterator[tuple[object, ...]]:
    from hypernet.network import TEXT_WIDTHS

    for width in network.widths:
        place = f"the text ({TEXT_WIDTHS[width]})" if width in TEXT_WIDTHS else "the picture, or another model's text"
        pair = network.pairs[width]
        yield width, f"{norm(pair.k):.4g}", f"{norm(pair.v):.4g}", place


def _facts(summary: Summary) -> dict[str, Any]:
    facts = {field.name: getattr(summary, field.name) for field in fields(summary) if field.name != "metadata"}
    metadata = {field.name: getattr(summary.metadata, field.name) for field in fields(summary.metadata)}
    metadata["extra"] = sorted(summary.metadata.extra)  # only their names, as they may hold anything
    return facts | {"metadata": metadata}


def norm(net: Net) -> float:
    """The Euclidean norm of all its weights."""
    return float(sum(float(tensor.double().square().sum()) for tensor in net.tensors()) ** 0.5)


def convert(
    source: Annotated[Path, typer.Argument(help="The file to read, or a folder of them.")],
    target: Annotated[
        Path | None,
        typer.Argument(
            help="The file to write; .pt or .safetensors says how. For a folder: another folder, or beside the files.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="KIND", help="For a folder: safetensors (the default) or pt.")
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store float16: half the size, less exact.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Store float32.")] = False,
    force: Force = False,
) -> None:
    """Convert between .pt and .safetensors. Without --half or --full nothing is lost; originals stay as they are.

    [bold]Examples[/bold]

    hypernet convert ink.pt ink.safetensors

    hypernet convert ink.safetensors ink-half.pt --half

    hypernet convert models/hypernetworks

    hypernet convert models/hypernetworks converted --half
    """
    if half and full:
        raise typer.BadParameter("choose either --half or --full")
    if source.is_dir():
        folders.convert(source, target, (to or "safetensors").lower().lstrip("."), half, full, force)
        return
    if to is not None:
        raise typer.BadParameter("--to is for a folder: of a file the target's name says the kind", param_hint="--to")
    if target is None:
        raise typer.BadParameter("give the file to write", param_hint="TARGET")
    if target.exists() and not force:
        raise HypernetError(f"{target} is there already: choose another name, or replace it with --force.")
    import torch

    from hypernet.files import load, save

    with waiting(f"Converting {source.name}"):
        network = load(source, mapped=False)
        save(network, target, dtype=torch.float16 if half else torch.float32 if full else None, overwrite=force)
    rows = [(path.name, size_in_words(path.stat().st_size)) for path in (source, target)]
    out.print(table("file", ">size", rows=rows))
