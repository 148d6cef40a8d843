"""The state of one attached plan: what each site does at the moment of the current UNet call."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

from hypernet.engine import chain as chains
from hypernet.engine.chain import Chain, Link
from hypernet.engine.forward_patch import ForwardPatch
from hypernet.engine.strategies import choose
from hypernet.engine.strategies.fold import FoldedSite
from hypernet.engine.strategies.text_cache import Contexts
from hypernet.engine.tensors import autocast_dtype
from hypernet.engine.weights import DeviceWeights
from hypernet.plan import Application, Plan
from hypernet.schedule import Course, Moment
from hypernet.sites import Site

_log = logging.getLogger("hypernet")

ReadWeight = Callable[[nn.Module], Tensor | None]


class Run:
    """Shared by the sites of one attached plan."""

    def __init__(self, plan: Plan, weights: DeviceWeights, read_weight: ReadWeight) -> None:
        self.weights, self.read_weight = weights, read_weight
        self.contexts = Contexts()
        self.failures: dict[str, None] = {}
        self._courses = {application.course for nets in plan.sites.values() for application in nets}
        self._strengths: dict[Course, float] = {}
        self._cond: tuple[bool, ...] | None = None
        self.sites = [SiteRun(self, site, applications) for site, applications in plan.sites.items()]
        self.begin(Moment())

    def begin(self, moment: Moment) -> None:
        """A UNet call begins."""
        self.contexts.begin()
        self.weights.begin()
        strengths = {course: course.at(moment) for course in self._courses}
        if strengths != self._strengths or moment.cond != self._cond:
            self._strengths, self._cond = strengths, moment.cond
            for site in self.sites:
                site.chain = None

    def link(self, application: Application) -> Link | None:
        """The application at this moment; None where it does nothing."""
        strength = application.factor * self._strengths[application.course]
        if not strength:
            return None
        return Link(application.net, strength, self._rows(application.on), application.course.varies)

    def fail(self, error: Exception) -> None:
        self.failures[f"A hypernetwork could not run: {error}"] = None

    def note_short_of_memory(self, error: BaseException) -> None:
        _log.info("no memory to fold a hypernetwork into a projection, it runs beside it: %s", error)

    def _rows(self, on: str) -> tuple[bool, ...] | None:
        if on == "both":
            return None
        cond = self._cond
        if cond is None:  # a host that can't tell the halves apart runs the positive prompt
            return None if on == "cond" else (False,)
        return cond if on == "cond" else tuple(not row for row in cond)


class SiteRun:
    """One site of a run. `way` says how it is computed."""

    def __init__(self, run: Run, site: Site, applications: tuple[Application, ...]) -> None:
        self.run, self.module, self.width, self.cross = run, site.module, site.width, site.cross
        self.chain: Chain | None = None
        self._applications = applications
        self._fold: FoldedSite | None = None
        readable = ForwardPatch.possible(site.module) and run.read_weight(site.module) is not None
        self.way = choose.choose(site.cross, applications, readable)

    def current(self) -> Chain:
        """The nets of this site with the strengths they have in this UNet call."""
        if self.chain is None:
            links = (self.run.link(application) for application in self._applications)
            self.chain = tuple(link for link in links if link is not None)
        return self.chain

    def transform(self, x: Tensor) -> Tensor:
        """The projection's input after the nets; x: (batch, tokens, width)."""
        chain = self.current()
        if not chain or x.shape[-1] != self.width or not x.is_floating_point():
            return x
        if self.cross and not _differentiable(x):
            return self.run.contexts.find(x).get(chain, lambda: self._apply(chain, x))
        return self._apply(chain, x)

    def _apply(self, chain: Chain, x: Tensor) -> Tensor:
        try:
            return chains.apply(chain, x, self.run.weights)
        except Exception as error:  # a picture without the network, and the reason on it, is better than none
            self.run.fail(error)
            return x

    def project(self, module: nn.Module, x: Tensor) -> Tensor:
        """The projection's output after the nets, where its call is replaced."""
        weight = self.run.read_weight(module)
        if weight is None or not self.current() or not _plain(x, weight, self.width):
            return ForwardPatch.original(module, self.transform(x))
        if self.cross:
            return self._cached(module, weight, x)
        return self._folded(module, weight, x)

    def _cached(self, module: nn.Module, weight: Tensor, x: Tensor) -> Tensor:
        context = self.run.contexts.find(x)
        key, sources = (self, self.current()), (weight, module._parameters.get("bias"))
        return context.get(key, lambda: ForwardPatch.original(module, self.transform(x)), sources)

    def _folded(self, module: nn.Module, weight: Tensor, x: Tensor) -> Tensor:
        if self.way.name != choose.FOLD:
            return ForwardPatch.original(module, self.transform(x))
        bias = module._parameters.get("bias")
        if self._fold is None or not self._fold.holds(weight, bias):
            self._fold = FoldedSite(weight, bias, self.run.weights)
        try:
            return self._fold.at(self.current())(x)
        except (MemoryError, RuntimeError) as error:  # torch's out-of-memory errors are RuntimeErrors
            self.run.note_short_of_memory(error)
            self.way, self._fold = choose.SHORT_OF_MEMORY, None
            return ForwardPatch.original(module, self.transform(x))


def _differentiable(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad


def _plain(x: Tensor, weight: Tensor, width: int) -> bool:
    """Whether multiplying by the weight is all that happens to x here."""
    fits = x.shape[-1] == width and x.device == weight.device and not _differentiable(x)
    return fits and (x.dtype == weight.dtype or autocast_dtype(x.device) is not None)
