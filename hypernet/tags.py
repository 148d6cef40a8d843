"""`<hypernet:NAME:STRENGTH:option=value>` in a prompt -> tags. Nothing here raises: a bad tag becomes a message.

Every pattern here takes time in proportion to the text, however long and however odd the text is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from hypernet.blocks import PRESETS, BlockWeights
from hypernet.schedule import Course, Schedule
from hypernet.text import printable

TAG_PATTERN = re.compile(r"<hypernet:([^<>]*)>", re.IGNORECASE)
"""A tag; group 1 is what stands behind its first colon. Without `<` inside, a search never reads a text twice."""

MAX_TAGS = 100
"""Tags of one prompt that count."""
MAX_FACTOR = 100.0
"""The largest strength, factor or block weight, either sign. Pictures are ruined long before."""
MAX_VALUES = 200
"""Points of one schedule, or numbers in one list of block weights."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_PRESET = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
_SEPARATOR = re.compile("[,;]")


@dataclass(frozen=True)
class Tag:
    """One hypernetwork as asked for in a prompt."""

    name: str
    text: str
    """The tag as typed, for messages."""
    course: Course
    k: float = 1.0
    v: float = 1.0
    self_attention: float = 1.0
    cross_attention: float = 1.0
    blocks: BlockWeights | None = None
    on: str = "both"
    """'both', 'cond' or 'uncond': the half of the batch it acts on."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """A sentence for each part of the tag that doesn't count, though the tag does."""


@dataclass(frozen=True)
class BadTag:
    """A tag that can't be used, and why, in the words of whoever typed it."""

    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.text}: {self.reason} This tag was left out."


@dataclass(frozen=True)
class Prompt:
    """A prompt taken apart."""

    text: str
    """The prompt without its hypernetwork tags."""
    tags: tuple[Tag, ...]
    problems: tuple[BadTag, ...]
    notes: tuple[str, ...] = ()
    """What `prompt_notes` says of it."""


def parse(prompt: str) -> Prompt:
    """Finds every hypernetwork tag of a prompt, in order."""
    parsed = [_parse(match[1].split(":"), match[0]) for match in TAG_PATTERN.finditer(prompt)]
    return Prompt(
        text=TAG_PATTERN.sub("", prompt),
        tags=tuple(tag for tag in parsed if isinstance(tag, Tag)),
        problems=tuple(tag for tag in parsed if isinstance(tag, BadTag)),
        notes=prompt_notes(prompt),
    )


def parse_items(items: Sequence[str]) -> Tag | BadTag:
    """One tag from its parts, as WebUIs hand them over: `["NAME", "0.7", "k=0.5"]`."""
    return _parse(items, f"<hypernet:{':'.join(items)}>")


class _Unusable(Exception):
    """Why a tag can't be used."""


def _parse(items: Sequence[str], text: str) -> Tag | BadTag:
    try:
        return _tag(items, text)
    except _Unusable as why:
        return BadTag(_shorten(text), str(why))


def _tag(items: Sequence[str], text: str) -> Tag:
    name, *rest = (item.strip() for item in items) if items else [""]
    if not name:
        raise _Unusable("it names no file: write <hypernet:FILENAME:0.7>.")
    if len(rest) > MAX_VALUES:
        raise _Unusable(f"it has {len(rest):,} parts; a strength and {len(OPTIONS)} options are the most that count.")
    options = _options([item for item in rest if "=" in item])
    strength, *more = [item for item in rest if "=" not in item] or ["1"]
    if len(more) and not _is_number(strength) and _is_number(more[0]):
        raise _Unusable(f"strength {_quote(strength)} is not a number. For a colon in a file's name, write _.")
    notes = [] if len(rest) < 2 else _take_unnamed(more, options, text)
    values = {
        key: option.read(key, options[key]) if key in options else option.default for key, option in OPTIONS.items()
    }
    return Tag(
        name=name,
        text=text,
        course=Course(
            strength=_schedule("strength", strength), hires=values["hr"], start=values["start"], stop=values["stop"]
        ),
        k=values["k"],
        v=values["v"],
        self_attention=values["self"],
        cross_attention=values["cross"],
        blocks=values["lbw"],
        on=values["on"],
        notes=tuple(notes),
    )


