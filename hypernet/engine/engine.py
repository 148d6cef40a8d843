"""One plan on one UNet: attach, run, detach without a trace."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from hypernet.engine.forward_patch import ForwardPatch
from hypernet.engine.step import ReadWeight, Run, SiteRun
from hypernet.engine.strategies import choose
from hypernet.engine.strategies.choose import Way
from hypernet.engine.tensors import readable_weight
from hypernet.engine.weights import DeviceWeights
from hypernet.plan import Plan
from hypernet.schedule import Moment

_log = logging.getLogger("hypernet")

Clock = Callable[[tuple[Any, ...], Mapping[str, Any]], Moment]
"""A UNet call's arguments -> where in the run it stands."""


def no_clock(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Moment:
    return Moment()


@dataclass(frozen=True)
class Detail:
    """Sites that are alike. cross: whether they see the text; width: of what they see; way: how they are computed."""

    cross: bool
    width: int
    way: Way


class Engine:
    """Owns every hook. At most one plan is attached at a time; attaching again replaces it."""

    def __init__(self, keep_weights: bool = False, dtype: torch.dtype | None = None) -> None:
        """keep_weights: whether the networks' device copies stay in memory after detach, for the next image.

        dtype: what nets compute in; None: the type that the UNet computes in.
        """
        self._weights = DeviceWeights(keep_weights, dtype)
        self._run: Run | None = None
        self._handles: list[RemovableHandle] = []
        self._patches: list[ForwardPatch] = []

    def attach(
        self, unet: nn.Module, plan: Plan, clock: Clock = no_clock, read_weight: ReadWeight = readable_weight
    ) -> None:
        """Makes the UNet's next calls follow the plan. A plan without sites attaches nothing.

        read_weight: tells which weight a projection multiplies by (None: unknown), as the host knows it.
        """
        self.detach()
        if not plan.sites:
            return
        run = self._run = Run(plan, self._weights, read_weight)

        def begin(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            try:
                run.begin(clock(args, kwargs))
            except Exception as error:  # nothing of ours may stop the host's picture
                run.fail(error)

        self._handles.append(unet.register_forward_pre_hook(begin, with_kwargs=True))
        for site in run.sites:
            if site.way.name in (choose.FOLD, choose.CACHE):
                self._patches.append(ForwardPatch(site.module, site.project))
            else:
                self._handles.append(site.module.register_forward_pre_hook(_before(site)))
        _log.info(
            "hypernetworks in this UNet: %s", ", ".join(f"{way} {count}" for way, count in self.explain().items())
        )

    def detach(self) -> None:
        """Removes everything. The UNet is as it was; nothing of it is referred to from here."""
        for handle in self._handles:
            handle.remove()
        for patch in self._patches:
            patch.remove()
        self._handles, self._patches, self._run = [], [], None
        if not self._weights.keep:
            self._weights.clear()

    def begin(self, moment: Moment) -> None:
        """Says where the run stands, within a call of what was attached to: its next call says so by itself."""
        if self._run is not None:
            self._run.begin(moment)

    @property
    def dtype(self) -> torch.dtype | None:
        """What nets compute in; None: the type that the UNet computes in."""
        return self._weights.dtype

    @property
    def attached(self) -> bool:
        return self._run is not None

    @property
    def failures(self) -> tuple[str, ...]:
        """What went wrong inside the run so far, one sentence for each cause."""
        return () if self._run is None else tuple(self._run.failures)

    def explain(self) -> Mapping[str, int]:
        """How many sites go which way."""
        return Counter(site.way.name for site in self._run.sites) if self._run else {}

    def details(self) -> Mapping[Detail, int]:
        """How many sites of which kind go which way, and why."""
        sites = self._run.sites if self._run else []
        return Counter(Detail(site.cross, site.width, site.way) for site in sites)


def _before(site: SiteRun) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...] | None]:
    def hook(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if args and isinstance(args[0], Tensor):
            return (site.transform(args[0]), *args[1:])
        return None

    return hook
