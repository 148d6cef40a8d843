"""What a run turned out to be, and the notes about it for the user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from hypernet.schedule import Moment
from hypernet.tags import Tag


@dataclass(frozen=True)
class Observed:
    """What UNet calls showed. Several passes or UNets of one picture can be added: `first + second`."""

    calls: int = 0
    acted: frozenset[Tag] = frozenset()
    """The tags that had a strength other than 0 at some call, on some row of its batch."""
    halves: frozenset[bool] = frozenset()
    """The halves that batches had: True for the positive prompt, False for the negative."""
    halves_known: bool = True
    """Whether the host said at every call which rows belong to which half."""
    finite: bool = True
    """Whether the UNet's output was free of NaN and infinity while a network acted."""
    failures: tuple[str, ...] = ()
    """What went wrong, one sentence for each cause."""
    remarks: tuple[str, ...] = ()
    """Other notes of the engine, a sentence each."""

    def __add__(self, later: Observed) -> Observed:
        return Observed(
            self.calls + later.calls,
            self.acted | later.acted,
            self.halves | later.halves,
            self.halves_known and later.halves_known,
            self.finite and later.finite,
            tuple(dict.fromkeys(self.failures + later.failures)),
            tuple(dict.fromkeys(self.remarks + later.remarks)),
        )

    def after(self, moment: Moment, acting: Iterable[Tag]) -> Observed:
        """With one more UNet call at this moment, in which these tags acted."""
        return replace(
            self,
            calls=self.calls + 1,
            acted=self.acted | frozenset(acting),
            halves=self.halves | frozenset(moment.cond or ()),
            halves_known=self.halves_known and moment.cond is not None,
        )

    def notes(self, tags: Iterable[Tag]) -> tuple[str, ...]:
        """Notes for the user after the run; tags: those of the plan, in the order of the prompt."""
        notes = [*self.failures, *self.remarks]
        if not self.finite:
            notes.append(
                "The model gave no usable numbers (NaN or infinite) while hypernetworks acted: lower their strength. "
                "If it also happens without them, the model or its precision is the cause."
            )
        if self.calls:
            notes += [note for tag in tags for note in self._about(tag)]
        return tuple(dict.fromkeys(notes))

    def _about(self, tag: Tag) -> Iterator[str]:
        if tag.on != "both" and not self.halves_known:
            yield f"{tag.text}: this program doesn't tell which half of a batch is the negative prompt's."
        elif tag.on != "both" and (tag.on == "cond") not in self.halves:
            yield f"{tag.text}: no effect, as there is no negative prompt without guidance (a guidance scale of 1)."
        elif tag not in self.acted:
            yield f"{tag.text}: no effect, as its strength was 0 at every step of this run."
