"""Where a run of a k-diffusion style sampler stands, from what A1111's `on_cfg_denoiser` callback tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypernet.schedule import Moment


class CfgClock:
    """One per sampling run. `step` comes before the UNet calls of a step; a step may split its batch over several."""

    def __init__(self) -> None:
        self._calls = 0
        self._step, self._steps, self._hires = 0, 1, False
        self._rows: tuple[bool, ...] | None = None
        self._at = 0

    def step(self, params: Any) -> None:
        """params: a host's CFGDenoiserParams."""
        denoiser = getattr(params, "denoiser", None)
        step = getattr(denoiser, "step", None)
        total = getattr(denoiser, "total_steps", None) or params.total_sampling_steps
        each = _calls_per_step(denoiser)
        self._step = (params.sampling_step if step is None else step) // each
        self._steps = max(total // each, self._step + 1)
        self._hires = bool(getattr(getattr(denoiser, "p", None), "is_hr_pass", False))
        cond, uncond = _rows(params.text_cond), _rows(params.text_uncond)
        # The positive prompts come first; pix2pix models have a second unconditional part.
        rest = max(params.x.shape[0] - cond, 0)
        self._rows = (True,) * cond + (False,) * rest if uncond else (True,) * cond
        self._at = 0

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Moment:
        """args: the UNet's, its input (batch, ...) first."""
        count = _rows(args[0] if args else kwargs.get("x"))
        rows = self._rows[self._at : self._at + count] if self._rows is not None else None
        self._at += count
        known = rows is not None and len(rows) == count
        return Moment(self._step, self._steps, self._hires, rows if known else None)


def _rows(batch: Any) -> int:
    """Rows of a tensor, or of a dict of them as SDXL's conditions are."""
    if isinstance(batch, Mapping):
        batch = next(iter(batch.values()), None)
    return 0 if batch is None else int(batch.shape[0])


def _calls_per_step(denoiser: Any) -> int:
    """UNet calls that a sampler makes for what the user calls a step: 2 for Heun and its like."""
    config = getattr(getattr(denoiser, "sampler", None), "config", None)
    count = getattr(config, "total_steps", None)
    return max(int(count(1)), 1) if callable(count) else 1
