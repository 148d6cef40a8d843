"""Strength over a run: values at positions, linear in between, and the part of the run that they apply to.

A position is a fraction of the run from 0 (first step) to 1 (last step), or, over 1, the number of steps done before
it, as in `[cat:dog:10]`. The notation is sd-webui-loractl's (`0@0,1@0.5`) and sd-webui-lora-block-weight's (`stop=10`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Moment:
    """One UNet call's step in a run, and which rows of its batch belong to the positive prompt."""

    step: int = 0
    """Steps done before this one, from 0."""
    steps: int = 1
    """Steps of the whole run."""
    hires: bool = False
    """Whether this is the second pass, at a higher resolution."""
    cond: tuple[bool, ...] | None = None
    """Per row of the batch: True for the positive prompt, False for the negative. None where the host can't say."""


def steps_done(position: float, steps: int) -> float:
    """A position in units of steps done before it, for a run of `steps` steps."""
    return position * max(steps - 1, 1) if position <= 1 else position


@dataclass(frozen=True)
class Schedule:
    """Values at positions, sorted by position at use; constant before the first and after the last."""

    points: tuple[tuple[float, float], ...]
    """(value, position) pairs; at least one."""

    @classmethod
    def constant(cls, value: float) -> Schedule:
        """One value for the whole run."""
        return cls(((value, 0.0),))

    @property
    def is_constant(self) -> bool:
        """Whether all its values are equal."""
        return len({value for value, _ in self.points}) == 1

    def at(self, moment: Moment) -> float:
        """The value at a moment."""
        knots = sorted(((steps_done(position, moment.steps), value) for value, position in self.points), key=_position)
        return _interpolate(knots, moment.step)


def _position(knot: tuple[float, float]) -> float:
    return knot[0]


def _interpolate(knots: Sequence[tuple[float, float]], step: float) -> float:
    """Piecewise linear through (position, value) knots; of two knots at one position, the later holds from there on."""
    left = None
    for position, value in knots:
        if position > step:
            if left is None:
                return value
            before, start = left
            return start + (value - start) * (step - before) / (position - before)
        left = (position, value)
    assert left is not None, "a schedule has at least one point"
    return left[1]


@dataclass(frozen=True)
class Course:
    """How strong a network is at each moment of a run, in both passes."""

    strength: Schedule
    hires: Schedule | None = None
    """In the hires pass; None means as in the first."""
    start: float = 0.0
    stop: float = 1.0
    """The position from which the network is off; 1, or a step beyond the end of the run: never."""

    def at(self, moment: Moment) -> float:
        """The strength at a moment; 0 outside the window."""
        if moment.step < steps_done(self.start, moment.steps):
            return 0.0
        if self.stop != 1 and moment.step >= steps_done(self.stop, moment.steps):
            return 0.0
        schedule = self.hires if moment.hires and self.hires is not None else self.strength
        return schedule.at(moment)

    @property
    def is_zero(self) -> bool:
        """Whether the strength is 0 at every moment, ignoring start and stop."""
        schedules = [self.strength] if self.hires is None else [self.strength, self.hires]
        return all(value == 0 for schedule in schedules for value, _ in schedule.points)

    @property
    def varies(self) -> bool:
        """Whether the strength changes from step to step, ignoring start and stop."""
        return not (self.strength.is_constant and (self.hires is None or self.hires.is_constant))
