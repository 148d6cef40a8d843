"""Networks as LoRA files, for every program that has no hypernetworks; and LoRA files as networks.

A LoRA adds a matrix to each projection of one checkpoint: W + B. A network acts before the projection, W (x + f(x)).
With f(x) = D x + c this gives B = W D. K's c does nothing (see `model.Change.of_bias`); V's goes into the bias
behind the attention, which LyCORIS files can hold (`diff_b`) and kohya's LoRA can't.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from hypernet.convert.affine import Affine, chain
from hypernet.convert.contexts import Contexts, Rows, layer_key
from hypernet.convert.fit import change, factorise, fit_affine
from hypernet.convert.kohya import Layers
from hypernet.convert.model import Change, Links, UNet, chains, find_unets
from hypernet.convert.parts import PROGRAM, Part, made_from
from hypernet.convert.tensorfile import refuse_to_replace, write
from hypernet.errors import HypernetError
from hypernet.network.bases import base_of
from hypernet.sites import Site

LIMIT = 0.1
"""The error above which nothing is written by default: a tenth of the change."""


@dataclass(frozen=True)
class Form:
    """What kind of file is written.

    full: LyCORIS' full differences instead of two factors. rank: of the factors; None: the lowest that keeps `energy`.
    bias: write V's constant too, as `diff_b`; diffusers can't read files that have one.
    """

    full: bool = False
    rank: int | None = None
    energy: float = 0.99
    bias: bool = False
    dtype: torch.dtype = torch.float16


@dataclass
class Made:
    """The LoRA's tensors. errors: for each projection the part of the change that is missing or wrong; 0 for none.

    Errors are measured on contexts of a run if there were any, otherwise on the weights.
    """

    errors: dict[str, float] = field(default_factory=dict)
    ranks: list[int] = field(default_factory=list)
    measured: bool = False
    constants_left_out: int = 0
    """Layers whose constant on V was not written. Only errors measured on contexts include it."""
    tensors: dict[str, Tensor] = field(default_factory=dict)

    @property
    def error(self) -> float:
        """The error of all projections together, with equal weight."""
        squares = sum(error * error for error in self.errors.values())
        return float((squares / max(len(self.errors), 1)) ** 0.5)

    @property
    def worst(self) -> tuple[str, float]:
        """The projection with the largest error, and that error."""
        return max(self.errors.items(), key=lambda item: item[1], default=("", 0.0))


def to_lora(
    checkpoint: Path,
    parts: Sequence[Part],
    form: Form,
    contexts: Contexts | None = None,
    *,
    progress: Callable[[int], Callable[[int], None]] = lambda total: lambda done: None,
) -> Made:
    """The networks in this order as a LoRA for a checkpoint; nothing is written yet.

    contexts: of a run with these networks. Networks with an activation or a layer norm need them for the fit; for
    linear ones, ranks and errors are then those of a real run. progress: given the number of projections, returns a
    callback. Raises HypernetError for networks that don't fit, or that need contexts and got none.
    """
    (unet, *_), uses = find_unets(checkpoint), [part.use() for part in parts]
    found, made = chains(unet, uses), Made(measured=contexts is not None)
    if contexts is None and not all(use.network.linear for use in uses):
        raise HypernetError(
            "A network with an activation or a layer norm becomes a LoRA by a fit only, and a fit needs contexts of a "
            "run. Give prompts."
        )
    layers, advance = Layers.of(unet), progress(len(found))
    for site, links in found.items():
        rows = None if contexts is None else contexts.get(layer_key(site))
        _add(made, unet, layers, site, links, form, rows)
        advance(1)
    _set_alpha(made)
    return made


def _set_alpha(made: Made) -> None:
    """Gives every layer the same alpha, the largest rank, as diffusers takes one alpha for all layers.

    The matrix in a file is `up down alpha / rank`.
    """
    alpha = float(max(made.ranks, default=0))
    for key in [key for key in made.tensors if key.endswith(".lora_up.weight")]:
        up = made.tensors[key]
        made.tensors[key] = (up.float() * (up.shape[1] / alpha)).to(up.dtype)
        made.tensors[f"{key.removesuffix('.lora_up.weight')}.alpha"] = torch.tensor(alpha, dtype=up.dtype)


def _add(made: Made, unet: UNet, layers: Layers, site: Site, links: Links, form: Form, rows: Rows | None) -> None:
    """One projection's tensors and error."""
    linear = all(net.linear for net, _ in links)
    keeps_constant = site.kind == "k" or form.bias
    if linear and (keeps_constant or rows is None):
        affine = chain((Affine.of(net, strength) for net, strength in links), site.width)
    else:
        assert rows is not None, "contexts for a fit"
        affine = fit_affine(rows.fit, change(links, rows.fit), constant=keeps_constant)
    attention, (weight, matrix) = layers.attention(site), _matrix(unet, Change(site, affine))
    name = f"{attention}_to_{site.kind}"
    if form.full:
        stored = {"diff": matrix.to(form.dtype)}
        matrix = stored["diff"].float()
    else:
        factors = factorise(matrix, rank=form.rank, energy=form.energy, x=None if rows is None else rows.fit)
        stored = {
            "lora_down.weight": factors.down.to(form.dtype),
            "lora_up.weight": factors.up.to(form.dtype),
        }
        matrix = stored["lora_up.weight"].float() @ stored["lora_down.weight"].float()
        made.ranks.append(factors.rank)
    _refuse_infinite(name, stored)
    made.tensors |= {f"{name}.{key}": tensor for key, tensor in stored.items()}
    constant = affine.shift if form.bias else torch.zeros_like(affine.shift)
    bias = Change(site, Affine(affine.delta, constant)).of_bias(unet)
    made.constants_left_out += site.kind == "v" and not form.bias and bool(affine.shift.any())
    if bias is not None:
        out = f"{attention}_to_out_0"
        made.tensors[f"{out}.diff"] = torch.zeros(len(bias), len(bias), dtype=form.dtype)
        made.tensors[f"{out}.diff_b"] = bias.to(form.dtype)
    made.errors[site.name] = _error(site, links, weight, matrix, constant, rows, linear)