def _options(items: Sequence[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for item in items:
        key, _, value = (part.strip() for part in item.partition("="))
        key = key.lower()
        if key not in OPTIONS:
            raise _Unusable(f"there is no option {_quote(key)}: there are {', '.join(OPTIONS)}.")
        if key in options:
            raise _Unusable(f"the option {key} is there twice.")
        options[key] = value
    return options


def _take_unnamed(items: Sequence[str], options: dict[str, str], text: str) -> list[str]:
    """Values behind the strength without an option's name. Block weights count, as in sd-webui-lora-block-weight.

    Returns a note on each other one: WebUIs' own hypernetworks take the strength and pass over the rest.
    """
    notes = []
    for item in items:
        if "lbw" not in options and _is_block_weights(item):
            options["lbw"] = item
        elif item:
            what = "a second strength" if _is_number(item) else "a value without a name"
            notes.append(f"{_shorten(text)}: {what}, {_quote(item)}, was passed over: further values are option=value.")
        else:
            notes.append(f"{_shorten(text)}: there is a colon too many.")
    return list(dict.fromkeys(notes))


def _is_block_weights(text: str) -> bool:
    parts = _SEPARATOR.split(text)
    return text.upper() in PRESETS or (len(parts) > 1 and all(_is_number(part.strip()) for part in parts))


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _number(what: str, text: str) -> float:
    if not _is_number(text):
        hint = " Write a decimal point, not a comma." if _DECIMAL_COMMA.fullmatch(text) else ""
        raise _Unusable(f"{what} {_quote(text)} is not a number.{hint}")
    value = float(text)
    if not math.isfinite(value):
        raise _Unusable(f"{what} {_quote(text)} is too large.")
    return value


def _factor(what: str, text: str) -> float:
    value = _number(what, text)
    if abs(value) > MAX_FACTOR:
        raise _Unusable(f"{what} {_quote(text)} is too large: the most is {MAX_FACTOR:g}, and usual is 0 to 1.")
    return value


def _position(what: str, text: str) -> float:
    value = _number(what, text)
    if value < 0:
        raise _Unusable(f"{what} {_quote(text)} is before the run: a position is 0 to 1, or a step number over 1.")
    return value


def _schedule(what: str, text: str) -> Schedule:
    if "@" not in text:
        return Schedule.constant(_factor(what, text))
    points = []
    for point in _values(f"the {what} schedule", text):
        value, at, position = (part.strip() for part in point.partition("@"))
        if not at:
            raise _Unusable(f"in the {what} schedule, {_quote(point)} has no position: write value@position.")
        points.append((_factor(what, value), _position("position", position)))
    return Schedule(tuple(points))


def _block_weights(what: str, text: str) -> BlockWeights:
    if _PRESET.fullmatch(text):
        return text.upper()
    return tuple(_factor("block weight", part.strip()) for part in _values("lbw", text))


def _values(what: str, text: str) -> list[str]:
    values = _SEPARATOR.split(text)
    if len(values) > MAX_VALUES:
        raise _Unusable(f"{what} has {len(values):,} values, and the most is {MAX_VALUES}.")
    return values


def _half(what: str, text: str) -> str:
    if text.lower() not in ("cond", "uncond"):
        raise _Unusable(f"on={_quote(text)} is neither on=cond (positive prompt) nor on=uncond (negative prompt).")
    return text.lower()


@dataclass(frozen=True)
class Option:
    """One `key=value` of a tag: how it is read, and what documentation and completion say of it."""

    read: Callable[[str, str], Any]
    """The key and the text behind `=` -> the value."""
    default: Any
    meaning: str
    example: str
    """A value that may stand behind `=`."""
    choices: tuple[str, ...] = ()
    """The words that may stand there, where only some may."""


OPTIONS: Mapping[str, Option] = {
    "start": Option(_position, 0.0, "off before this position", "0.2"),
    "stop": Option(_position, 1.0, "off from this position on", "0.8"),
    "hr": Option(_schedule, None, "strength in the hires pass, a number or a schedule", "0.4"),
    "k": Option(_factor, 1.0, "factor on the net for K", "0.5"),
    "v": Option(_factor, 1.0, "factor on the net for V", "0.5"),
    "self": Option(_factor, 1.0, "factor on self-attention", "0"),
    "cross": Option(_factor, 1.0, "factor on cross-attention", "0"),
    "lbw": Option(_block_weights, None, "block weights, a preset or numbers", "OUTALL", PRESETS),
    "on": Option(_half, "both", "only the positive or the negative prompt", "cond", ("cond", "uncond")),
}
"""Every option of a tag, by its key, in the order they are documented."""


_MISSPELT = re.compile(r"<\s*(?!hypernet:)hyper[ _-]?net(?:work)?s?\s*:([^<>]*)>", re.IGNORECASE)
_UNCLOSED = re.compile(r"<hypernet:[^<>]*(?=<|\Z)", re.IGNORECASE)
_EDITING = re.compile(r"\\.|<[^<>]*>|[\[\]:|]", re.DOTALL)
_MOST_NOTES = 3  # of one kind


def prompt_notes(prompt: str) -> tuple[str, ...]:
    """A sentence for each piece of a prompt that looks like a hypernetwork's tag, and isn't or does something else."""
    unclosed = (f"{_quote(match[0])} has no > at its end: it was read as text." for match in _UNCLOSED.finditer(prompt))
    misspelt = (
        f"{_quote(match[0])} is no hypernetwork's tag: write <hypernet:{_shorten(match[1].strip())}>."
        for match in _MISSPELT.finditer(prompt)
    )
    return tuple(note for kind in (unclosed, misspelt, _edited(prompt)) for note in islice(kind, _MOST_NOTES))


def _edited(prompt: str) -> Iterator[str]:
    """On tags inside `[from:to:when]` and `[one|other]`, which WebUIs take out before they read the brackets."""
    opened: list[_Bracket] = []
    for match in _EDITING.finditer(prompt):
        mark = match[0]
        if mark == "[":
            opened.append(_Bracket(match.start()))
        elif not opened:
            continue
        elif mark == "]":
            bracket = opened.pop()
            if bracket.tags and (bracket.colons or bracket.alternates):
                yield bracket.note(prompt, match.start())
        elif mark == "|":
            opened[-1].alternates = True
        elif mark == ":":
            opened[-1].colons.append(match.start())
        elif TAG_PATTERN.fullmatch(mark):
            opened[-1].tags.append((match.start(), mark))


@dataclass
class _Bracket:
    """An opened `[`. All places are counted from the prompt's begin."""

    begin: int
    colons: list[int] = field(default_factory=list)
    tags: list[tuple[int, str]] = field(default_factory=list)
    alternates: bool = False

    def note(self, prompt: str, end: int) -> str:
        whole = _quote(prompt[self.begin : end + 1])
        when = prompt[self.colons[-1] + 1 : end].strip() if self.colons else ""
        if self.alternates or len(self.colons) > 2 or not _is_number(when):
            return f"Hypernetworks inside {whole} act all the time: start= and stop= in a tag say when it acts."
        until = self.colons[0] if len(self.colons) == 2 else self.begin
        timed = (f"{tag[:-1]}:{'stop' if at < until else 'start'}={when}>" for at, tag in islice(self.tags, 4))
        return f"Hypernetworks inside {whole} act all the time: write {_shorten(' '.join(timed), 300)} instead."


def _quote(text: str) -> str:
    return f"“{_shorten(text)}”"


def _shorten(text: str, limit: int = 120) -> str:
    shown = printable(text[: limit + 1])
    return shown if len(text) <= limit else shown[: limit - 1] + "…"
