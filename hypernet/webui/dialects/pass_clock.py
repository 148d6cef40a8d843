"""Where a run of several diffusers pipelines stands: SD.Next draws, enlarges, details and refines one after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hypernet.pipeline.clock import PipelineClock
from hypernet.schedule import Moment


class PassClock:
    """A `PipelineClock` for each pass, found by the timesteps: every call of a pipeline makes new ones."""

    def __init__(self, pipe: Callable[[], Any], hires: Callable[[], bool]) -> None:
        """pipe: the pipeline that is at work now; hires: whether it makes the hires pass."""
        self._pipe, self._hires = pipe, hires
        self._clock: PipelineClock | None = None
        self._timesteps: Any = None

    def step(self, params: Any) -> None:
        """There is no callback for steps here: each call of the UNet tells for itself."""

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Moment:
        """args, kwargs: of the UNet, `(sample, timestep, encoder_hidden_states)`. sample: (batch, ...)."""
        pipe = self._pipe()
        timesteps = pipe.scheduler.timesteps
        if self._clock is None or timesteps is not self._timesteps:
            self._clock, self._timesteps = PipelineClock(pipe), timesteps
        return replace(self._clock(args, kwargs), hires=self._hires())
