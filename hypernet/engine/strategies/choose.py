"""Chooses the strategy that computes a site, and says why."""

from __future__ import annotations

from collections.abc import Sequence

from hypernet.engine.forward_patch import ForwardPatch
from hypernet.engine.strategies.collapse import Collapse
from hypernet.engine.strategies.fold import Fold
from hypernet.engine.strategies.strategy import Shared, Strategy
from hypernet.engine.strategies.stream import Stream
from hypernet.engine.strategies.text_cache import CachedInput, CachedProjection
from hypernet.plan import Application
from hypernet.sites import Site


def choose(site: Site, applications: Sequence[Application], shared: Shared) -> Strategy:
    """The cheapest strategy that gives the plain formula's result at this site."""
    readable = ForwardPatch.possible(site.module) and shared.read_weight(site.module) is not None
    if site.cross:
        why = "the text is the same in every step"
        if readable:
            return CachedProjection(why, shared)
        return CachedInput(f"{why}; the host keeps the projection's weight to itself", shared)
    if not all(application.net.linear for application in applications):
        return Stream("the picture changes in every step, and a net is not linear", shared)
    if not readable:
        return Collapse("the nets are linear; the host keeps the projection's weight to itself", shared)
    if not all(application.on == "both" for application in applications):
        return Collapse("the nets are linear, but a tag is for one of the two prompts only", shared)
    if sum(application.course.varies for application in applications) > 1:
        return Collapse("the nets are linear, but more than one strength moves", shared)
    return Fold("the nets are linear: they become part of the projection", shared)
