"""What the Train tab shows, as HTML: pictures before a training, curves and sentences while it runs and after."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from hypernet.errors import HypernetError

if TYPE_CHECKING:
    from hypernet.train.data.pictures import Picture
    from hypernet.train.jobs import Status
    from hypernet.train.prospect import Prospect

SHOWN = 24
"""Pictures, words and problems that are shown at most."""
STATES = {
    "starting": "Starting",
    "preparing": "Reading pictures and captions",
    "searching": "Looking for the learning rate",
    "training": "Training",
    "finishing": "Finding the strength and writing the files",
    "waiting": "Waiting for room on the disk",
    "paused": "Paused",
    "finished": "Finished",
    "failed": "Failed",
    "interrupted": "Interrupted",
}
"""What a training's state is called."""
ACTIONS = {
    "pause": "Pause",
    "stop": "Stop and keep the best",
    "continue": "Continue",
    "all": "Train on all pictures",
    "discard": "Remove from this list",
}
"""What can be done with a training, as its button says."""
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 560, 150, 44, 22


def prospect(seen: Prospect) -> str:
    """What a training would be."""
    fits = (
        ""
        if seen.fits or not seen.memory
        else (
            " <b>That is not enough.</b> Try a smaller batch, a smaller resolution or gradient checkpointing; "
            "where it runs out, it goes on by itself in smaller pieces."
        )
    )
    needed = f"{_gigabytes(sum(seen.memory.values()))} needed, " if seen.memory else ""
    parts = "; ".join(f"{what}: {_gigabytes(size)}" for what, size in seen.memory.items())
    words = ", ".join(f"{escape(word)} ({count})" for word, count in seen.words[:SHOWN])
    problems = [f"<li>{escape(str(problem))}</li>" for problem in seen.problems[:SHOWN]]
    if len(seen.problems) > SHOWN:
        problems.append(f"<li>and {len(seen.problems) - SHOWN} more</li>")
    more = f"<p>and {len(seen.pictures) - SHOWN} more</p>" if len(seen.pictures) > SHOWN else ""
    return (
        f"<p><b>{len(seen.pictures)} pictures</b> for {escape(seen.base)}. "
        f'<span title="{escape(parts)}">Memory: {needed}{_gigabytes(seen.free)} free.</span>{fits}</p>'
        + (f"<p>Captions share: {words}</p>" if words else "")
        + (f'<ul class="hypernet-problems">{"".join(problems)}</ul>' if problems else "")
        + f'<div class="hypernet-pictures">{"".join(map(_thumbnail, seen.pictures[:SHOWN]))}</div>{more}'
    )


def _thumbnail(picture: Picture) -> str:
    from hypernet.train.prospect import thumbnail

    try:
        image, stream = thumbnail(picture), io.BytesIO()
    except HypernetError:
        return ""
    image.convert("RGB").save(stream, "JPEG")
    source = f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
    caption = escape(picture.caption)
    return f'<figure title="{caption}"><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'


def trainings(found: Iterable[tuple[Status, Sequence[tuple[int, float]]]]) -> str:
    """All trainings, each with its curve."""
    shown = "".join(training(status, curve) for status, curve in found)
    return shown or "<p>Nothing has been trained here yet.</p>"


def training(status: Status, curve: Sequence[tuple[int, float]]) -> str:
    """One training: where it stands, its curve, what it came to and what can be done."""
    said = status.said
    buttons = "".join(
        f'<button class="lg secondary gradio-button" data-hypernet-train="{escape(status.folder.name)}" '
        f'data-action="{action}">{ACTIONS[action]}</button>'
        for action in possible(status)
    )
    return (
        f'<section class="hypernet-training" data-state="{escape(status.state)}"><h3>{escape(status.name)}</h3>'
        f"<p>{escape(_standing(status))}</p>{_bar(status)}{chart(curve)}"
        + (f"<p><b>{escape(str(said['verdict']))}</b></p>" if said.get("verdict") else "")
        + _use(status)
        + (f"<p>{escape(str(said['note']))}</p>" if said.get("note") else "")
        + f"<p>{buttons}</p></section>"
    )


def possible(status: Status) -> list[str]:
    """The actions that make sense now."""
    if status.running:
        return ["pause", "stop"]
    if status.can_go_on:
        return ["continue", "discard"]
    return ["discard"] if status.name.endswith(" all") else ["all", "discard"]


