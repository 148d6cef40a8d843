"""The UNet inside a checkpoint, without loading it: sites are found by tensor names, weights are read one by one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from hypernet.convert.affine import Affine, chain
from hypernet.convert.parts import refuse_moving
from hypernet.convert.tensorfile import TensorFile
from hypernet.errors import HypernetError
from hypernet.network import Net
from hypernet.plan import Use, make_plan
from hypernet.schedule import Moment
from hypernet.sites import Site, find_sites

PREFIXES = ("model.diffusion_model.", "diffusion_model.", "unet.", "")
"""Prefixes of the UNet's own names: in a whole checkpoint, in parts of one, in a diffusers UNet."""

_SHARD = re.compile(r"-\d{5}-of-\d{5}")
_BEGIN = re.compile(r"(input_blocks|down_blocks)\.\d+\.")


@dataclass(frozen=True)
class UNet:
    """A UNet in one or several files."""

    files: tuple[TensorFile, ...]
    prefix: str
    sites: tuple[Site, ...]

    @classmethod
    def open(cls, *paths: Path) -> UNet:
        """Reads headers only. Raises HypernetError for what is no Stable Diffusion model in `.safetensors`."""
        for path in paths:
            if path.suffix.lower() != ".safetensors":
                raise HypernetError(
                    f"{path.name}: only .safetensors checkpoints are read (opening a .ckpt can run code). "
                    "Convert it first, for example with a WebUI's checkpoint merger."
                )
        files = tuple(TensorFile.open(path) for path in paths)
        shapes = {name: entry.shape for file in files for name, entry in file.entries.items()}
        for prefix in PREFIXES:
            inside = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
            if any(_BEGIN.match(name) for name in inside) and (sites := find_sites(skeleton(inside))):
                return cls(files, prefix, sites)
        raise HypernetError(
            f"{paths[0].name}: no Stable Diffusion UNet is in this file. "
            "Give an SD1, SD2 or SDXL checkpoint, not a LoRA, VAE or hypernetwork."
        )

    def file_of(self, key: str) -> TensorFile:
        """The file that holds a tensor. Raises HypernetError if none does."""
        for file in self.files:
            if key in file.entries:
                return file
        raise HypernetError(f"{self.files[0].path.name}: the tensor {key} is missing in it. Take the full checkpoint.")

    def read(self, name: str) -> Tensor:
        """A tensor by its name within the UNet, in float32."""
        key = self.prefix + name
        return self.file_of(key).read(key).float()

    @property
    def text_width(self) -> int:
        """Channels of the text context."""
        return next((site.width for site in self.sites if site.cross), 0)


def find_unets(path: Path) -> tuple[UNet, ...]:
    """The UNet of a checkpoint file; or of a folder in diffusers' layout, where there may be one for each variant."""
    if not path.exists():
        raise HypernetError(f"{path}: there is no such checkpoint.")
    if not path.is_dir():
        return (UNet.open(path),)
    folder = path / "unet" if (path / "unet").is_dir() else path
    groups: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        groups.setdefault(_SHARD.sub("", file.name), []).append(file)
    if not groups:
        raise HypernetError(f"{path}: no unet/*.safetensors is in this folder. Give a model in diffusers' layout.")
    return tuple(UNet.open(*files) for files in groups.values())


@dataclass(frozen=True)
class Change:
    """The nets' change at one site: its projection `W x` becomes `W (x + D x + c)`."""

    site: Site
    affine: Affine

    @property
    def weight(self) -> str:
        """The name of the projection's weight in the UNet."""
        return f"{self.site.name}.weight"

    @property
    def out(self) -> str:
        """The layer after the attention, whose bias takes up the shift of the values."""
        return f"{self.site.attention}.to_out.0"

    def of_weight(self, unet: UNet) -> Tensor:
        """What is added to the projection: W D, (out, in), float32."""
        return unet.read(self.weight) @ self.affine.delta

    def of_bias(self, unet: UNet) -> Tensor | None:
        """What is added to the bias of the layer after the attention; None for no shift.

        The weights of the softmax sum to one, so a constant added to all values comes out of the attention unchanged:
        W_out (o + W c) = W_out o + W_out W c. A constant added to all keys moves every logit of a query alike, which
        the softmax ignores. So K needs none.
        """
        if self.site.kind == "k" or not bool(self.affine.shift.any()):
            return None
        return unet.read(f"{self.out}.weight") @ (unet.read(self.weight) @ self.affine.shift)


Links = tuple[tuple[Net, float], ...]
"""The nets of one site with their strengths, in the order of the prompt."""


def chains(unet: UNet, uses: Sequence[Use]) -> Mapping[Site, Links]:
    """The nets at each site that changes.

    Raises HypernetError for networks of another base model and strengths that are not one number over a whole run.
    """
    for use in uses:
        refuse_moving(use)
    plan = make_plan(uses, unet.sites)
    if plan.notes:
        raise HypernetError(plan.notes[0].removesuffix(" It was left out."))
    found = {
        site: tuple(
            (each.net, strength) for each in applications if (strength := each.factor * each.course.at(Moment()))
        )
        for site, applications in plan.sites.items()
    }
    return {site: links for site, links in found.items() if links}


def changes(unet: UNet, uses: Sequence[Use]) -> tuple[Change, ...]:
    """The change of linear networks at each site. Raises HypernetError as `chains` does, and for other networks."""
    for use in uses:
        if not use.network.linear:
            raise HypernetError(
                f"{use.tag.name}: it has an activation or a layer norm, which no projection's weight can hold. "
                "Only linear networks can be baked exactly."
            )
    maps: dict[Links, Affine] = {}

    def affine(links: Links, width: int) -> Affine:
        if links not in maps:
            maps[links] = chain((Affine.of(net, strength) for net, strength in links), width)
        return maps[links]

    return tuple(Change(site, affine(links, site.width)) for site, links in chains(unet, uses).items())


def skeleton(shapes: Mapping[str, tuple[int, ...]]) -> nn.Module:
    """A UNet with these tensors' names and shapes but no weights, for `find_sites`."""
    tree: dict[str, dict] = {}  # type: ignore[type-arg]
    for name in shapes:
        at = tree
        for part in name.split(".")[:-1]:
            at = at.setdefault(part, {})
    return _module(tree, "", shapes)


def _module(tree: Mapping[str, Mapping], path: str, shapes: Mapping[str, tuple[int, ...]]) -> nn.Module:  # type: ignore[type-arg]
    shape = shapes.get(f"{path}weight", ())
    if path.endswith((".to_q.", ".to_k.", ".to_v.")) and len(shape) == 2:
        return nn.Linear(shape[1], shape[0], bias=False, device="meta")
    children = {name: _module(inner, f"{path}{name}.", shapes) for name, inner in tree.items()}
    if children and sorted(children, key=_number) == [str(index) for index in range(len(children))]:
        return nn.ModuleList(children[str(index)] for index in range(len(children)))
    module = nn.Module()
    for name, child in children.items():
        module.add_module(name, child)
    return module


def _number(name: str) -> int:
    return int(name) if name.isdigit() else -1
