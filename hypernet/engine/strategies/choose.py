"""How a site is computed, and why. Every way gives the plain formula's result; they differ in what a step costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hypernet.plan import Application

FOLD, COLLAPSE, STREAM = "fold", "collapse", "stream"
CACHE, CACHE_INPUT = "cache", "cache input"

COSTS: Mapping[str, str] = {
    FOLD: "nothing",
    CACHE: "nothing while the prompt stays",
    CACHE_INPUT: "nothing while the prompt stays",
    COLLAPSE: "one matrix product each",
    STREAM: "the whole nets",
}
"""A way -> what it costs a step."""


@dataclass(frozen=True)
class Way:
    """name: one of COSTS; why: what decided, a half sentence."""

    name: str
    why: str


def choose(cross: bool, applications: Sequence[Application], readable: bool) -> Way:
    """cross: whether the site's input is the text; readable: whether its projection's weight can be read."""
    if cross:
        why = "the text is the same in every step"
        return (
            Way(CACHE, why)
            if readable
            else Way(CACHE_INPUT, f"{why}; the host keeps the projection's weight to itself")
        )
    if not all(application.net.linear for application in applications):
        return Way(STREAM, "the picture changes in every step, and a net is not linear")
    if not readable:
        return Way(COLLAPSE, "the nets are linear; the host keeps the projection's weight to itself")
    if not all(application.on == "both" for application in applications):
        return Way(COLLAPSE, "the nets are linear, but a tag is for one of the two prompts only")
    if sum(application.course.varies for application in applications) > 1:
        return Way(COLLAPSE, "the nets are linear, but more than one strength moves")
    return Way(FOLD, "the nets are linear: they become part of the projection")


SHORT_OF_MEMORY = Way(COLLAPSE, "the nets are linear; there was no memory to fold them")
