"""A LoRA's K and V as a network: `W + B` is `W (I + D)` where B = W D. One D serves all layers of a width, so it is a
fit.

The fit is exact for a LoRA that was made from a network. Any other LoRA has a different matrix at each layer; the error
says how much of it is lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hypernet.convert.kohya import Layers
from hypernet.convert.model import UNet, find_unets
from hypernet.convert.parts import PROGRAM
from hypernet.convert.tensorfile import TensorFile
from hypernet.errors import HypernetError
from hypernet.network import Linear, Metadata, Net, Network, Pair
from hypernet.sites import Site

_LAYER = re.compile(r"(lora_unet_\w+_attn[12])_to_(k|v|out_0)\.(.+)")
_SINGULAR = 1e-10
"""Singular values below this part of the largest count as 0."""


@dataclass(frozen=True)
class Fitted:
    """network: linear. error: the part of the LoRA's K and V that is lost; left_out: how many other layers it has."""

    network: Network
    error: float
    left_out: int


def from_lora(
    checkpoint: Path,
    lora: Path,
    *,
    progress: Callable[[int], Callable[[int], None]] = lambda total: lambda done: None,
) -> Fitted:
    """The network nearest to a LoRA (kohya's or LyCORIS' full differences) on a checkpoint.

    Raises HypernetError for a file that is no such LoRA, or one of another kind of model.
    """
    unet, file = find_unets(checkpoint)[0], TensorFile.open(lora)
    changes = _Changes(file, Layers.of(unet).every_name(unet.sites))
    if not changes.found:
        raise HypernetError(
            f"{lora.name}: it has no LoRA on the K and V of {checkpoint.name}. Is it for another base model?"
        )
    groups: dict[tuple[int, str], list[Site]] = {}
    for site in unet.sites:
        groups.setdefault((site.width, site.kind), []).append(site)
    advance, nets, off, size = progress(len(unet.sites)), {}, 0.0, 0.0
    for (width, kind), sites in sorted(groups.items()):
        fit = _Fit(width)
        for site in sites:
            fit.add(unet, site, changes)
            advance(1)
        nets[width, kind] = fit.net()
        off, size = off + fit.off(), size + fit.size
    widths = sorted({width for width, _ in nets})
    pairs = {width: Pair(nets[width, "k"], nets[width, "v"]) for width in widths}
    metadata = Metadata(
        name=lora.stem,
        layer_structure=(1, 1),
        activation_func="linear",
        activate_output=False,
        sd_checkpoint_name=checkpoint.stem,
        extra={"made_by": PROGRAM, "made_from": lora.name},
    )
    return Fitted(Network(pairs, metadata), (max(off, 0.0) / size) ** 0.5 if size else 0.0, changes.left_out)


class _Changes:
    """What a LoRA file adds to each attention layer."""

    def __init__(self, file: TensorFile, names: Mapping[str, str]) -> None:
        self._file = file
        self.found: dict[tuple[str, str], dict[str, str]] = {}
        others = set()
        for key in file.entries:
            match = _LAYER.fullmatch(key)
            kept = match and match[1] in names and (match[2] != "out_0" or match[3] in ("diff", "diff_b"))
            if match and kept:
                self.found.setdefault((names[match[1]], match[2]), {})[match[3]] = key
            else:
                others.add(key.partition(".")[0])
        self.left_out = len(others)

    def weight(self, site: Site) -> Tensor | None:
        """What is added to a projection, (out, in), float64; None for nothing."""
        keys = self.found.get((site.attention, site.kind))
        if keys is None:
            return None
        if "diff" in keys:
            return self._file.read(keys["diff"]).double()
        if not {"lora_up.weight", "lora_down.weight"} <= set(keys):
            raise HypernetError(
                f"{self._file.path.name}: it is of a kind with {min(keys)}; LoRA and LyCORIS' full are read."
            )
        up, down = (self._file.read(keys[f"lora_{part}.weight"]).double().flatten(1) for part in ("up", "down"))
        alpha = float(self._file.read(keys["alpha"])) if "alpha" in keys else float(len(down))
        return up @ down * (alpha / len(down))

    def bias(self, site: Site) -> Tensor | None:
        """What is added to the bias of the layer after the attention, (out,), float64; None for nothing."""
        keys = self.found.get((site.attention, "out_0"), {})
        return self._file.read(keys["diff_b"]).double() if "diff_b" in keys else None


class _Fit:
    """Normal equations of one width's K or V, summed over its layers, in float64."""

    def __init__(self, width: int) -> None:
        self._gram, self._right = torch.zeros(width, width).double(), torch.zeros(width, width).double()
        self._bias_gram, self._bias_right = torch.zeros_like(self._gram), torch.zeros(width).double()
        self.size = 0.0
        """Sum of squares of what the LoRA adds."""

    def add(self, unet: UNet, site: Site, changes: _Changes) -> None:
        weight, added = unet.read(f"{site.name}.weight").double(), changes.weight(site)
        self._gram += weight.T @ weight
        if added is not None:
            if added.shape != weight.shape:
                raise HypernetError(f"{site.name}: the LoRA is for another model: its matrix has another shape.")
            self._right += weight.T @ added
            self.size += float(added.square().sum())
        bias = changes.bias(site) if site.kind == "v" else None
        if bias is not None:
            through = unet.read(f"{site.attention}.to_out.0.weight").double() @ weight
            self._bias_gram += through.T @ through
            self._bias_right += through.T @ bias

    def net(self) -> Net:
        self._delta = _solve(self._gram, self._right)
        shift = _solve(self._bias_gram, self._bias_right[:, None])[:, 0]
        return Net(len(shift), (Linear(self._delta.float(), shift.float()),))

    def off(self) -> float:
        """Sum of squares of what the net misses."""
        d = self._delta
        return self.size - 2 * float((d * self._right).sum()) + float((d * (self._gram @ d)).sum())


def _solve(gram: Tensor, right: Tensor) -> Tensor:
    """The smallest solution: directions that no layer uses stay zero."""
    if not bool(gram.any()):
        return torch.zeros_like(right)
    inverse: Tensor = torch.linalg.pinv(gram, rtol=_SINGULAR, hermitian=True)
    return inverse @ right


def is_lora(names: Iterable[str]) -> bool:
    """Whether a file's tensors are a LoRA's, by their names."""
    return any(name.startswith("lora_unet_") for name in names)
