"""Where in its run a diffusers pipeline stands when it calls its UNet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from hypernet.schedule import Moment
from hypernet.tags import Tag


class PipelineClock:
    """Reads step and batch rows from one call of a pipeline; a new call needs a new clock.

    The run is what this call denoises: an image-to-image call that skips half of its steps runs the other half.
    """

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._timesteps: list[float] = []
        self._first: int | None = None
        self._last = -1
        self._halves_known = True
        self._halves: set[bool] = set()

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Moment:
        """args, kwargs: of the UNet, `(sample, timestep, encoder_hidden_states)`. sample: (batch, ...)."""
        sample = kwargs["sample"] if "sample" in kwargs else args[0]
        timestep = kwargs["timestep"] if "timestep" in kwargs else args[1]
        self._last = self._index(timestep)
        if self._first is None:
            self._first = self._last
        order = getattr(self._pipe.scheduler, "order", 1)  # UNet calls per step
        step = (self._last - self._first) // order
        calls = getattr(self._pipe, "num_timesteps", None) or len(self._pipe.scheduler.timesteps) - self._first
        cond = self._cond(sample.shape[0])
        self._halves |= set(cond or ())
        self._halves_known &= cond is not None
        return Moment(step, max(-(-calls // order), step + 1), cond=cond)

    def _index(self, timestep: Any) -> int:
        """The place in the scheduler's timesteps. Most schedulers count themselves, once they have begun."""
        index = getattr(self._pipe.scheduler, "step_index", None)
        if index is not None:
            return int(index)
        return self._look_up(float(timestep.flatten()[0] if isinstance(timestep, Tensor) else timestep))

    def _look_up(self, timestep: float) -> int:
        """A timestep that comes twice (PNDM) is the one that is due."""
        if not self._timesteps:
            self._timesteps = [float(value) for value in self._pipe.scheduler.timesteps]
        nearest = min(abs(known - timestep) for known in self._timesteps)
        places = [place for place, known in enumerate(self._timesteps) if abs(known - timestep) == nearest]
        return next((place for place in places if place > self._last), places[-1])

    def _cond(self, rows: int) -> tuple[bool, ...] | None:
        """Which of the batch's rows belong to the positive prompt: the parts of the guidance follow one another."""
        pipe = self._pipe
        if not hasattr(type(pipe), "do_classifier_free_guidance"):
            return None
        parts = [True]
        if pipe.do_classifier_free_guidance:
            parts = [True, False, False] if hasattr(type(pipe), "image_guidance_scale") else [False, True]
        if getattr(pipe, "do_perturbed_attention_guidance", False):
            parts.append(True)
        if rows % len(parts):
            return None
        return tuple(part for part in parts for _ in range(rows // len(parts)))

    def complaints(self, tags: Iterable[Tag]) -> Iterator[str]:
        """What to tell about tags for one half of the batch, after the run."""
        for tag in tags:
            if tag.on == "both" or self._first is None:
                continue
            if not self._halves_known:
                yield f"{tag.text}: this pipeline doesn't tell which half of a batch is the negative prompt's."
            elif (tag.on == "cond") not in self._halves:
                yield f"{tag.text}: no effect, as there is no negative prompt without guidance (guidance_scale 1)."
