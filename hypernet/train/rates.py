"""The learning rate over a training, in A1111's notation: `1e-3:100, 1e-4:1000, 1e-5`.

`RATE:STEP` holds while fewer than STEP steps are done. A RATE alone, or with the STEP -1, holds to the end, and what
follows it is ignored. Where the last pair has a STEP, training ends there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hypernet.errors import HypernetError

FORM = "Write one number, such as 1e-3, or pairs RATE:STEP, such as 1e-3:100, 1e-4:1000, 1e-5."
"""How to write learning rates, for messages."""


@dataclass(frozen=True)
class Rates:
    """Values that follow one another, each with the step before which it holds, in rising order; at least one."""

    pieces: tuple[tuple[float, int], ...]

    @property
    def end(self) -> int:
        """The number of steps after which training ends."""
        return self.pieces[-1][1]

    def at(self, step: int) -> float:
        """The value when `step` steps are done; after the end the last one."""
        return next((value for value, end in self.pieces if step < end), self.pieces[-1][0])


def read_rates(text: str, max_steps: int, done: int = 0, what: str = "learning rate") -> Rates:
    """The text's rates for a training up to `max_steps`, `done` steps of which lie behind.

    what: the option's name, for messages. Raises HypernetError, with the reason, for a text that makes no sense.
    """
    pieces: list[tuple[float, int]] = []
    previous = 0
    for pair in filter(None, map(str.strip, text.split(","))):
        value, end = _pair(pair, text, what)
        if end is None:
            pieces.append((value, max_steps))
            break
        if end < previous:
            raise HypernetError(f"The {what} “{text}”: step {end} comes after step {previous}. Put the steps in order.")
        previous = end
        if end > done:
            pieces.append((value, min(end, max_steps)))
        if end >= max_steps:
            break
    if not previous and not pieces:
        raise HypernetError(f"There is no {what}. {FORM}")
    if not pieces:
        raise HypernetError(f"The {what} “{text}” ends at step {previous}; {done} steps are done. Add a later pair.")
    return Rates(tuple(pieces))


def _pair(pair: str, text: str, what: str) -> tuple[float, int | None]:
    """A value and its step; None for the step that is the end."""
    first, *rest = pair.split(":")
    if len(rest) > 1:
        raise HypernetError(f"The {what} “{text}”: “{pair}” has more than two numbers. {FORM}")
    try:
        value, step = float(first), int(rest[0]) if rest else -1
    except ValueError:
        raise HypernetError(f"The {what} “{text}”: “{pair}” is no number, or its step no whole one. {FORM}") from None
    if not math.isfinite(value) or value < 0:
        raise HypernetError(f"The {what} “{text}”: {first.strip()} can't be one. It is a number above 0.")
    if step < -1:
        raise HypernetError(f"The {what} “{text}”: there is no step {step}. {FORM}")
    return value, None if step == -1 else step
