"""What the Tools page shows of Civitai and of tools: HTML, in which every text of others is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from hypernet.text import size_in_words

State = Mapping[str, Any]
"""A task as `Backend.state` gives it."""


def sentences(lines: Iterable[str]) -> str:
    """A paragraph for each."""
    return f'<div class="hypernet-told">{"".join(f"<p>{escape(line)}</p>" for line in lines)}</div>'


def cards(models: Sequence[Mapping[str, Any]], preview: str) -> str:
    """Models of a search as buttons with their pictures. preview: the route before a model's id."""
    return "".join(_card(model, preview) for model in models)


def gallery(made: str) -> str:
    """Cards, side by side."""
    return f'<div class="hypernet-found">{made}</div>' if made else sentences(["Nothing was found."])


def _card(model: Mapping[str, Any], preview: str) -> str:
    number = int(model["id"])
    picture = f'<img loading="lazy" alt="" src="./{preview}/{number}">' if model["preview"] else ""
    bases = ", ".join(dict.fromkeys(version["base"] for version in model["versions"] if version["base"]))
    newest = model["versions"][0] if model["versions"] else {}
    words = ", ".join(newest.get("words", ())[:5])
    size = next((size_in_words(file["size"]) for file in newest.get("files", ()) if file["size"]), "")
    facts = " · ".join(filter(None, (bases, size, f"{model['downloads'] or 0:,} downloads", model["creator"])))
    return (
        f'<button type="button" aria-pressed="false" data-hypernet-model="{number}" '
        f'title="{escape(model["description"][:600])}">'
        f"{picture}<b>{escape(model['name'])}</b><small>{escape(facts)}</small><small>{escape(words)}</small></button>"
    )


def progress(state: State) -> str:
    """How far a task is."""
    done, total = state["done"], state["total"]
    amount = f"{size_in_words(done)}" if state["unit"] == "bytes" else str(done)
    if total:
        amount += f" of {size_in_words(total) if state['unit'] == 'bytes' else total}"
    bar = f'<progress max="{int(total)}" value="{int(done)}"></progress>' if total else "<progress></progress>"
    doing = state["doing"] or "Beginning"
    return f'<div class="hypernet-told"><p>{escape(doing)}{f": {amount}" if done else ""}</p>{bar}</div>'


def result(state: State) -> list[str]:
    """What a finished task came to."""
    if state["error"]:
        return [state["error"]]
    if state["got"] is not None:
        return _got(state["got"])
    return _looked(state["looked"] or [])


def _got(got: Mapping[str, Any]) -> list[str]:
    lines = [f"It was here already: {got['path']}." if got["already"] else f"Downloaded: {got['path']}."]
    if got["words"]:
        lines.append(f"Trigger words: {', '.join(got['words'])}.")
    if advised := _advice(got):
        lines.append(f"Its maker recommends {advised}.")
    if got["pickle"]:
        lines.append("It is a pickle. This extension reads it safely, others run it: take “Make it safetensors”.")
    return [*lines, *got["notes"]]


def _looked(looked: Sequence[Mapping[str, Any]]) -> list[str]:
    known = [one for one in looked if one["title"]]
    lines = [f"Civitai knows {len(known)} of {len(looked)} files."]
    for one in looked:
        facts = [f"{one['name']}: {one['title'] or 'not on Civitai'}"]
        if advised := _advice(one):
            facts.append(advised)
        if one["newer"]:
            facts.append(f"there is a newer version ({one['model']}@{one['newer']})")
        lines.append("; ".join([*facts, *one["notes"]]))
    return lines


def _advice(said: Mapping[str, Any]) -> str:
    weakest, strongest = said["range"] or (None, None)
    facts = (
        f"strength {weakest:g} to {strongest:g}" if said["range"] else "",
        f"best {said['strength']:g}" if said["strength"] else "",
        said["sampler"] or "",
        f"{said['steps']} steps" if said["steps"] else "",
        f"CFG {said['cfg']:g}" if said["cfg"] else "",
    )
    return ", ".join(filter(None, facts))
