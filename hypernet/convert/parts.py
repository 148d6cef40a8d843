"""`FILE[:STRENGTH][:option=value]` -> a network and its strength: a file's path, then the grammar of tags.

Besides the options of tags, a width takes a factor: `ink.pt:0.7:k=0.5:768=2:320=0`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from hypernet import __version__
from hypernet.errors import HypernetError
from hypernet.files import load
from hypernet.library.hashes import sha256
from hypernet.network import Activation, Layer, LayerNorm, Linear, Net, Pair
from hypernet.plan import Use
from hypernet.tags import Tag, parse_items

_FILE = re.compile(r"(.+?\.(?:pt|safetensors))(?::(.*))?", re.IGNORECASE | re.DOTALL)
_WIDTH = re.compile(r"\s*([1-9][0-9]{0,5})\s*=(.*)", re.DOTALL)


@dataclass(frozen=True)
class Part:
    """One file with its strength and options."""

    path: Path
    options: str
    """As typed behind the path."""
    tag: Tag
    widths: Mapping[int, float]
    """Width -> factor; widths that are not named have 1."""

    def use(self) -> Use:
        """The network, with the factors of its widths in its weights. Raises UnreadableFile, HypernetError."""
        network = load(self.path, mapped=False)
        absent = sorted(set(self.widths) - set(network.pairs))
        if absent:
            has = ", ".join(map(str, network.widths))
            raise HypernetError(f"{self.path.name}: it has no width {absent[0]}; it has {has}.")
        scales = any(factor not in (0, 1) for factor in self.widths.values())
        pairs = {
            width: Pair(scaled(pair.k, factor), scaled(pair.v, factor)) if scales else pair
            for width, pair in network.pairs.items()
            if (factor := self.widths.get(width, 1.0))
        }
        if not pairs:
            raise HypernetError(f"{self.path.name}: every width has the factor 0, so that nothing of it is left.")
        return Use(self.tag, replace(network, pairs=pairs))

    def use_in_file(self) -> Use:
        """`use`, for making another network, which has the same nets at all sites of a width.

        Raises HypernetError for options that only make sense in a prompt or at a site.
        """
        tag = self.tag
        if (tag.self_attention, tag.cross_attention, tag.blocks) != (1.0, 1.0, None):
            raise HypernetError(
                f"{self.path.name}: self=, cross= and lbw= are about layers of a model, which a file doesn't know. "
                "Leave them out, or give a factor for a width: 768=0.5."
            )
        used = self.use()
        refuse_moving(used)
        return used

    def record(self) -> dict[str, str]:
        """File, hash and options, for the metadata of what is made from it."""
        return {"file": self.path.name, "sha256": sha256(self.path), "options": self.options or "1"}


def read_part(text: str) -> Part:
    """`ink.pt:0.7:k=0.5:768=2`. Raises HypernetError for what can't be read."""
    match = _FILE.fullmatch(text)
    if not match:
        raise HypernetError(f"“{text}”: write a .pt or .safetensors file, then :STRENGTH and options.")
    path, options = Path(match[1]), match[2] or ""
    items = options.split(":") if options else []
    widths = {int(found[1]): found[2].strip() for item in items if (found := _WIDTH.fullmatch(item))}
    tag = _tag(path, [item for item in items if not _WIDTH.fullmatch(item)])
    return Part(path, options, tag, {width: _factor(path, width, value) for width, value in widths.items()})


def made_from(parts: Sequence[Part], **facts: object) -> str:
    """The parts as JSON, for metadata. facts: added to each part."""
    return json.dumps([*({**part.record(), **facts} for part in parts)])


PROGRAM = f"hypernet {__version__}"
"""This program and its version, for the metadata of what it writes."""


def _tag(path: Path, items: Sequence[str]) -> Tag:
    tag = parse_items([path.stem, *items])
    if not isinstance(tag, Tag):
        raise HypernetError(f"{path.name}: {tag.reason}")
    return replace(tag, name=path.name)


def _factor(path: Path, width: int, text: str) -> float:
    tag = parse_items([path.stem, text])  # the same numbers, the same sentences
    if not isinstance(tag, Tag):
        raise HypernetError(f"{path.name}: the factor of width {width}: {tag.reason}")
    return tag.course.strength.points[0][0]


def refuse_moving(use: Use) -> None:
    """Raises HypernetError for options that need a run: schedules, hr=, start=, stop=, on=."""
    course = use.tag.course
    moves = course.varies or course.hires is not None or (course.start, course.stop) != (0.0, 1.0)
    if moves or use.tag.on != "both":
        raise HypernetError(
            f"{use.tag.name}: in a file a strength is one number, so schedules, hr=, start=, stop= and on= have no "
            "place in it. Leave them out."
        )


def scaled(net: Net, factor: float) -> Net:
    """The net whose change is `factor` times as large, exactly. Raises HypernetError for residual blocks."""
    if net.residual:
        raise HypernetError("Residual blocks (MonkeyPatch) can't be scaled: give such a network the strength 1.")
    *before, last = net.layers
    match last:
        case Linear(weight, bias):
            layers: tuple[Layer, ...] = (*before, Linear(weight * factor, None if bias is None else bias * factor))
        case LayerNorm(weight, bias):
            layers = (*before, LayerNorm(weight * factor, bias * factor))
        case _:
            assert isinstance(last, Activation)
            layers = (*net.layers, Linear(torch.eye(net.width) * factor, None))
    return Net(net.width, layers, net.names if len(layers) == len(net.layers) else ())