def _standing(status: Status) -> str:
    what = STATES.get(status.state, status.state)
    if status.state in ("training", "paused", "interrupted") and status.step:
        return f"{what}: step {status.step}, at most {status.steps}"
    if status.state == "preparing" and status.said.get("of"):
        return f"{what}: {status.said.get('done', 0)} of {status.said['of']}"
    return what


def _bar(status: Status) -> str:
    if not status.running:
        return ""
    if status.state == "preparing" and status.said.get("of"):
        return f'<progress max="{status.said["of"]:d}" value="{status.said.get("done", 0):d}"></progress>'
    return (
        f'<progress max="{status.steps}" value="{status.step}"></progress>' if status.step else "<progress></progress>"
    )


def _use(status: Status) -> str:
    said = status.said
    if status.state != "finished" or "strength" not in said:
        return ""
    low, high = said.get("useful") or (said["strength"], said["strength"])
    tag = escape(f"<hypernet:{status.name}:{said['strength']:g}>")
    return f"<p>Write <code>{tag}</code> in the prompt; strengths from {low:g} to {high:g} work.</p>"


def chart(curve: Sequence[tuple[int, float]]) -> str:
    """The error on held-out pictures, as a part of that without the network, over steps: an SVG picture."""
    points = [(step, ratio) for step, ratio in curve if ratio == ratio]
    if len(points) < 2:
        return ""
    last = max(step for step, _ in points) or 1
    low = min(0.95, *(ratio for _, ratio in points))
    high = min(2.0, max(1.0, *(ratio for _, ratio in points)))
    floor, ceiling = int(low * 20) / 20, high + 0.02

    def place(step: float, ratio: float) -> tuple[float, float]:
        across = _LEFT + step / last * (_WIDTH - _LEFT - 8)
        part = (min(ratio, ceiling) - floor) / (ceiling - floor)
        return round(across, 1), round(_HEIGHT - _BOTTOM - part * (_HEIGHT - _BOTTOM - 8), 1)

    best = min(points, key=lambda point: point[1])
    (x, y), (left, one), (right, bottom) = place(*best), place(0, 1.0), place(last, floor)
    line = " ".join(f"{across},{up}" for across, up in (place(*point) for point in points))
    told = f"Error on held-out pictures: {best[1]:.1%} of that without the network at step {best[0]}, the best."
    middle = (floor + 1) / 2
    return (
        f'<svg class="hypernet-curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"><title>{told}</title>'
        f'<line class="whole" x1="{left}" y1="{one}" x2="{right}" y2="{one}"/>'
        f'<line x1="{left}" y1="{bottom}" x2="{right}" y2="{bottom}"/>'
        + "".join(
            f'<text x="{left - 6}" y="{place(0, ratio)[1] + 4}" text-anchor="end">{ratio:.0%}</text>'
            for ratio in (1.0, middle, floor)
        )
        + f'<text x="{left}" y="{_HEIGHT - 6}">0</text>'
        f'<text x="{right}" y="{_HEIGHT - 6}" text-anchor="end">step {last}</text>'
        f'<polyline points="{line}"/><circle cx="{x}" cy="{y}" r="4"/></svg><p>{told}</p>'
    )


def environment(lacking: Sequence[str], installing: bool, failed: bool, output: str) -> str:
    """What is missing to train, and how its installation goes."""
    if installing:
        said = "<b>Setting up.</b> This happens once and takes a few minutes."
    elif failed:
        said = "<b>The set-up did not succeed.</b> It needs a network connection. The lines below say why; try again."
    else:
        said = (
            f"<b>Training needs {escape(', '.join(lacking))}.</b> One click puts it into a folder of this extension; "
            "the WebUI's own Python stays as it is."
        )
    button = (
        ""
        if installing
        else ('<button class="lg secondary gradio-button" data-hypernet-train="" data-action="install">Set up</button>')
    )
    return f'<section class="hypernet-training">{_paragraph(said)}{button}{_lines(output)}</section>'


def _paragraph(text: str) -> str:
    return f"<p>{text}</p>"


def _lines(output: str) -> str:
    return f"<pre>{escape(output)}</pre>" if output else ""


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
