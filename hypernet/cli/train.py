"""`train`: a folder of pictures becomes a hypernetwork."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from hypernet.cli.console import clean, err, note, out, waiting
from hypernet.cli.options import AsJson, Checkpoint
from hypernet.errors import HypernetError

if TYPE_CHECKING:
    from hypernet.train.jobs import Status
    from hypernet.train.settings import Settings

DEMO_WEIGHTS = Path(__file__).parents[1] / "app" / "demo" / "weights"
"""The folder of the demo model."""
_LOOK_AGAIN = 0.5
_BARS = "▁▂▃▄▅▆▇█"


def train(
    folder: Annotated[Path, typer.Argument(help="Pictures, with captions in .txt files of the same names.")],
    name: Annotated[str, typer.Option("--name", "-n", help="What the hypernetwork will be called.")],
    checkpoint: Checkpoint = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where NAME.safetensors is written.")
    ] = Path(),
    steps: Annotated[int | None, typer.Option(min=1, help="At most so many; it ends by itself before.")] = None,
    rate: Annotated[
        str | None, typer.Option(help="Learning rate, or a schedule such as 1e-3:100,1e-4. [default: found by itself]")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting, as docs/training.md names it."),
    ] = None,
    pt: Annotated[bool, typer.Option("--pt", help="Also write NAME.pt, which A1111 can read.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Discard an earlier training of this name.")] = False,
    all_pictures: Annotated[
        bool, typer.Option("--all", help="After a training: once more, on the held-out pictures as well.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Don't wait: it goes on in the background.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a hypernetwork on a folder of pictures.

    It runs in the background: Ctrl+C, or closing the terminal, only stops watching. The same command goes on watching,
    or goes on with a training that was paused or interrupted.

    [bold]Examples[/bold]

    hypernet train pictures --name ink

    hypernet train pictures -n ink -c model.safetensors -o models/hypernetworks --rate 1e-3 --set batch_size=2
    """
    with waiting("Starting"):
        from hypernet.train import jobs

        settings = read_settings(folder, name, checkpoint, output, steps, rate, setting or [], pt)
    if all_pictures:
        state = jobs.on_all_pictures(settings.state)
    else:
        if again and settings.state.exists():
            jobs.discard(settings.state)
        running = settings.state.exists() and jobs.status(settings.state).running
        state = settings.state if running else jobs.start(settings)
    if detach:
        out.print(f"{clean(state)}")
        return
    last = _watch(state, as_json)
    if last.state == "failed":
        raise HypernetError(str(last.said.get("note", "The training failed.")))


def read_settings(
    folder: Path,
    name: str,
    checkpoint: Path | None,
    output: Path,
    steps: int | None,
    rate: str | None,
    others: list[str],
    pt: bool,
) -> Settings:
    """The settings of a command. Raises HypernetError for one that isn't known or makes no sense."""
    from hypernet.train.settings import Settings, value_of

    values: dict[str, Any] = {
        "folder": str(folder),
        "name": name,
        "checkpoint": str(checkpoint or DEMO_WEIGHTS),
        "output": str(output),
        "write_pt": pt,
    }
    values |= {} if steps is None else {"steps": steps}
    values |= {} if rate is None else {"learn_rate": rate}
    for text in others:
        key, sign, value = text.partition("=")
        if not sign:
            raise HypernetError(f"“{clean(text)}” is no setting: write NAME=VALUE, such as batch_size=2.")
        values[key.strip()] = value_of(key.strip(), value.strip())
    settings = Settings.from_values(values).located()
    settings.check()
    return settings


def _watch(state: Path, as_json: bool) -> Status:
    """Shows what the training tells until it ends. Ctrl+C ends the watching, not the training."""
    from hypernet.train import jobs

    try:
        with _lines(as_json) as show:
            for event in _events(state):
                show(event)
    except KeyboardInterrupt:
        note("The training goes on. The same command watches it again.")
        raise typer.Exit from None
    last = jobs.status(state)
    if last.state == "interrupted":
        raise HypernetError(
            f"The training was interrupted; the same command goes on with it. See {state / 'output.txt'}."
        )
    if not as_json and last.state == "finished":
        _show_end(state, last)
    return last


def _events(state: Path) -> Iterator[dict[str, Any]]:
    """What is told from now on, and from before the last curve that is needed to see where it stands."""
    from hypernet.train import jobs
    from hypernet.train.store import Store

    log, place = Store(state).log, 0
    while True:
        running = jobs.status(state).running
        if log.is_file():
            with log.open("rb") as stream:
                stream.seek(0 if log.stat().st_size < place else place)
                for line in stream:
                    if line.endswith(b"\n"):
                        place = stream.tell() if stream.seekable() else place
                        yield json.loads(line)
        if not running:
            return
        time.sleep(_LOOK_AGAIN)


@contextmanager
def _lines(as_json: bool) -> Iterator[Any]:
    """What shows an event: a line of JSON, or a bar with sentences above it."""
    if as_json:
        yield lambda event: print(json.dumps(event), flush=True)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[more]}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        bar = progress.add_task("starting", total=None, more="")
        yield lambda event: _show(progress, bar, event)


def _show(progress: Progress, bar: TaskID, event: dict[str, Any]) -> None:
    if event.get("note"):
        progress.console.print(clean(event["note"]), markup=False)
    if "state" in event:
        progress.update(bar, description=clean(event["state"]))
    if "ratio" in event and "step" in event:
        progress.console.print(f"step {event['step']}: error {event['ratio']:.1%} of that without it", markup=False)
    if "loss" in event:
        progress.update(bar, completed=event["step"], more=f"step {event['step']}, loss {event['loss']:.3f}")


def _show_end(state: Path, last: Status) -> None:
    from hypernet.train import jobs

    out.print(clean(last.said.get("verdict", "")), markup=False)
    ratios = [ratio for _, ratio in jobs.curve(state)]
    out.print(f"{plot(ratios)}  error on held-out pictures, {min(ratios):.1%} at best", markup=False)
    low, high = last.said["useful"]
    out.print(f"Use it at {last.said['strength']:g}; anything from {low:g} to {high:g} works.", markup=False)
    for file in last.said["files"]:
        out.print(clean(file), markup=False)
    if not last.name.endswith(" all"):
        note("With --all it is trained once more on all pictures, for as many steps as were best.")


def plot(values: list[float], width: int = 60) -> str:
    """A line of blocks, the lowest value the lowest block."""
    if not values:
        return ""
    values = values[:: max(1, len(values) // width)]
    low, span = min(values), (max(values) - min(values)) or 1.0
    return "".join(_BARS[int((value - low) / span * (len(_BARS) - 1))] for value in values)
