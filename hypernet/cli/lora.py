"""`lora`: networks as LoRA files, and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hypernet.cli.bake import Parts
from hypernet.cli.console import clean, copying, counting, note, out, waiting
from hypernet.cli.options import Force
from hypernet.errors import HypernetError
from hypernet.text import size_in_words

if TYPE_CHECKING:
    from hypernet.convert.contexts import Contexts
    from hypernet.plan import Use

Prompts = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Prompts to measure with, one a line. [default: 48 of many kinds]"),
]
_STEPS, _DRAWN = 8, 4


def lora(
    checkpoint: Annotated[
        Path, typer.Argument(help="The model it is for: one .safetensors file or a diffusers folder.")
    ],
    files: Parts,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The .safetensors to write.")],
    exact: Annotated[bool, typer.Option("--exact", help="LyCORIS' full differences: nothing is lost, large.")] = False,
    rank: Annotated[int | None, typer.Option(min=1, help="Rank of every layer.")] = None,
    energy: Annotated[float, typer.Option(min=0.01, max=1, help="Without --rank: the part of the change kept.")] = 0.99,
    bias: Annotated[
        bool | None,
        typer.Option(
            "--bias/--no-bias",
            help="Write V's constant (diff_b), which diffusers and SD.Next can't read. [default: with --exact]",
            show_default=False,
        ),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Choose and measure on a run, also for linear ones.")
    ] = False,
    prompts: Prompts = None,
    limit: Annotated[float, typer.Option(min=0, help="Write nothing if more of the change than this is lost.")] = 0.1,
    full: Annotated[bool, typer.Option("--full", help="Store float32 instead of float16.")] = False,
    back: Annotated[
        bool, typer.Option("--back", help="The other way: FILE is a LoRA, and a network is written.")
    ] = False,
    force: Force = False,
) -> None:
    """Turn hypernetworks into a LoRA for programs that have no hypernetworks, or a LoRA into a hypernetwork.

    Linear hypernetworks come out exactly (--exact) or as near as the rank lets them. Others are fitted on the contexts
    of a real run, and the error is told before anything is written.

    [bold]Examples[/bold]

    hypernet lora model.safetensors ink.pt:0.7 -o ink-lora.safetensors

    hypernet lora model.safetensors ink.pt --exact -o ink-full.safetensors

    hypernet lora model.safetensors style-lora.safetensors --back -o style.pt
    """
    import torch

    from hypernet.convert.lora import Form, save_lora, to_lora
    from hypernet.convert.parts import read_part

    if back:
        _back(checkpoint, files, output, limit, full, force)
        return
    if output.exists() and not force:  # before a long run, not after it
        raise HypernetError(f"{output} is there already: choose another name, or replace it with --force.")
    parts = [read_part(file) for file in files]
    form = Form(exact, rank, energy, exact if bias is None else bias, torch.float32 if full else torch.float16)
    uses = [part.use() for part in parts]
    needs_run = measure or not all(use.network.linear for use in uses)
    contexts = contexts_of_a_run(checkpoint, uses, prompts) if needs_run else None
    with copying("Projections") as begin:
        made = to_lora(checkpoint, parts, form, contexts, progress=begin)
    name, worst = made.worst
    where = "on contexts of a run" if made.measured else "on the weights"
    out.print(
        f"Lost of the change: {made.error:.2%}, {where}; at most {worst:.2%}, in {name}."
        + (f" Ranks {min(made.ranks)} to {max(made.ranks)}." if made.ranks else ""),
        markup=False,
    )
    if made.constants_left_out and not made.measured:
        note("V's constant is left out and not in this figure: --bias writes it, --measure counts it.")
    save_lora(made, form, parts, checkpoint, output, limit=limit, overwrite=force)
    out.print(f"{clean(output)}: {size_in_words(output.stat().st_size)}, for {checkpoint.name}.", markup=False)


def _back(checkpoint: Path, files: Sequence[str], output: Path, limit: float, full: bool, force: bool) -> None:
    import torch

    from hypernet.convert.unlora import from_lora
    from hypernet.files import save

    if len(files) != 1:
        raise typer.BadParameter("--back takes one LoRA", param_hint="FILE")
    with copying("Layers") as begin:
        fitted = from_lora(checkpoint, Path(files[0]), progress=begin)
    out.print(f"Lost of the LoRA's K and V: {fitted.error:.2%}.", markup=False)
    if fitted.left_out:
        note(f"{fitted.left_out} of its layers are no K or V of the UNet, where a hypernetwork can't reach.")
    if fitted.error > limit:
        raise HypernetError(
            f"{output.name}: {fitted.error:.0%} of it is over the limit of {limit:.0%}. Nothing was written; "
            "allow more with --limit."
        )
    save(fitted.network, output, dtype=torch.float32 if full else torch.float16, overwrite=force)
    out.print(f"{clean(output)}: {size_in_words(output.stat().st_size)}.", markup=False)


def contexts_of_a_run(checkpoint: Path, uses: Sequence[Use], prompts: Path | None) -> Contexts:
    """Contexts of pictures that a checkpoint draws with these networks."""
    with waiting("Loading the model"):
        from hypernet.app import drawing
        from hypernet.convert.contexts import record

        pipe: Any = drawing.open_model(checkpoint, []).pipe.pipe
    chosen = _prompts(prompts)
    with counting("Drawing, to measure", _STEPS * min(_DRAWN, len(chosen))) as advance:
        drawn = min(_DRAWN, len(chosen))
        return record(pipe, uses, chosen, steps=_STEPS, drawn=drawn, progress=advance)


def _prompts(file: Path | None) -> Sequence[str]:
    from hypernet.convert.contexts import PROMPTS

    if file is None:
        return PROMPTS
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(lines) < 2:
        raise HypernetError(f"{file.name}: give two prompts at least, one a line: some to fit on, some to measure on.")
    return lines
