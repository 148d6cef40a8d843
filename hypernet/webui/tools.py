"""The work behind the Tools page: merge, LoRA, bake, reduce, and a folder at a time. Nothing here knows gradio.

Each function writes one new file at most, replaces none, and tells in sentences what came out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from hypernet.convert.bake import bake
from hypernet.convert.contexts import Contexts, record
from hypernet.convert.folder import convert_folder, duplicates, survey
from hypernet.convert.lora import LIMIT, Form, save_lora, to_lora
from hypernet.convert.merge import MEAN, Merged, mean, merge
from hypernet.convert.parts import Part, read_part
from hypernet.convert.recipe import Chain, Leaf, Recipe, Sum
from hypernet.convert.reduce import reduce
from hypernet.errors import HypernetError
from hypernet.files import save
from hypernet.library import SUFFIXES
from hypernet.library.moving import target_of
from hypernet.plan import Use
from hypernet.tags import TAG_PATTERN
from hypernet.text import json_safe, printable, size_in_words
from hypernet.webui.catalogue import Catalogue
from hypernet.webui.host import Host

_log = logging.getLogger(__name__)

Told = list[str]
"""Sentences for the user."""
Steps = Callable[[float, str], None]
"""Is told how far the work is, 0 to 1, and what is being done."""

WAYS = ("chain", "sum", "mean")
"""How networks are merged, see docs/convert.md."""
LORA, WITH_BIAS, EXACT = "LoRA", "LoRA with V's constant", "exact (LyCORIS)"
"""The kinds of LoRA file."""
SAFE = ".safetensors"
"""The suffix of everything that is written here."""
_STEPS, _DRAWN = 8, 4
_ROOM_ON_GPU = 8 << 30
"""Bytes that must be free beside the WebUI's own model for a second one to draw there."""


def told(work: Callable[[], Told]) -> Told:
    """What the work tells, or why it failed. Never raises: a page has nobody to catch it."""
    try:
        return work()
    except HypernetError as error:
        return [str(error)]
    except OSError as error:
        return [f"{error.filename or 'The system'}: {error.strerror or error}."]
    except (MemoryError, torch.cuda.OutOfMemoryError):
        return ["There is not enough memory for this. Close other programs, or take fewer files at once."]
    except Exception:
        _log.exception("A tool failed")
        return ["This failed in a way that was not foreseen: the console says more."]


