"""A folder of hypernetworks: lists them, finds duplicates and unusable files, converts them all.

No file is deleted, and none is replaced without `overwrite`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hypernet.errors import HypernetError, UnreadableFile
from hypernet.files import Summary, load, peek, save
from hypernet.files.weights import raw
from hypernet.library.hashes import sha256
from hypernet.library.scan import Found, scan
from hypernet.network import Activation, Layer, Network, Residual


@dataclass(frozen=True)
class Report:
    """One file."""

    file: str
    """From the folder, with `/` on every system."""
    path: Path
    size: int
    """Bytes."""
    sha256: str | None
    """Of the file's bytes; None if it can't be read at all."""
    weights: str | None
    """`fingerprint` of the network; None for an unusable file."""
    summary: Summary | None
    problem: str | None
    """Why it can't be used, in a sentence or two."""


def survey(
    folder: Path, progress: Callable[[int], Callable[[int], None]] = lambda total: lambda done: None
) -> list[Report]:
    """Every `.pt` and `.safetensors` file under a folder, by name.

    progress: given the bytes in all, returns a callback for the bytes done. Raises HypernetError for what is no folder.
    """
    found = files_in(folder)
    advance, reports = progress(sum(file.stamp.size for file in found)), []
    for file in found:
        reports.append(_report(file))
        advance(file.stamp.size)
    return reports


def files_in(folder: Path) -> Sequence[Found]:
    """The hypernetwork files under a folder. Raises HypernetError where it can't be listed."""
    if not folder.is_dir():
        raise HypernetError(f"{folder}: there is no such folder.")
    listing = scan([folder])
    if listing.problems and not listing.found:
        raise HypernetError(listing.problems[0])
    return listing.found


def _report(file: Found) -> Report:
    digest = None
    try:
        digest = sha256(file.path)
        summary, network = peek(file.path), load(file.path)
        return Report(file.relative, file.path, file.stamp.size, digest, fingerprint(network), summary, None)
    except UnreadableFile as error:
        problem = f"{error.problem} {error.advice}"
    except OSError as error:
        problem = f"the system can't read it ({error.strerror or error})."
    return Report(file.relative, file.path, file.stamp.size, digest, None, None, problem)


def fingerprint(network: Network) -> str:
    """64 hex digits from layers and weights, the same for every container and for a copy in half precision."""
    digest = hashlib.sha256()
    for width in network.widths:
        pair = network.pairs[width]
        for net in (pair.k, pair.v):
            digest.update(f"{width} {' '.join(_forms(net.layers))}".encode())
            for tensor in net.tensors():
                digest.update(raw(tensor.to(torch.float16).contiguous()))
    return digest.hexdigest()


def _forms(layers: Iterable[Layer]) -> Iterator[str]:
    for layer in layers:
        if isinstance(layer, Residual):
            yield f"({' '.join(_forms(layer.block))})"
        elif isinstance(layer, Activation):
            yield layer.name
        else:
            yield f"{type(layer).__name__}{tuple(layer.weight.shape)}"


@dataclass(frozen=True)
class Duplicates:
    """same_file: groups of identical files; same_network: groups of different files with the same network."""

    same_file: tuple[tuple[str, ...], ...]
    same_network: tuple[tuple[str, ...], ...]


def duplicates(reports: Sequence[Report]) -> Duplicates:
    """What is there more than once. Where networks are compared, identical files count as one."""
    copies = _groups(reports, lambda report: report.sha256)
    again = {report.file for group in copies for report in group[1:]}
    alike = _groups([report for report in reports if report.file not in again], lambda report: report.weights)
    return Duplicates(
        *(tuple(tuple(report.file for report in group) for group in groups) for groups in (copies, alike))
    )


def _groups(reports: Iterable[Report], key: Callable[[Report], str | None]) -> list[list[Report]]:
    groups: dict[str, list[Report]] = {}
    for report in reports:
        if (value := key(report)) is not None:
            groups.setdefault(value, []).append(report)
    return [group for group in groups.values() if len(group) > 1]


@dataclass(frozen=True)
class Converted:
    """What became of one file. target: what was written, or None; skipped: why nothing had to be done; problem: why it
    could not be converted."""

    file: str
    target: Path | None = None
    skipped: str | None = None
    problem: str | None = None


def convert_folder(
    folder: Path,
    target: Path | None = None,
    *,
    suffix: str = ".safetensors",
    dtype: torch.dtype | None = None,
    overwrite: bool = False,
    progress: Callable[[int], Callable[[int], None]] = lambda total: lambda done: None,
) -> list[Converted]:
    """Every file under a folder in the other container, beside the original or in the same place under `target`.

    A file that can't be converted doesn't stop the others. Raises HypernetError for what is no folder.
    """
    found = files_in(folder)
    advance, results = progress(sum(file.stamp.size for file in found)), []
    wanted: dict[Path, str] = {}
    for file in found:
        into = (target or folder) / Path(file.relative).with_suffix(suffix)
        results.append(_convert(file, into, wanted, dtype, overwrite))
        advance(file.stamp.size)
    return results


def _convert(file: Found, into: Path, wanted: dict[Path, str], dtype: torch.dtype | None, overwrite: bool) -> Converted:
    if into == file.path or (into.exists() and into.samefile(file.path)):
        return Converted(file.relative, skipped=f"it is a {into.suffix} already.")
    if into in wanted:
        return Converted(file.relative, skipped=f"{wanted[into]} goes there.")
    if into.exists() and not overwrite:
        return Converted(file.relative, skipped=f"{into.name} is there already.")
    wanted[into] = file.relative
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        save(load(file.path, mapped=False), into, dtype=dtype, overwrite=overwrite)
    except UnreadableFile as error:
        return Converted(file.relative, problem=f"{error.problem} {error.advice}")
    except HypernetError as error:
        return Converted(file.relative, problem=str(error))
    except OSError as error:
        return Converted(file.relative, problem=f"the system can't write it ({error.strerror or error}).")
    return Converted(file.relative, into)


COLUMNS = (
    *("file", "size", "sha256", "weights", "container", "generation", "base", "widths", "structure", "activation"),
    *("activate_output", "layer_norm", "linear", "dtype", "step", "sd_checkpoint_name", "problem"),
)
"""The keys of `row`, in this order."""


def row(report: Report) -> Mapping[str, object]:
    """A report as plain values, for tables, JSON and CSV; None for what is unknown."""
    summary = report.summary
    values: dict[str, object] = {"file": report.file, "size": report.size, "sha256": report.sha256}
    values |= {"weights": report.weights, "problem": report.problem}
    if summary is not None:
        values |= {name: getattr(summary, name) for name in COLUMNS if hasattr(summary, name)}
        values |= {"step": summary.metadata.step, "sd_checkpoint_name": summary.metadata.sd_checkpoint_name}
    return {column: values.get(column) for column in COLUMNS}
