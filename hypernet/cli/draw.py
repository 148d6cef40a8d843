"""`generate` and `demo` draw pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypernet.app.demo import NETWORKS
from hypernet.app.samplers import SAMPLERS, sampler_name
from hypernet.cli.console import clean, counting, out, waiting
from hypernet.cli.hints import as_called
from hypernet.cli.options import Checkpoint, Folders, folders_or_usual
from hypernet.errors import HypernetError

if TYPE_CHECKING:
    from PIL.Image import Image

DEMO_STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The strengths that `demo` draws."""

_DEMO_STEPS, _DEMO_CFG = 12, 3.0  # suit the demo model


def _sampler_names(incomplete: str) -> list[str]:
    return [name for name in SAMPLERS if name.lower().startswith(incomplete.lower())]


def _known_sampler(text: str | None) -> str | None:
    try:
        return None if text is None else sampler_name(text)
    except HypernetError as error:
        raise typer.BadParameter(str(error)) from error


def _read_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})[xX×](\d{1,5})", text)
    if not match:
        raise typer.BadParameter(
            f"“{clean(text)}” is not a size: write WIDTHxHEIGHT, for example 512x768", param_hint="--size"
        )
    return int(match[1]), int(match[2])


def generate(
    prompt: Annotated[str, typer.Argument(help="What to draw, with <hypernet:NAME:STRENGTH> tags.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The .png to write. [default: outputs/...]")
    ] = None,
    checkpoint: Checkpoint = None,
    folders: Folders = None,
    negative: Annotated[str, typer.Option("--negative", "-n", help="What not to draw.")] = "",
    steps: Annotated[int | None, typer.Option(min=1, max=1000, help="Steps. [default: 20; demo 12]")] = None,
    cfg: Annotated[float | None, typer.Option(min=0, help="Guidance scale. [default: 7; demo 3]")] = None,
    seed: Annotated[int | None, typer.Option(min=-1, max=2**32 - 1, help="Seed; -1 is a random one.")] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Pixels. [default: the model's]")] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            help="Euler a, DPM++ 2M, ... [default: the model's]",
            callback=_known_sampler,
            autocompletion=_sampler_names,
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=1000, help="How many pictures; each has the next seed.")] = 1,
) -> None:
    """Draw a picture from a prompt.

    [bold]Examples[/bold]

    hypernet generate "a red circle <hypernet:ink:0.7>" -o out.png

    hypernet generate "a castle <hypernet:ink:0@0,1@1>" -c model.safetensors -H models/hypernetworks --size 512x768
    """
    if output is not None and output.suffix.lower() != ".png":
        raise typer.BadParameter("pictures are written as .png, which keeps their parameters", param_hint="--output")
    wanted = _read_size(size)
    chosen = folders_or_usual(folders)
    with waiting("Loading the model"):
        from hypernet.app import drawing

        model = drawing.open_model(checkpoint, chosen)
    usual_steps, usual_cfg = (20, 7.0) if checkpoint is not None else (_DEMO_STEPS, _DEMO_CFG)
    request = drawing.Request(
        prompt=prompt,
        negative=negative,
        steps=usual_steps if steps is None else steps,
        cfg=usual_cfg if cfg is None else cfg,
        seed=None if seed == -1 else seed,
        size=wanted,
        sampler=sampler,
        batch=batch,
    )
    with counting("Drawing", request.steps * batch) as advance:
        for index, picture in enumerate(drawing.draw(model, request, advance)):
            path = _target(output, picture.seed, index, batch)
            drawing.save_png(picture.image, path, picture.parameters)
            out.print(clean(path), markup=False)


def _target(output: Path | None, seed: int, index: int, batch: int) -> Path:
    """The file for one picture: the given one, numbered if there are several, else a new one in outputs/."""
    if output is not None:
        return output if batch == 1 else output.with_name(f"{output.stem}-{index + 1}{output.suffix}")
    names = (Path("outputs") / f"{number:05}-{seed}.png" for number in range(100_000))
    taken = {path.name[:5] for path in Path("outputs").glob("[0-9][0-9][0-9][0-9][0-9]-*.png")}
    return next(path for path in names if path.name[:5] not in taken)


def demo(
    prompt: Annotated[str, typer.Argument(help="What to draw; the demo knows shapes, colours and grounds.")] = (
        "a red circle on a white background"
    ),
    network: Annotated[str, typer.Option("--network", help="Which of the demo's hypernetworks.")] = "ink",
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 1,
) -> None:
    """Draw one prompt with a hypernetwork at five strengths, on the small model that comes with hypernet.

    [bold]Examples[/bold]

    hypernet demo

    hypernet demo "a blue star" --network water
    """
    with waiting("Loading the demo model"):
        from hypernet.app import drawing
        from hypernet.pipeline import strip

        model = drawing.open_model(None, [NETWORKS])
    images: list[Image] = []
    with counting("Drawing", _DEMO_STEPS * len(DEMO_STRENGTHS)) as advance:
        for strength in DEMO_STRENGTHS:
            tagged = f"{prompt} <hypernet:{network}:{strength:g}>" if strength else prompt
            request = drawing.Request(tagged, steps=_DEMO_STEPS, cfg=_DEMO_CFG, seed=seed)
            images += [picture.image for picture in drawing.draw(model, request, advance)]
            if model.pipe.notes:
                raise HypernetError(model.pipe.notes[0])
    path = Path("outputs") / f"demo-{model.pipe.applied[0].tag.name}-{seed}.png"
    labels = [f"{strength:g}" for strength in DEMO_STRENGTHS]
    drawing.save_png(strip.side_by_side(images, labels, f"{prompt} <hypernet:{network}:…>"), path)
    out.print(f"The picture is in {clean(path)}", markup=False)
    out.print(
        f"It shows “{clean(prompt)}” with <hypernet:{clean(network)}> at strengths {', '.join(labels)}.", markup=False
    )
    out.print("\nTry next:", markup=False)
    for line in _next_steps(clean(network)):
        out.print(f"  {line}", markup=False)


def _next_steps(network: str) -> Iterator[str]:
    command = as_called()
    other = next((path.stem for path in sorted(NETWORKS.glob("*.*")) if path.stem != network), network)
    yield f"{command} demo --network {other}"
    yield f'{command} generate "a blue star <hypernet:{network}:0@0,1@1>" -o star.png'
    yield f'{command} generate "a castle <hypernet:NAME:0.7>" -c model.safetensors -H FOLDER'
