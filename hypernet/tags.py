"""`<hypernet:NAME:STRENGTH:option=value>` in a prompt -> tags. Nothing here raises: a bad tag becomes a message."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hypernet.errors import printable
from hypernet.schedule import Course, Schedule

_TAG = re.compile(r"<hypernet:([^>]*)>", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_PRESET = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

BlockWeights: TypeAlias = "str | tuple[float, ...]"
"""A preset's name, or numbers in block order."""


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


def parse(prompt: str) -> Prompt:
    """Finds every hypernetwork tag of a prompt, in order."""
    closed = prompt.rfind(">") + 1  # of what never closes, each beginning would be read to the end of the prompt
    parsed = [parse_items(match.group(1).split(":")) for match in _TAG.finditer(prompt, 0, closed)]
    return Prompt(
        text=_TAG.sub("", prompt[:closed]) + prompt[closed:],
        tags=tuple(tag for tag in parsed if isinstance(tag, Tag)),
        problems=tuple(tag for tag in parsed if isinstance(tag, BadTag)),
    )


def parse_items(items: Sequence[str]) -> Tag | BadTag:
    """One tag from its parts, as WebUIs hand them over: `["NAME", "0.7", "k=0.5"]`."""
    text = f"<hypernet:{':'.join(items)}>"
    try:
        return _parse_items(items, text)
    except _Refused as refused:
        return BadTag(_shorten(text), str(refused))


class _Refused(Exception):
    """Why a tag can't be used."""


def _parse_items(items: Sequence[str], text: str) -> Tag:
    name, *rest = (item.strip() for item in items) if items else [""]
    if not name:
        raise _Refused("it names no file: write <hypernet:FILENAME:0.7>.")
    positional = [item for item in rest if "=" not in item]
    if len(positional) > 1:
        raise _Refused(f"it has a second strength, {_quote(positional[1])}: further values are written option=value.")
    options = _options([item for item in rest if "=" in item])
    strength = _schedule("strength", positional[0]) if positional else Schedule.constant(1.0)
    course = Course(
        strength=strength,
        hires=_schedule("hr", options["hr"]) if "hr" in options else None,
        start=_read_option(options, "start", _position, 0.0),
        stop=_read_option(options, "stop", _position, 1.0),
    )
    return Tag(
        name=name,
        text=text,
        course=course,
        k=_read_option(options, "k", _number, 1.0),
        v=_read_option(options, "v", _number, 1.0),
        self_attention=_read_option(options, "self", _number, 1.0),
        cross_attention=_read_option(options, "cross", _number, 1.0),
        blocks=_block_weights(options["lbw"]) if "lbw" in options else None,
        on=_half(options["on"]) if "on" in options else "both",
    )


_OPTIONS = ("start", "stop", "hr", "k", "v", "self", "cross", "lbw", "on")


def _options(items: Sequence[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for item in items:
        key, _, value = (part.strip() for part in item.partition("="))
        key = key.lower()
        if key not in _OPTIONS:
            raise _Refused(f"there is no option {_quote(key)}: there are {', '.join(_OPTIONS)}.")
        if key in options:
            raise _Refused(f"the option {key} is there twice.")
        options[key] = value
    return options


def _read_option(options: Mapping[str, str], key: str, read: Callable[[str, str], float], default: float) -> float:
    return read(key, options[key]) if key in options else default


def _number(what: str, text: str) -> float:
    if not _NUMBER.fullmatch(text):
        hint = " Write a decimal point, not a comma." if re.fullmatch(r"[+-]?[0-9]+,[0-9]+", text) else ""
        raise _Refused(f"{what} {_quote(text)} is not a number.{hint}")
    value = float(text)
    if not math.isfinite(value):
        raise _Refused(f"{what} {_quote(text)} is too large.")
    return value


def _position(what: str, text: str) -> float:
    value = _number(what, text)
    if value < 0:
        raise _Refused(f"{what} {_quote(text)} is before the run: a position is 0 to 1, or a step number over 1.")
    return value


def _schedule(what: str, text: str) -> Schedule:
    if "@" not in text:
        return Schedule.constant(_number(what, text))
    points = []
    for point in re.split("[,;]", text):
        value, at, position = (part.strip() for part in point.partition("@"))
        if not at:
            raise _Refused(f"in the {what} schedule, {_quote(point)} has no position: write value@position.")
        points.append((_number(what, value), _position("position", position)))
    return Schedule(tuple(points))


def _block_weights(text: str) -> BlockWeights:
    if _PRESET.fullmatch(text):
        return text.upper()
    return tuple(_number("block weight", part.strip()) for part in re.split("[,;]", text))


def _half(text: str) -> str:
    if text.lower() not in ("cond", "uncond"):
        raise _Refused(f"on={_quote(text)} is neither on=cond (positive prompt) nor on=uncond (negative prompt).")
    return text.lower()


def _quote(text: str) -> str:
    return f"“{_shorten(text)}”"


def _shorten(text: str, limit: int = 120) -> str:
    shown = printable(text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
