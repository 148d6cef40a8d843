"""One plan on one UNet: attach, run, detach without leaving a trace."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from hypernet.engine.attached import AttachedPlan, AttachedSite
from hypernet.engine.forward_patch import ForwardPatch
from hypernet.engine.observed import Observed
from hypernet.engine.strategies.strategy import ProjectionStrategy
from hypernet.engine.tensors import ReadWeight, readable_weight
from hypernet.engine.weights import DeviceWeights
from hypernet.plan import Plan
from hypernet.schedule import Moment

_log = logging.getLogger("hypernet")

Clock: TypeAlias = Callable[[tuple[Any, ...], Mapping[str, Any]], Moment]
"""A UNet call's arguments -> its moment in the run."""


def no_clock(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Moment:
    """For a UNet that is called outside a run: every call is step 0 of 1."""
    return Moment()


@dataclass(frozen=True)
class Detail:
    """What several sites have in common, for `Engine.details`."""

    cross: bool
    """Whether their input is the text context."""
    width: int
    """Channels of their input."""
    strategy: str
    """The name of their strategy."""
    cost: str
    """What it costs per step, in a few words."""
    why: str
    """Why it was chosen, half a sentence."""


class Engine:
    """Owns every hook. At most one plan is attached at a time; attaching again replaces it.

    Any thread may attach and detach. Threads that draw with the same UNet must take turns; the caller sees to that.
    """

    def __init__(self, keep_weights: bool = False, dtype: torch.dtype | None = None) -> None:
        """keep_weights: keep networks on the device after detach, for as long as they are in memory at all.

        dtype: the type that nets compute in; None: the UNet's.
        """
        self._weights = DeviceWeights(keep_weights, dtype)
        self._attached: AttachedPlan | None = None
        self._handles: list[RemovableHandle] = []
        self._patches: list[ForwardPatch] = []
        self._lock = threading.RLock()

    def attach(
        self, unet: nn.Module, plan: Plan, clock: Clock = no_clock, read_weight: ReadWeight = readable_weight
    ) -> None:
        """Makes the UNet's next calls follow the plan. A plan without sites attaches nothing.

        read_weight: the weight that a projection multiplies by, as far as the host can tell (None: unknown).
        """
        with self._lock:
            self.detach()
            if not plan.sites:
                return
            attached = self._attached = AttachedPlan(plan, self._weights, read_weight)
            self._handles.append(unet.register_forward_pre_hook(_beginning(attached, clock), with_kwargs=True))
            self._handles.append(unet.register_forward_hook(_ending(attached)))
            for site in attached.sites:
                module = site.site.module
                if isinstance(site.strategy, ProjectionStrategy):
                    self._patches.append(ForwardPatch(module, site.project))
                else:
                    self._handles.append(module.register_forward_pre_hook(_changing(site)))
            _log.info("hypernetworks in this UNet: %s", ", ".join(f"{k} {n}" for k, n in self.explain().items()))

    def detach(self) -> None:
        """Removes everything. The UNet is as it was, and no reference to it is kept."""
        with self._lock:
            for handle in self._handles:
                handle.remove()
            for patch in self._patches:
                patch.remove()
            if self._attached is not None:
                self._attached.forget()
            self._handles, self._patches, self._attached = [], [], None
            if not self._weights.keep:
                self._weights.clear()

    def begin(self, moment: Moment) -> None:
        """Sets the moment, for a module that was attached to in the middle of its call. Later calls ask the clock."""
        if self._attached is not None:
            self._attached.begin(moment)

    @property
    def dtype(self) -> torch.dtype | None:
        """The type that nets compute in; None: the UNet's."""
        return self._weights.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the copies of networks on the UNet's device, in its type."""
        return self._weights.nbytes

    @property
    def attached(self) -> bool:
        """Whether a plan is attached."""
        return self._attached is not None

    @property
    def failures(self) -> tuple[str, ...]:
        """What went wrong inside the run so far, one sentence for each cause."""
        return () if self._attached is None else self._attached.journal.failures

    @property
    def observed(self) -> Observed:
        """What the UNet calls since `attach` have shown. Read it before `detach`."""
        return Observed() if self._attached is None else self._attached.observed

    def explain(self) -> Mapping[str, int]:
        """Strategy -> how many sites it computes."""
        sites = self._attached.sites if self._attached else []
        return Counter(site.strategy.name for site in sites)

    def details(self) -> Mapping[Detail, int]:
        """For each kind of site how many there are, how they are computed and why."""
        sites = self._attached.sites if self._attached else []
        return Counter(
            Detail(each.site.cross, each.site.width, each.strategy.name, each.strategy.cost, each.strategy.why)
            for each in sites
        )


def _beginning(attached: AttachedPlan, clock: Clock) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            attached.begin(clock(args, kwargs))
        except Exception as error:  # nothing of ours may stop the host's picture
            attached.journal.fail(error)

    return hook


def _ending(attached: AttachedPlan) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
    def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        try:
            attached.end(output)
        except Exception as error:
            attached.journal.fail(error)

    return hook


def _changing(site: AttachedSite) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...] | None]:
    def hook(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if args and isinstance(args[0], Tensor):
            return (site.change(args[0]), *args[1:])
        return None

    return hook
