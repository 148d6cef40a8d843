"""`merge`: several networks in one file."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypernet.cli.bake import Parts
from hypernet.cli.console import clean, copying, note, out, table
from hypernet.cli.lora import Prompts, contexts_of_a_run
from hypernet.cli.options import Force
from hypernet.errors import HypernetError
from hypernet.text import size_in_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hypernet.convert.recipe import Leaf, Recipe
    from hypernet.network import Network
    from hypernet.plan import Use


class How(str, Enum):
    """The ways to merge."""

    chain = "chain"
    sum = "sum"
    mean = "mean"
    difference = "difference"


Checkpoint = Annotated[
    Path | None,
    typer.Option("--checkpoint", "-c", metavar="MODEL", help="The model to measure on, if anything is not exact."),
]


def merge(
    files: Parts,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")],
    how: Annotated[
        How,
        typer.Option(
            help="chain: as the tags of a prompt, one after the other; sum: all on the same context, what they add "
            "added up; mean: of their weights, strengths as proportions; difference: the weights A + s (B - C)."
        ),
    ] = How.chain,
    checkpoint: Checkpoint = None,
    prompts: Prompts = None,
    half: Annotated[bool, typer.Option("--half", help="Store float16.")] = False,
    force: Force = False,
) -> None:
    """Merge hypernetworks into one that does what they do together.

    A chain or a sum is exact for linear networks and for most others; what is not is named, and measured with
    --checkpoint. A single file takes its strength and factors into its weights; a .hns file is read as the mix it is.

    [bold]Examples[/bold]

    hypernet merge ink.pt:0.7 water.pt:0.4:k=0 -o both.safetensors

    hypernet merge a.pt:0.3 b.pt:0.7 --how mean -o mix.pt

    hypernet merge ink.pt:1:320=0:768=0.5 -o ink-weaker.pt

    hypernet merge mix.hns -o mix.safetensors
    """
    import torch

    from hypernet.files import save

    _refuse_originals(output, files, force)
    network = _weights(files, how) if how in (How.mean, How.difference) else _recipe(files, how, checkpoint, prompts)
    save(network, output, dtype=torch.float16 if half else None, overwrite=force)
    out.print(f"{clean(output)}: {size_in_words(output.stat().st_size)}.", markup=False)
    if network.metadata.skip_connection:
        note("It has skip paths: this program and the MonkeyPatch extension read it, A1111's own loader doesn't.")
    elif network.metadata.layer_structure is None:
        note("Its widths have different layers: this program reads it, A1111's own loader doesn't.")


def _refuse_originals(output: Path, files: Sequence[str], force: bool) -> None:
    from hypernet.convert.tensorfile import refuse_to_replace

    refuse_to_replace(output, force, [_path(file) for file in files])


def _path(text: str) -> Path:
    from hypernet.convert.parts import read_part

    return Path(text) if text.lower().endswith(".hns") else read_part(text).path


def _leaves(files: Sequence[str]) -> list[Leaf]:
    from hypernet.convert.parts import read_part
    from hypernet.convert.recipe import Leaf

    return [Leaf(read_part(file).use_in_file()) for file in files]


def _weights(files: Sequence[str], how: How) -> Network:
    from hypernet.convert.merge import add_difference, mean

    leaves = _leaves(files)
    if how is How.mean:
        return mean(leaves)
    if len(leaves) != 3:
        raise HypernetError("A difference takes three files, A, B and C: the weights become A + s (B - C).")
    return add_difference(*leaves)


def _recipe(files: Sequence[str], how: How, checkpoint: Path | None, prompts: Path | None) -> Network:
    from hypernet.convert.merge import merge
    from hypernet.convert.recipe import leaves

    recipe = _read(files, how)
    with copying("Nets") as begin:
        made = merge(recipe, begin)
    errors: Mapping[tuple[int, str], float] = {}
    if not made.exact and checkpoint is not None:
        errors = made.errors(contexts_of_a_run(checkpoint, [leaf.use for leaf in leaves(recipe)], prompts))
    if not made.exact:
        rows = [
            (width, kind.upper(), way, f"{errors[width, kind]:.2%}" if (width, kind) in errors else "not measured")
            for (width, kind), way in made.methods.items()
        ]
        out.print(table(">width", "net", "made as", ">off by", rows=rows))
        if not errors:
            note("How far off that is shows on a model: give --checkpoint.")
    else:
        out.print("Exact.", markup=False)
    return made.network


def _read(files: Sequence[str], how: How) -> Recipe:
    from hypernet.convert.recipe import Chain, Sum, read_hns

    if len(files) == 1 and files[0].lower().endswith(".hns"):
        path = Path(files[0])
        return read_hns(path, lambda name, strength: _found(path.parent, name, strength))
    leaves = tuple(_leaves(files))
    if len(leaves) == 1:
        return leaves[0]
    return Chain(leaves) if how is How.chain else Sum(tuple((leaf, 1.0) for leaf in leaves))


def _found(folder: Path, name: str, strength: float) -> Use:
    """The network that a `.hns` file means by a name: one beside it."""
    from hypernet.library import Library
    from hypernet.plan import Use
    from hypernet.tags import Tag, parse_items

    tag = parse_items([name, repr(float(strength))])
    if not isinstance(tag, Tag):
        raise HypernetError(f"{name}: {tag.reason}")
    return Use(tag, Library([folder]).open(name))
