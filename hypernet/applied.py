"""These tags on this UNet: opens their networks, attaches them, and follows when another UNet takes over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import ReferenceType, ref

from torch import nn

from hypernet.engine import Engine
from hypernet.engine.engine import Clock, no_clock
from hypernet.engine.observed import Observed
from hypernet.engine.tensors import ReadWeight, readable_weight
from hypernet.network import Network
from hypernet.plan import Use, make_plan, open_tags
from hypernet.schedule import Moment
from hypernet.sites import find_sites
from hypernet.tags import Tag

Watch = Callable[[nn.Module, Callable[[nn.Module], None]], Callable[[], None]]
"""(UNet, found) -> stop: calls `found` for each module beside the UNet that the tags act in too, as a ControlNet."""


def watch_nothing(unet: nn.Module, found: Callable[[nn.Module], None]) -> Callable[[], None]:
    """For programs in which nothing of the UNet's kind runs beside it."""
    return lambda: None


class Applied:
    """Some tags' networks, on one UNet at a time.

    engine: owns the hooks; a plan that it had attached before is detached.
    load: a name -> its network; raises HypernetError, which becomes a note.
    clock, read_weight: as of `Engine.attach`.
    watch: finds modules of the UNet's kind that run beside it, such as ControlNets.
    """

    def __init__(
        self,
        tags: Iterable[Tag],
        load: Callable[[str], Network],
        engine: Engine,
        clock: Clock = no_clock,
        read_weight: ReadWeight = readable_weight,
        watch: Watch = watch_nothing,
    ) -> None:
        self.tags = tuple(tags)
        self.uses, notes = open_tags(self.tags, load)
        """The tags whose networks could be read."""
        self.acting: tuple[Use, ...] = ()
        """The uses that act somewhere in the UNet."""
        self._observed = Observed()
        self._notes = dict.fromkeys(notes)
        self._engine, self._clock, self._read_weight, self._watch = engine, clock, read_weight, watch
        self._unet: ReferenceType[nn.Module] | None = None
        self._moment = Moment()
        self._beside: list[Engine] = []
        self._stop_watching: Callable[[], None] = lambda: None

    @property
    def notes(self) -> tuple[str, ...]:
        """What did not work so far, a sentence each."""
        if self._unet is not None:
            for engine in (self._engine, *self._beside):
                self._notes.update(dict.fromkeys(engine.failures))
        return tuple(self._notes)

    @property
    def observed(self) -> Observed:
        """What the UNet's calls have shown so far."""
        return self._observed if self._unet is None else self._observed + self._engine.observed

    @property
    def afterwards(self) -> tuple[str, ...]:
        """Notes that are known only after the run: on tags that never acted, and on NaN or infinity in the result."""
        return self.observed.notes(use.tag for use in self.acting)

    @property
    def nbytes(self) -> int:
        """Bytes of all the networks' weights, each once."""
        return sum(network.nbytes for network in {id(use.network): use.network for use in self.uses}.values())

    def attach(self, unet: nn.Module) -> None:
        """Makes the UNet's next calls follow the tags."""
        self.detach()
        plan = make_plan(self.uses, find_sites(unet))
        self.acting = plan.applied
        self._notes.update(dict.fromkeys(plan.notes))
        self._engine.attach(unet, plan, self._now, self._read_weight)
        if plan.sites:
            self._stop_watching = self._watch(unet, self._attach_beside)
        self._unet = ref(unet)  # not kept alive: hosts let go of a model to have the memory for its refiner

    def follow(self, unet: nn.Module) -> bool:
        """Attaches to this UNet unless it is attached already. Returns whether it had to."""
        if self._unet is not None and self._unet() is unet:
            return False
        self.attach(unet)
        return True

    def detach(self) -> None:
        """Leaves the UNet as it was. `notes` keeps what went wrong so far."""
        self._notes.update(dict.fromkeys(self.notes))
        self._observed, self._unet = self.observed, None
        self._stop_watching()
        for engine in (self._engine, *self._beside):
            engine.detach()
        self._beside = []

    def _now(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Moment:
        self._moment = self._clock(args, kwargs)
        return self._moment

    def _attach_beside(self, module: nn.Module) -> None:
        """Attaches to a module that runs within a call of the UNet, so at the UNet's moment."""
        engine = Engine(dtype=self._engine.dtype)
        self._beside.append(engine)
        engine.attach(module, make_plan(self.uses, find_sites(module)), lambda *_: self._moment, self._read_weight)
        engine.begin(self._moment)
