"""Linear networks baked into a checkpoint's K and V projections: they then work in every program, at no cost.

Exact up to the rounding of the checkpoint's own type. The checkpoint itself stays as it is. It is copied tensor by
tensor, so it may be larger than the memory.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hypernet.convert.model import Change, UNet, changes, find_unets
from hypernet.convert.parts import Part
from hypernet.convert.tensorfile import DTYPES, Make, Progress, TensorFile, refuse_to_replace
from hypernet.errors import HypernetError
from hypernet.plan import Use

KEY = "hypernet.baked"
"""The metadata key for what was baked: a JSON list of files with hash and options, oldest first."""
_NO_LONGER_TRUE = ("modelspec.hash_sha256", "sshs_model_hash", "sshs_legacy_hash")


@dataclass
class Baked:
    """What was done. weights, biases: how many tensors changed."""

    weights: int = 0
    biases: int = 0
    before: tuple[str, ...] = ()
    """The files that had been baked into it earlier."""
    _change: float = 0.0
    _lost: float = 0.0

    @property
    def rounding(self) -> float:
        """The part of the change that was rounded away, 0 to 1. Half precision has few digits for small changes."""
        return (self._lost / self._change) ** 0.5 if self._change else 0.0

    def note(self, old: Tensor, change: Tensor, stored: Tensor) -> None:
        """Counts one tensor. All in float32 but `stored`, which is as it goes into the file."""
        self._change += float(change.square().sum())
        self._lost += float((old + change - stored.float()).square().sum())


def bake(
    checkpoint: Path,
    parts: Sequence[Part],
    target: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int], Progress] = lambda total: lambda done: None,
) -> Baked:
    """Writes a checkpoint with the networks inside, applied in this order.

    checkpoint: one `.safetensors` file of SD1, SD2 or SDXL, or a folder in diffusers' layout; target is of the same
    kind. progress: given the bytes in all, returns a callback for the bytes written since its last call.
    Raises HypernetError for networks that are not linear or don't fit, and for a target in the way; OSError.
    """
    refuse_to_replace(target, overwrite and not checkpoint.is_dir(), [checkpoint])
    if not checkpoint.is_dir() and target.suffix.lower() != ".safetensors":
        raise HypernetError(f"{target.name}: a checkpoint is written as .safetensors. Choose such a name.")
    unets, uses = find_unets(checkpoint), [part.use() for part in parts]
    made = Baked(before=_before(unets[0]))
    records = [part.record() for part in parts]
    advance = progress(sum(file.nbytes for unet in unets for file in unet.files))
    if not checkpoint.is_dir():
        _rewrite(unets[0], uses, records, {unets[0].files[0].path: target}, made, advance)
        return made
    with tempfile.TemporaryDirectory(prefix=".hypernet-", dir=target.parent) as room:
        copy = Path(room) / target.name
        paths = [file.path for unet in unets for file in unet.files]
        shutil.copytree(checkpoint, copy, ignore=_not_copied(checkpoint, paths))
        for unet in unets:
            targets = {file.path: copy / file.path.relative_to(checkpoint) for file in unet.files}
            _rewrite(unet, uses, records, targets, made, advance)
        copy.replace(target)
    return made


def _rewrite(
    unet: UNet,
    uses: Sequence[Use],
    records: Sequence[Mapping[str, str]],
    targets: Mapping[Path, Path],
    made: Baked,
    advance: Progress,
) -> None:
    replaced = _replaced(unet, changes(unet, uses), made)
    for file in unet.files:
        mine = {name: make for name, make in replaced.items() if name in file.entries}
        file.rewrite(targets[file.path], mine, _metadata(file, records), advance)


def _replaced(unet: UNet, found: Sequence[Change], made: Baked) -> Mapping[str, Make]:
    """Key in the file -> a function that makes the changed tensor when its turn comes."""
    replaced: dict[str, Make] = {}

    def becomes(name: str, change: Callable[[], Tensor | None]) -> None:
        key = unet.prefix + name
        dtype = DTYPES.get(unet.file_of(key).entries[key].dtype, torch.float32)

        def make() -> Tensor:
            old, added = unet.read(name), change()
            if added is None:
                return old
            stored = (old + added).to(dtype)
            if not bool(torch.isfinite(stored.float()).all()):
                raise HypernetError(f"{key} would hold numbers too large for its type. Take a lower strength.")
            made.note(old, added, stored)
            return stored

        replaced[key] = make

    for change in found:
        becomes(change.weight, lambda change=change: change.of_weight(unet))  # type: ignore[misc]
        made.weights += 1
        if change.site.kind == "v" and bool(change.affine.shift.any()):
            becomes(f"{change.out}.bias", lambda change=change: change.of_bias(unet))  # type: ignore[misc]
            made.biases += 1
    return replaced


def _before(unet: UNet) -> tuple[str, ...]:
    return tuple(str(entry.get("file")) for entry in _earlier(unet.files[0]))


def _earlier(file: TensorFile) -> list[dict[str, str]]:
    try:
        records = json.loads(file.metadata.get(KEY, "[]"))
    except ValueError:
        return []
    return [entry for entry in records if isinstance(entry, dict)] if isinstance(records, list) else []


def _metadata(file: TensorFile, records: Sequence[Mapping[str, str]]) -> dict[str, str]:
    kept = {key: value for key, value in file.metadata.items() if key not in _NO_LONGER_TRUE}
    entries = [*_earlier(file), *({**entry, "into": file.path.name} for entry in records)]
    return {"format": "pt", **kept, KEY: json.dumps(entries)}


def _not_copied(root: Path, baked: Sequence[Path]) -> Callable[[str, list[str]], set[str]]:
    """What must be left out of the copy: the original UNet, in whatever format."""
    folders = {path.parent for path in baked} | {root}

    def ignore(folder: str, names: list[str]) -> set[str]:
        weights = {name for name in names if Path(name).suffix in (".safetensors", ".bin", ".ckpt", ".msgpack", ".pt")}
        return weights if Path(folder) in folders else set()

    return ignore