def _matrix(unet: UNet, change: Change) -> tuple[Tensor, Tensor]:
    """The projection's weight, and what is added to it."""
    weight = unet.read(change.weight)
    return weight, weight @ change.affine.delta


def _error(
    site: Site, links: Links, weight: Tensor, matrix: Tensor, constant: Tensor, rows: Rows | None, linear: bool
) -> float:
    """How far the projection is from the networks' exact result, as a part of their change."""
    if rows is None:
        assert linear, "nets are measured on contexts unless they are linear"
        exact = chain((Affine.of(net, strength) for net, strength in links), site.width)
        wanted = weight @ exact.delta
        return _relative(matrix - wanted, wanted)
    wanted = change(links, rows.measure) @ weight.T
    off = rows.measure @ matrix.T + constant @ weight.T - wanted
    if site.kind == "k":  # the softmax ignores what is the same for all keys
        off, wanted = off - off.mean(0), wanted - wanted.mean(0)
    return _relative(off, wanted)


def _relative(off: Tensor, wanted: Tensor) -> float:
    size = float(wanted.double().norm())
    return float(off.double().norm()) / size if size else 0.0


def _refuse_infinite(name: str, stored: Mapping[str, Tensor]) -> None:
    if not all(bool(torch.isfinite(tensor).all()) for tensor in stored.values()):
        raise HypernetError(f"{name} would hold numbers too large for half precision. Store it in float32.")


def save_lora(
    made: Made,
    form: Form,
    parts: Sequence[Part],
    checkpoint: Path,
    target: Path,
    *,
    limit: float = LIMIT,
    overwrite: bool = False,
) -> None:
    """Writes the file, with kohya's metadata. Raises HypernetError over the limit, and for a target in the way."""
    if target.suffix.lower() != ".safetensors":
        raise HypernetError(f"{target.name}: a LoRA is written as .safetensors. Choose such a name.")
    refuse_to_replace(target, overwrite, [checkpoint, *(part.path for part in parts)])
    if made.error > limit:
        raise HypernetError(
            f"{target.name}: {made.error:.0%} of the change would be missing or wrong, over the limit of {limit:.0%}. "
            "Nothing was written. Take a higher rank or energy, or allow more with --limit."
        )
    (unet, *_) = find_unets(checkpoint)
    write(target, made.tensors, _metadata(made, form, parts, checkpoint, unet))


_BASES = {"SD1": "sd_v1", "SD2": "sd_v2", "SDXL": "sdxl_base_v1-0"}
"""Base model -> its name in kohya's metadata."""


def _metadata(made: Made, form: Form, parts: Sequence[Part], checkpoint: Path, unet: UNet) -> dict[str, str]:
    dim = str(made.ranks[0]) if len(set(made.ranks)) == 1 else "Dynamic"
    facts = {
        "ss_network_module": "lycoris.kohya" if form.full else "networks.lora",
        "ss_network_args": json.dumps({"algo": "full"}) if form.full else None,
        "ss_network_dim": None if form.full else dim,
        "ss_network_alpha": None if form.full else str(max(made.ranks)),
        "ss_base_model_version": _BASES.get(base_of([unet.text_width])),
        "ss_sd_model_name": checkpoint.name,
        "ss_output_name": " + ".join(part.path.stem for part in parts),
        "ss_training_comment": f"made from a hypernetwork by {PROGRAM}",
        "hypernet.made_from": made_from(parts),
        "hypernet.error": f"{made.error:.6f}",
        "hypernet.measured_on": "contexts of a run" if made.measured else "weights",
    }
    return {key: value for key, value in facts.items() if value is not None}
