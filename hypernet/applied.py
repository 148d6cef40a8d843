"""These tags on this UNet: the networks that they name, laid out over it, and taken along when another takes over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from weakref import ReferenceType, ref

from torch import nn

from hypernet.engine import Engine
from hypernet.engine.engine import Clock, no_clock
from hypernet.engine.step import ReadWeight
from hypernet.engine.tensors import readable_weight
from hypernet.network import Network
from hypernet.plan import Use, make_plan, open_tags
from hypernet.sites import find_sites
from hypernet.tags import Tag


class Applied:
    """What some tags ask for, on one UNet at a time.

    engine: has the hooks; what it had attached before is detached.
    load: a name -> its network; raises HypernetError, which becomes a note.
    clock, read_weight: as of `Engine.attach`.
    """

    def __init__(
        self,
        tags: Iterable[Tag],
        load: Callable[[str], Network],
        engine: Engine,
        clock: Clock = no_clock,
        read_weight: ReadWeight = readable_weight,
    ) -> None:
        self.tags = tuple(tags)
        self.uses, notes = open_tags(self.tags, load)
        """The tags whose networks could be read."""
        self.acting: tuple[Use, ...] = ()
        """The uses that act somewhere in the UNet."""
        self._notes = dict.fromkeys(notes)
        self._engine, self._clock, self._read_weight = engine, clock, read_weight
        self._unet: ReferenceType[nn.Module] | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What did not work so far, a sentence each."""
        if self._unet is not None:
            self._notes.update(dict.fromkeys(self._engine.failures))
        return tuple(self._notes)

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
        self._engine.attach(unet, plan, self._clock, self._read_weight)
        self._unet = ref(unet)  # not kept alive: hosts let go of a model to have the memory for its refiner

    def follow(self, unet: nn.Module) -> bool:
        """Attaches to another UNet that took the place of the one before. Returns whether it had to."""
        if self._unet is not None and self._unet() is unet:
            return False
        self.attach(unet)
        return True

    def detach(self) -> None:
        """Leaves the UNet as it was. What went wrong until now stays in `notes`."""
        if self._unet is not None:
            self._notes.update(dict.fromkeys(self._engine.failures))
            self._unet = None
        self._engine.detach()
