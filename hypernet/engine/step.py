"""The strengths of the current UNet call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hypernet.engine.chain import Chain, Link
from hypernet.plan import Application
from hypernet.schedule import Course, Moment


class Step:
    """The strength of each course of a plan at the current moment."""

    def __init__(self, courses: Iterable[Course]) -> None:
        self._courses = frozenset(courses)
        self._strengths: dict[Course, float] = {}
        self._cond: tuple[bool, ...] | None = None
        self.begin(Moment())

    def begin(self, moment: Moment) -> bool:
        """A UNet call begins. Returns whether a strength, or which rows are positive, differs from the last call."""
        strengths = {course: course.at(moment) for course in self._courses}
        changed = strengths != self._strengths or moment.cond != self._cond
        self._strengths, self._cond = strengths, moment.cond
        return changed

    def chain(self, applications: Sequence[Application]) -> Chain:
        """A site's nets with their current strengths, without those at 0."""
        links = (self._link(application) for application in applications)
        return tuple(link for link in links if link is not None)

    def acts(self, course: Course, on: str) -> bool:
        """Whether a tag with this course acts now on any row. on: 'both', 'cond' or 'uncond'."""
        rows = self._rows(on)
        return bool(self._strengths[course]) and (rows is None or any(rows))

    def _link(self, application: Application) -> Link | None:
        strength = application.factor * self._strengths[application.course]
        if not strength:
            return None
        return Link(application.net, strength, self._rows(application.on), application.course.varies)

    def _rows(self, on: str) -> tuple[bool, ...] | None:
        """The rows of the batch that `on` names; None for all."""
        if on == "both":
            return None
        if self._cond is None:  # a host that can't tell the halves apart runs the positive prompt
            return None if on == "cond" else (False,)
        return self._cond if on == "cond" else tuple(not row for row in self._cond)
