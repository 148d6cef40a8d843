"""What there is to say about a file: for cards, for the API, for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypernet.errors import HypernetError
from hypernet.library import Entry, Stamp

if TYPE_CHECKING:
    from pathlib import Path

    from hypernet.files import Summary

_peeked: dict[Path, tuple[Stamp, Summary | HypernetError]] = {}
"""What files hold, as long as they stay as they are."""


def summary(entry: Entry) -> Summary | HypernetError:
    """What the file holds, or why it can't be used."""
    from hypernet.files import peek

    known = _peeked.get(entry.path)
    if known is None or not known[0].same(entry.stamp):
        try:
            known = entry.stamp, peek(entry.path)
        except HypernetError as error:
            known = entry.stamp, error
        _peeked[entry.path] = known
    return known[1]


def line(entry: Entry) -> str:
    """`SD1 · 768, 1280 · 1, 2, 1 relu · 5000 steps · 84 MB`: one line for the card. Plain text."""
    found = summary(entry)
    size = _size(entry.stamp.size)
    if isinstance(found, HypernetError):
        return f"can't be used · {size}"
    facts = ["" if found.base == "unknown" else found.base, ", ".join(map(str, found.widths)), _structure(found)]
    if found.metadata.step:
        facts.append(f"{found.metadata.step} steps")
    return " · ".join([fact for fact in facts if fact] + [size])


def facts(entry: Entry) -> dict[str, Any]:
    """What the card's ⓘ and the API tell of a file."""
    found = summary(entry)
    if isinstance(found, HypernetError):
        return {"problem": str(found)}
    metadata = found.metadata
    told = {
        "base": found.base,
        "widths": list(found.widths),
        "layer structure": list(found.structure),
        "activation": found.activation,
        "activation at the end": found.activate_output,
        "layer norm": found.layer_norm,
        "residual": found.residual,
        "free while drawing": found.linear,
        "steps": metadata.step,
        "name in the file": metadata.name,
        "trained on": metadata.sd_checkpoint_name,
        "trained on (hash)": metadata.sd_checkpoint,
        "dropout": list(metadata.dropout_structure) if metadata.dropout_structure else metadata.use_dropout,
        "notes in the file": metadata.optional_info,
        "precision": found.dtype,
        "parameters": found.parameters,
        "format": found.container,
        "written by": found.generation,
    }
    return {key: value for key, value in told.items() if value is not None}


def _size(nbytes: int) -> str:
    if nbytes < 1e6:
        return f"{max(nbytes / 1e3, 1):.0f} kB"
    return f"{nbytes / 1e6:.1f} MB" if nbytes < 10e6 else f"{nbytes / 1e6:.0f} MB"


def _structure(found: Summary) -> str:
    parts = [", ".join(f"{width:g}" for width in found.structure), found.activation]
    return " ".join(parts + ["norm"] * found.layer_norm)