class Tools:
    """The tools of one WebUI. Methods raise HypernetError, OSError; `told` makes sentences of both."""

    def __init__(self, host: Host, catalogue: Catalogue) -> None:
        self._host, self._catalogue = host, catalogue

    def names(self) -> list[str]:
        """The networks, as tags call them."""
        return [json_safe(name) for name in self._catalogue.names()]

    def checkpoints(self) -> list[str]:
        """The host's checkpoints, by title."""
        return sorted(self._host.checkpoints())

    def folders(self) -> list[str]:
        """The folders with hypernetworks."""
        return [str(folder) for folder in self._catalogue.library.folders]

    def parts(self, tags: str) -> list[Part]:
        """Tags as in a prompt -> files. An option may be the factor of a width, too: `<hypernet:ink:1:768=0.5>`."""
        rest = TAG_PATTERN.sub("", tags).strip(" ,\n")
        if rest:
            raise HypernetError(f"“{printable(rest)[:60]}” is no tag: write <hypernet:NAME:STRENGTH>.")
        found = [self._part(match[1]) for match in TAG_PATTERN.finditer(tags)]
        if not found:
            raise HypernetError("Choose a hypernetwork and press Add first.")
        return found

    def _part(self, inside: str) -> Part:
        name, _, options = inside.partition(":")
        path = self._path(name)
        return read_part(f"{path}:{options}" if options else str(path))

    def _path(self, name: str) -> Path:
        entry = self._catalogue.find(name)
        if entry is None:
            self._catalogue.library.open(name)  # says why not
            raise HypernetError(f"There is no hypernetwork “{printable(name)}”.")
        return entry.path

    def _checkpoint(self, title: str | None) -> Path:
        path = self._host.checkpoints().get(title or "")
        if path is None:
            raise HypernetError("Choose a checkpoint from the list.")
        return path

    # Networks

    def merge(self, tags: str, way: str, half: bool, measure_on: str | None, name: str, steps: Steps) -> Told:
        """measure_on: the checkpoint to measure the distance from the chain on; none: it is not measured."""
        parts = self.parts(tags)
        target = self._network(name, _together(parts))
        leaves = tuple(Leaf(part.use_in_file()) for part in parts)
        made = _merged(leaves, way, _counted(steps, "Nets"))
        lines = [_MERGED[made.exact, way]]
        if not made.exact or way == "sum":
            chain = replace(made, recipe=Chain(leaves))
            lines += self._distance(chain, [leaf.use for leaf in leaves], measure_on, steps)
        save(made.network, target, dtype=torch.float16 if half else None)
        self._catalogue.refresh()
        return [*lines, _written(target), *_readers(made)]

    def _distance(self, made: Merged, uses: Sequence[Use], measure_on: str | None, steps: Steps) -> Told:
        errors: Mapping[tuple[int, str], float] = {}
        if measure_on:
            errors = made.errors(self._contexts(self._checkpoint(measure_on), uses, steps))
        lines = [
            f"Width {width}, {kind.upper()}: {method}, "
            + (f"off the chain by {errors[width, kind]:.2%}." if (width, kind) in errors else "not measured.")
            for (width, kind), method in made.methods.items()
        ]
        return lines if errors else [*lines, "How far it is from the chain shows on a model: choose one to measure on."]

    def reduce(
        self,
        name: str | None,
        energy: float,
        half: bool,
        only: str,
        anyway: bool,
        new_name: str,
        steps: Steps,
    ) -> Told:
        """energy: the part of the change that is kept, 0 to 1; 1: nothing is lost. only: widths, empty for all."""
        if not name:
            raise HypernetError("Choose a hypernetwork first.")
        part = read_part(str(self._path(name)))
        target = self._network(new_name, f"{part.path.stem} small")
        try:
            made = reduce(
                part.use_in_file().network,
                only=_widths(only),
                energy=energy if energy < 1 else None,
                half=half,
                progress=_counted(steps, "Nets"),
            )
        except HypernetError as error:
            raise HypernetError(f"{part.path.name}: {error}") from None
        worst = max(made.errors.values(), default=0.0)
        lost = f"Of the net that loses most, {worst:.2%} of the weights' change is lost."
        if worst > LIMIT and not anyway:
            return [lost, _refusal("Keep more")]
        save(made.network, target, dtype=torch.float16 if half else None)
        self._catalogue.refresh()
        return [lost, f"{_written(target)} Before it was {size_in_words(part.path.stat().st_size)}."]

    # For other programs

    def lora(
        self,
        write: bool,
        title: str | None,
        tags: str,
        kind: str,
        energy: float,
        anyway: bool,
        name: str,
        steps: Steps,
    ) -> Told:
        """write: else only the error is told. title: of the checkpoint it is for. kind: LORA, WITH_BIAS or EXACT."""
        checkpoint, parts = self._checkpoint(title), self.parts(tags)
        target = _new(self._host.lora_dir(), name or _together(parts), (SAFE,)) if write else None
        form = Form(full=kind == EXACT, energy=energy, bias=kind != LORA)
        uses = [part.use() for part in parts]
        linear = all(use.network.linear for use in uses)
        contexts = None if linear else self._contexts(checkpoint, uses, steps)
        made = to_lora(checkpoint, parts, form, contexts, progress=_counted(steps, "Projections"))
        where, worst = "on contexts of a run" if made.measured else "on the weights", made.worst
        lines = [f"Lost of the change: {made.error:.2%}, {where}; at most {worst[1]:.2%}, in {worst[0]}."]
        if made.ranks:
            lines.append(f"Ranks {min(made.ranks)} to {max(made.ranks)}.")
        if made.constants_left_out and not made.measured:
            lines.append(f"V's constant is left out and not in this figure; “{WITH_BIAS}” writes it.")
        if target is None:
            return [*lines, "Nothing was written."]
        if made.error > LIMIT and not anyway:
            return [*lines, _refusal("Keep more, or take the exact kind")]
        target.parent.mkdir(parents=True, exist_ok=True)
        save_lora(made, form, parts, checkpoint, target, limit=float("inf"))
        return [*lines, f"{_written(target)} It is for {checkpoint.name}; press Refresh among the LoRAs to see it."]

    def bake(self, title: str | None, tags: str, name: str, steps: Steps) -> Told:
        """title: of the checkpoint. The new one is written beside it."""
        checkpoint, parts = self._checkpoint(title), self.parts(tags)
        folder = checkpoint.is_dir()
        together = f"{checkpoint.name if folder else checkpoint.stem} + {_together(parts)}"
        target = _new(checkpoint.parent, name or together, ("" if folder else SAFE,))
        made = bake(checkpoint, parts, target, progress=_counted(steps, f"Writing {target.name}"))
        self._host.checkpoints_changed()
        lines = [f"{made.weights} projections and {made.biases} biases changed; the original stays as it is."]
        if made.rounding > 1e-3:
            lines.append(f"{made.rounding:.2%} of the change was lost to rounding.")
        if made.before:
            lines.append(f"{', '.join(made.before)} had been baked in before, and still is.")
        return [*lines, _written(target)]

    # A folder

    def survey(self, folder: str | None, steps: Steps) -> Told:
        """What is there twice, and what can't be used and why. folder: one of `folders`."""
        reports = survey(self._folder(folder), _counted(steps, "Reading"))
        twice, usable = duplicates(reports), [report for report in reports if report.summary is not None]
        size = size_in_words(sum(report.size for report in usable))
        return [
            f"{len(usable)} of {len(reports)} files can be used, {size}.",
            *(f"The same file: {' = '.join(group)}." for group in twice.same_file),
            *(f"The same network in another file: {' = '.join(group)}." for group in twice.same_network),
            *(f"{report.file} can't be used: {report.problem}" for report in reports if report.problem),
        ]

    def convert(self, folder: str | None, steps: Steps) -> Told:
        """A .safetensors beside each file that is none."""
        results = convert_folder(self._folder(folder), suffix=SAFE, progress=_counted(steps, "Converting"))
        self._catalogue.refresh()
        done = [result for result in results if result.target is not None]
        return [
            f"{len(done)} of {len(results)} files converted; the originals stay.",
            *(f"{result.file} → {Path(result.file).with_suffix(SAFE).name}" for result in done),
            *(f"{result.file} was left out: {result.skipped}" for result in results if result.skipped),
            *(f"{result.file} can't be converted: {result.problem}" for result in results if result.problem),
        ]

    def _folder(self, folder: str | None) -> Path:
        """Only folders that the WebUI shows: the page is no way into others."""
        known = {str(each): each for each in self._catalogue.library.folders}
        if folder not in known:
            raise HypernetError("Choose a folder from the list.")
        return Path(known[folder])

    def _network(self, name: str, otherwise: str) -> Path:
        return _new(Path(self._catalogue.library.folders[0]), name or otherwise, SUFFIXES)

    def _contexts(self, checkpoint: Path, uses: Sequence[Use], steps: Steps) -> Contexts:
        """Contexts of pictures that the checkpoint draws with these networks, beside the WebUI."""
        if not all(map(find_spec, ("diffusers", "transformers"))):
            raise HypernetError(
                "This is measured on pictures, which are drawn with the diffusers library; this WebUI has none. "
                "The command line does it: hypernet lora, hypernet merge --checkpoint."
            )
        from hypernet.pipeline.checkpoint import load_pipeline

        steps(0, "Loading the model")
        on_gpu = torch.cuda.is_available() and torch.cuda.mem_get_info()[0] > _ROOM_ON_GPU
        pipe: Any = load_pipeline(checkpoint, dtype=torch.float16 if on_gpu else torch.float32)
        pipe.set_progress_bar_config(disable=True)
        pipe.to("cuda" if on_gpu else "cpu")
        advance = _counted(steps, "Drawing, to measure")(_STEPS * _DRAWN)
        return record(pipe, uses, steps=_STEPS, drawn=_DRAWN, progress=lambda: advance(1))


