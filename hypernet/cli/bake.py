"""`bake`: networks into a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hypernet.cli.console import clean, copying, note, out
from hypernet.cli.options import Force

Parts = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE[:STRENGTH][:option=value]...",
        help="Hypernetwork files in the order of a prompt, each with the strength and options of a tag, "
        "and 768=0.5 for a factor on a width.",
        show_default=False,
    ),
]


def bake(
    checkpoint: Annotated[
        Path, typer.Argument(help="An SD1, SD2 or SDXL model: one .safetensors file or a diffusers folder.")
    ],
    files: Parts,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The model to write.")],
    force: Force = False,
) -> None:
    """Bake linear hypernetworks into a copy of a checkpoint: the same pictures in every program, without a tag.

    [bold]Examples[/bold]

    hypernet bake model.safetensors ink.pt:0.7 -o model-ink.safetensors

    hypernet bake model.safetensors ink.pt:0.7:k=0.5 water.pt:0.4:lbw=MIDD -o model-both.safetensors
    """
    from hypernet.convert.bake import bake
    from hypernet.convert.parts import read_part

    parts = [read_part(file) for file in files]
    with copying(f"Baking into {output.name}") as progress:
        made = bake(checkpoint, parts, output, overwrite=force, progress=progress)
    out.print(
        f"{clean(output)}: {made.weights} projections and {made.biases} biases changed; "
        f"{100 * made.rounding:.2g} % of the change was lost to rounding.",
        markup=False,
    )
    if made.before:
        note(f"{', '.join(made.before)} had been baked into {checkpoint.name} before, and still is.")
