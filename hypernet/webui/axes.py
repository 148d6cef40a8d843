"""Axes for the X/Y/Z plot. Each changes the tags in the prompt, so that every picture carries what made it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from hypernet.tags import TAG_PATTERN
from hypernet.webui.catalogue import Catalogue

PREFIX = "[Hypernet] "
"""What the labels of our axes begin with."""

_PATIENCE = 2.0
"""Seconds to open files for, while somebody waits for the choices."""

_WITHOUT = "_hypernet_without"
"""On a cell's p: its network is “None”, so that there is nothing for the other axes to change."""

Items = list[str]
"""The parts of a tag: name, strength, options."""

Base = Callable[[], "str | None"]
"""The base of the model that is loaded now, as networks' bases are called; None where nobody can tell."""


def add_axes(modules: Sequence[Any], catalogue: Catalogue, base: Base = lambda: None) -> None:
    """modules: the host's, each with its `axis_options` and `AxisOption`. Axes that are there stay."""
    for module in modules:
        there = {option.label for option in module.axis_options}
        for option in _options(module.AxisOption, catalogue, base):
            if option.label not in there:
                module.axis_options.append(option)


def usable_names(catalogue: Catalogue, base: str | None) -> list[str]:
    """The networks that a model of that base can have. A file that there is no time to open counts as one of them."""
    until, names = time.monotonic() + _PATIENCE, []
    for entry in catalogue.entries():
        facts = catalogue.facts(entry) if time.monotonic() < until else catalogue.facts_if_known(entry)
        of = (facts or {}).get("base", "unknown")
        if not (facts and "problem" in facts) and (base is None or of in (base, "unknown")):
            names.append(entry.name)
    return names


def _options(make: Any, catalogue: Catalogue, base: Base) -> list[Any]:
    def names() -> list[str]:
        return ["None", *usable_names(catalogue, base())]

    network = make(PREFIX + "Network", str, _network, choices=names)
    settings = {
        "Strength": set_strength,
        "K factor": set_option("k"),
        "V factor": set_option("v"),
        "Block weights": set_option("lbw"),
        "Start": set_option("start"),
        "Stop": set_option("stop"),
    }
    return [network, *(make(PREFIX + label, str, _on_each_tag(change)) for label, change in settings.items())]


def _network(p: Any, value: str, values: Sequence[str]) -> None:
    setattr(p, _WITHOUT, value == "None")
    _change(p, lambda prompt: use_network(prompt, value))


def _on_each_tag(change: Callable[[Items, str], Items]) -> Callable[[Any, str, Sequence[str]], None]:
    """Never raises, as that would end the whole plot: what can't be used is told below the picture it was meant for."""

    def apply(p: Any, value: str, values: Sequence[str]) -> None:
        if not TAG_PATTERN.search(p.prompt) and not getattr(p, _WITHOUT, False):
            _change(p, _with_a_tag)
        _change(p, lambda prompt: TAG_PATTERN.sub(lambda match: _changed(match[1].split(":"), value), prompt))

    def _changed(items: Items, value: str) -> str:
        return f"<hypernet:{':'.join(change(items, value.strip()))}>"

    return apply


def _with_a_tag(prompt: str) -> str:
    """A tag without a name: another axis may give it one, and if none does, the picture tells."""
    return prompt if TAG_PATTERN.search(prompt) else f"{prompt}<hypernet:>"


def _change(p: Any, change: Callable[[str], str]) -> None:
    p.prompt = change(p.prompt)
    if getattr(p, "hr_prompt", ""):
        p.hr_prompt = change(p.hr_prompt)


def use_network(prompt: str, name: str) -> str:
    """The prompt with another network in its first tag, or in a new one; “None” leaves the tag out."""
    if name == "None":
        return TAG_PATTERN.sub("", prompt, count=1)
    if not TAG_PATTERN.search(prompt):
        return f"{prompt}<hypernet:{name}:1>"
    return TAG_PATTERN.sub(lambda match: f"<hypernet:{':'.join([name, *match[1].split(':')[1:]])}>", prompt, count=1)


def set_strength(items: Items, value: str) -> Items:
    """`["ink", "0.7", "k=0"]`, the new strength -> the items with it."""
    name, *rest = items
    return [name, value, *(item for item in rest if "=" in item)]


def set_option(key: str) -> Callable[[Items, str], Items]:
    """A change that sets an option of a tag."""

    def change(items: Items, value: str) -> Items:
        name, *rest = items
        return [name, *(item for item in rest if item.partition("=")[0].strip().lower() != key), f"{key}={value}"]

    return change