_MERGED = {
    (True, "chain"): "Exact: it draws what the tags draw.",
    (True, "sum"): "Exact: all networks see the same context, and what they add is added up.",
    (False, "mean"): "The weights are averaged, the strengths are proportions. That is no chain of the networks.",
    (False, "chain"): "It can't be exact with these layers; this is the nearest.",
    (False, "sum"): "It can't be exact with these layers; this is the nearest.",
}
"""What a merge came to: (exact, way)."""


def _merged(leaves: tuple[Leaf, ...], way: str, progress: Callable[[int], Callable[[int], None]]) -> Merged:
    if way == "mean":
        network = mean(leaves)
        return Merged(network, Chain(leaves), {(width, kind): MEAN for width in network.widths for kind in ("k", "v")})
    recipe: Recipe = Sum(tuple((leaf, 1.0) for leaf in leaves)) if way == "sum" else Chain(leaves)
    return merge(leaves[0] if len(leaves) == 1 else recipe, progress)


def _readers(made: Merged) -> Told:
    if made.network.metadata.skip_connection:
        return ["It has skip paths: this extension and MonkeyPatch read it, A1111's own loader doesn't."]
    if made.network.metadata.layer_structure is None:
        return ["Its widths have different layers: this extension reads it, A1111's own loader doesn't."]
    return []


def _widths(text: str) -> list[int]:
    words = text.replace(",", " ").split()
    if not all(word.isdecimal() for word in words):
        raise HypernetError("Write widths as numbers: 768 320.")
    return [int(word) for word in words]


def _together(parts: Sequence[Part]) -> str:
    return " + ".join(part.path.stem for part in parts)[:100]


def _new(folder: Path, name: str, suffixes: Sequence[str]) -> Path:
    """The file to write. suffixes: that no file of this name may have yet; a `.safetensors` is written if it may be."""
    wanted = name.strip().removesuffix(SAFE)
    for suffix in suffixes:
        there = target_of(folder, wanted, suffix)
        if there.exists():
            raise HypernetError(f"{printable(there.name)} is there already: choose another name.")
    return target_of(folder, wanted, SAFE if SAFE in suffixes else suffixes[0])


def _written(target: Path) -> str:
    nbytes = sum(file.stat().st_size for file in target.rglob("*")) if target.is_dir() else target.stat().st_size
    return f"Written: {printable(target.name)}, {size_in_words(nbytes)}, in {target.parent}."


def _refusal(instead: str) -> str:
    return f"That is over the limit of {LIMIT:.0%}, so nothing was written. {instead}, or tick “Write it anyway”."


def _counted(steps: Steps, doing: str) -> Callable[[int], Callable[[int], None]]:
    """Progress as `hypernet.convert` tells it -> as a page shows it."""

    def begin(total: int) -> Callable[[int], None]:
        done = 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            steps(min(done / max(total, 1), 1.0), doing)

        return advance

    return begin
