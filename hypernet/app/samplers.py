"""diffusers' schedulers under the names of WebUIs' samplers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hypernet.errors import HypernetError

SAMPLERS: Mapping[str, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "Euler": ("EulerDiscreteScheduler", {}),
        "Euler a": ("EulerAncestralDiscreteScheduler", {}),
        "Heun": ("HeunDiscreteScheduler", {}),
        "DPM2": ("KDPM2DiscreteScheduler", {}),
        "DPM2 a": ("KDPM2AncestralDiscreteScheduler", {}),
        "DPM++ 2M": ("DPMSolverMultistepScheduler", {}),
        "DPM++ 2M Karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
        "DPM++ 2M SDE": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
        "UniPC": ("UniPCMultistepScheduler", {}),
        "DDIM": ("DDIMScheduler", {}),
        "PLMS": ("PNDMScheduler", {"skip_prk_steps": True}),
        "LCM": ("LCMScheduler", {}),
    }
)
"""Name -> diffusers' class, and what to change in the settings of the model's own."""


def sampler_name(name: str) -> str:
    """The name as spelled above, whatever its capitals. Raises HypernetError."""
    for known in SAMPLERS:
        if known.lower() == name.strip().lower():
            return known
    raise HypernetError(f"There is no sampler “{name}”: there are {', '.join(SAMPLERS)}.")


def set_sampler(pipe: Any, name: str) -> None:
    """Gives a pipeline another scheduler with the settings of its model."""
    import diffusers

    cls, changes = SAMPLERS[sampler_name(name)]
    pipe.scheduler = getattr(diffusers, cls).from_config(pipe.scheduler.config, **changes)


def sampler_of(pipe: Any) -> str:
    """The name of a pipeline's scheduler, or that of its class if it has no name here."""
    cls, config = type(pipe.scheduler).__name__, pipe.scheduler.config
    fitting = [
        name
        for name, (of_class, changes) in SAMPLERS.items()
        if of_class == cls and all(config.get(key) == value for key, value in changes.items())
    ]
    return fitting[-1] if fitting else cls
