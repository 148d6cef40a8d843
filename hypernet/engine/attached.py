"""A plan attached to a UNet: what each site does in the current UNet call."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from hypernet.engine.chain import Chain
from hypernet.engine.contexts import Contexts
from hypernet.engine.forward_patch import ForwardPatch
from hypernet.engine.journal import Journal
from hypernet.engine.observed import Observed
from hypernet.engine.step import Step
from hypernet.engine.strategies.choose import choose
from hypernet.engine.strategies.strategy import ProjectionStrategy, Shared
from hypernet.engine.tensors import ReadWeight
from hypernet.engine.watch import WeightWatch
from hypernet.engine.weights import DeviceWeights
from hypernet.plan import Application, Plan
from hypernet.schedule import Moment
from hypernet.sites import Site


class AttachedPlan:
    """The sites of one attached plan and what they share."""

    def __init__(self, plan: Plan, weights: DeviceWeights, read_weight: ReadWeight) -> None:
        applications = [application for nets in plan.sites.values() for application in nets]
        self._nets = {application.net for application in applications}
        self._tags = [use.tag for use in plan.applied]
        self._step = Step([application.course for application in applications])
        self._observed = Observed()
        self._acting = False
        self._finite: Tensor | None = None
        self.journal = Journal()
        self._shared = Shared(weights, Contexts(), WeightWatch(), read_weight, self.journal)
        weights.refresh(self._nets)
        self.sites = [AttachedSite(site, nets, self._step, self._shared) for site, nets in plan.sites.items()]

    def begin(self, moment: Moment) -> None:
        """A UNet call begins."""
        shared = self._shared
        shared.contexts.begin()
        shared.weights.begin()
        for strategy in shared.watch.changed():
            strategy.reset()
        if shared.weights.refresh(self._nets):
            self.forget()
        if self._step.begin(moment):
            for site in self.sites:
                site.forget_chain()
        acting = [tag for tag in self._tags if self._step.acts(tag.course, tag.on)]
        self._acting = bool(acting)
        self._observed = self._observed.after(moment, acting)

    def end(self, output: Any) -> None:
        """A UNet call is over; output: what it returned. Nobody waits for the device here: `observed` does, once."""
        sample = _sample(output)
        if self._acting and sample is not None and sample.is_floating_point():
            finite = torch.isfinite(sample.detach()).all()
            self._finite = finite if self._finite is None else self._finite.to(finite.device) & finite

    @property
    def observed(self) -> Observed:
        """What the UNet calls so far have shown. Waits for the device, to learn whether all of them were finite."""
        finite = self._finite is None or bool(self._finite)
        failures, remarks = self.journal.failures, self.journal.remarks
        return replace(self._observed, finite=finite, failures=failures, remarks=remarks)

    def forget(self) -> None:
        """Drops everything made from the networks: they have changed, or the plan is being detached."""
        self._shared.contexts.clear()
        self._shared.watch.clear()
        for site in self.sites:
            site.strategy.reset()


class AttachedSite:
    """One site of an attached plan."""

    def __init__(self, site: Site, applications: tuple[Application, ...], step: Step, shared: Shared) -> None:
        self._applications, self._step, self._journal = applications, step, shared.journal
        self._chain: Chain | None = None
        self.site = site
        self.strategy = choose(site, applications, shared)

    def forget_chain(self) -> None:
        """The strengths have changed."""
        self._chain = None

    def change(self, x: Tensor) -> Tensor:
        """The projection's input after the nets, x: (batch, tokens, width); unchanged where they can't run."""
        chain = self._chain_for(x)
        while chain:
            try:
                return self.strategy.change(chain, x)
            except Exception as error:
                plainer = self.strategy.fallback(error)
                if plainer is None:  # a picture without the network, and the reason on it, is better than none
                    self._journal.fail(error)
                    return x
                self.strategy = plainer
        return x

    def project(self, module: nn.Module, x: Tensor) -> Tensor:
        """The projection's output after the nets, where its call is patched. x: (batch, tokens, width)."""
        chain = self._chain_for(x)
        if chain and isinstance(self.strategy, ProjectionStrategy):
            try:
                projected = self.strategy.project(chain, module, x)
                if projected is not None:
                    return projected
            except Exception as error:
                self.strategy = self.strategy.fallback(error) or self.strategy
        return ForwardPatch.original(module, self.change(x))

    def _chain_for(self, x: Tensor) -> Chain:
        """The nets with the strengths of this UNet call; none for an input of another width or kind."""
        if self._chain is None:
            self._chain = self._step.chain(self._applications)
        return self._chain if x.shape[-1] == self.site.width and x.is_floating_point() else ()


def _sample(output: Any) -> Tensor | None:
    """The tensor in a UNet's result: the result itself (ldm, Forge), a tuple's first item or `.sample` (diffusers)."""
    first = output[0] if isinstance(output, (tuple, list)) and output else getattr(output, "sample", output)
    return first if isinstance(first, Tensor) else None
