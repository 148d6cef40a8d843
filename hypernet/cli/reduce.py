"""`reduce`: a smaller file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypernet.cli.console import clean, copying, out, table
from hypernet.cli.lora import Prompts, contexts_of_a_run
from hypernet.cli.options import Force
from hypernet.errors import HypernetError
from hypernet.text import size_in_words

if TYPE_CHECKING:
    from hypernet.network import Net


def reduce(
    file: Annotated[str, typer.Argument(metavar="FILE[:STRENGTH]", help="A hypernetwork file.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")],
    half: Annotated[bool, typer.Option("--half", help="Store float16: half the size.")] = False,
    only: Annotated[
        list[int] | None, typer.Option(metavar="WIDTH", help="Keep this width; may be given again.")
    ] = None,
    without: Annotated[
        list[int] | None, typer.Option(metavar="WIDTH", help="Leave this width out; may be given again.")
    ] = None,
    units: Annotated[
        float | None, typer.Option(min=0.001, max=1, help="Units of the inner layer, as a part of the width.")
    ] = None,
    energy: Annotated[
        float | None, typer.Option(min=0.01, max=1, help="Instead: as few units as keep this part of the change.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", "-c", metavar="MODEL", help="The model to choose and measure on.")
    ] = None,
    prompts: Prompts = None,
    limit: Annotated[float, typer.Option(min=0, help="Write nothing if more of the change than this is lost.")] = 0.1,
    force: Force = False,
) -> None:
    """Make a hypernetwork smaller: half precision, fewer widths, fewer units. What is lost is told before it is done.

    A linear hypernetwork becomes one layer, which loses nothing; with --units or --energy two thin ones.

    [bold]Examples[/bold]

    hypernet reduce ink.pt --half -o ink-half.safetensors

    hypernet reduce ink.pt --only 768 -o ink-text.pt

    hypernet reduce linear.pt --energy 0.99 -c model.safetensors -o linear-small.pt
    """
    if units is not None and energy is not None:
        raise typer.BadParameter("choose one of --units and --energy")
    import torch

    from hypernet.convert.merge import merge
    from hypernet.convert.parts import read_part
    from hypernet.convert.recipe import Leaf
    from hypernet.convert.reduce import reduce
    from hypernet.convert.tensorfile import refuse_to_replace
    from hypernet.files import save

    part = read_part(file)
    refuse_to_replace(output, force, [part.path])
    use = part.use_in_file()
    network = use.network if not part.options else merge(Leaf(use)).network
    contexts = None if checkpoint is None else contexts_of_a_run(checkpoint, [use], prompts)
    with copying("Nets") as begin:
        try:
            made = reduce(
                network,
                only=only or (),
                without=without or (),
                fraction=units,
                energy=energy,
                half=half,
                contexts=contexts,
                progress=begin,
            )
        except HypernetError as error:
            raise HypernetError(f"{part.path.name}: {error}") from None
    rows = [
        (width, kind.upper(), " → ".join(str(size) for size in _sizes(net)), _told(made.errors.get((width, kind))))
        for width in made.network.widths
        for kind, net in (("k", made.network.pairs[width].k), ("v", made.network.pairs[width].v))
    ]
    out.print(
        table(">width", "net", "units", f">lost {'on contexts' if made.measured else 'of the weights'}", rows=rows)
    )
    worst = max(made.errors.values(), default=0.0)
    if worst > limit:
        raise HypernetError(
            f"{output.name}: {worst:.0%} of a net's change would be lost, over the limit of {limit:.0%}. "
            "Nothing was written; allow more with --limit."
        )
    save(made.network, output, dtype=torch.float16 if half else None, overwrite=force)
    sizes = f"{size_in_words(part.path.stat().st_size)} before, {size_in_words(output.stat().st_size)} now"
    out.print(f"{clean(output)}: {sizes}.", markup=False)


def _sizes(net: Net) -> list[int]:
    from hypernet.network import Linear

    return [net.width, *(len(layer.weight) for layer in net.layers if isinstance(layer, Linear))]


def _told(error: float | None) -> str:
    return "-" if error is None else f"{error:.3%}"
