"""The moment in a diffusers pipeline's run at which it calls its UNet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hypernet.schedule import Moment

_RUNGE_KUTTA_CALLS = 4
"""UNet calls of each of PNDM's first steps."""


class PipelineClock:
    """Works out the step and the batch's positive rows in one call of a pipeline; each call needs a clock of its own.

    The run is what this call denoises: an image-to-image call that skips half of its steps runs the other half.
    """

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._timesteps: list[float] = []
        self._first: int | None = None
        self._last = -1
        self._in_pairs: bool | None = None

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Moment:
        """args, kwargs: of the UNet, `(sample, timestep, encoder_hidden_states)`. sample: (batch, ...)."""
        sample = kwargs["sample"] if "sample" in kwargs else args[0]
        timestep = kwargs["timestep"] if "timestep" in kwargs else args[1]
        self._last = self._index(timestep)
        if self._first is None:
            self._first = self._last
        calls = getattr(self._pipe, "num_timesteps", None) or len(self._pipe.scheduler.timesteps) - self._first
        first, final = self._step(self._first), self._step(self._first + calls - 1)
        step = self._step(self._last) - first
        return Moment(step, max(final - first, step) + 1, cond=self._cond(sample))

    def _step(self, index: int) -> int:
        """The step to which the UNet call for the timestep at that index belongs."""
        scheduler = self._pipe.scheduler
        warm_up = getattr(scheduler, "prk_timesteps", None)
        if warm_up is None:
            return index // int(getattr(scheduler, "order", 1))  # UNet calls per step
        if len(warm_up) == 0:
            return max(index - 1, 0)  # PNDM takes its first step twice, the second time more precisely,
        each = _RUNGE_KUTTA_CALLS  # or its first steps with more calls
        return index // each if index < len(warm_up) else len(warm_up) // each + index - len(warm_up)

    def _index(self, timestep: Any) -> int:
        """The index among the scheduler's timesteps. Most schedulers count by themselves once they have begun."""
        index = getattr(self._pipe.scheduler, "step_index", None)
        if index is not None:
            return int(index)
        return self._look_up(float(timestep.flatten()[0] if isinstance(timestep, Tensor) else timestep))

    def _look_up(self, timestep: float) -> int:
        """Finds a timestep by value; of one that occurs twice (PNDM), the next one due."""
        if not self._timesteps:
            self._timesteps = [float(value) for value in self._pipe.scheduler.timesteps]
        nearest = min(abs(known - timestep) for known in self._timesteps)
        found = [index for index, known in enumerate(self._timesteps) if abs(known - timestep) == nearest]
        return next((index for index in found if index > self._last), found[-1])

    def _cond(self, sample: Tensor) -> tuple[bool, ...] | None:
        """Which rows belong to the positive prompt. The parts of the guidance follow one another in the batch."""
        pipe, rows = self._pipe, sample.shape[0]
        if not hasattr(type(pipe), "do_classifier_free_guidance"):
            return None
        if self._in_pairs is None:
            self._in_pairs = not pipe.do_classifier_free_guidance and _in_pairs(sample)
        if self._in_pairs:
            return None  # guidance in spite of `do_classifier_free_guidance`, as in Panorama
        parts = [True]
        if pipe.do_classifier_free_guidance:
            parts = [True, False, False] if hasattr(type(pipe), "image_guidance_scale") else [False, True]
        if getattr(pipe, "do_perturbed_attention_guidance", False):
            parts.append(True)
        if rows % len(parts):
            return None
        return tuple(part for part in parts for _ in range(rows // len(parts)))


def _in_pairs(sample: Tensor) -> bool:
    """Whether the batch holds each picture twice in a row. sample: (batch, ...)."""
    return sample.shape[0] % 2 == 0 and bool((sample[::2] == sample[1::2]).all())
