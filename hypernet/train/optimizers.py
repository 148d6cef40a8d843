"""Optimizers by name: torch's own, and those of well-kept packages where they are installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from hypernet.errors import HypernetError


@dataclass(frozen=True)
class Kind:
    """Where an optimizer comes from. home: module; package: what to install for it; options: beside the rate."""

    home: str
    cls: str
    package: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


_WITH_DECAY = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}  # A1111's, which are torch's own

OPTIMIZERS: Mapping[str, Kind] = MappingProxyType(
    {
        "AdamW": Kind("torch.optim", "AdamW", options=_WITH_DECAY),
        "SGD": Kind("torch.optim", "SGD"),
        "AdamW8bit": Kind("bitsandbytes.optim", "AdamW8bit", "bitsandbytes", _WITH_DECAY),
        "Prodigy": Kind("prodigyopt", "Prodigy", "prodigyopt", {"safeguard_warmup": True, "use_bias_correction": True}),
        "Lion": Kind("lion_pytorch", "Lion", "lion-pytorch"),
        "AdamWScheduleFree": Kind("schedulefree", "AdamWScheduleFree", "schedulefree"),
    }
    | {
        name: Kind("torch.optim", name)
        for name in ("Adadelta", "Adagrad", "Adam", "Adamax", "ASGD", "NAdam", "RAdam", "RMSprop", "Rprop")
    }
)
"""What can be chosen. The last nine are there because A1111 goes on with whichever of torch's a `.optim` names."""


def make_optimizer(name: str, parameters: Iterable[Tensor], rate: float) -> torch.optim.Optimizer:
    """The optimizer of that name over these leaf tensors.

    Prodigy finds the rate by itself: there the rate is a factor, 1 for its own choice.
    Raises HypernetError for an unknown name or a package that is missing.
    """
    kind = OPTIMIZERS.get(name)
    if kind is None:
        raise HypernetError(f"There is no optimizer “{name}”. Choose one of {', '.join(OPTIMIZERS)}.")
    try:
        make: Callable[..., torch.optim.Optimizer] = getattr(import_module(kind.home), kind.cls)
    except ImportError as error:
        raise HypernetError(f"The optimizer {name} needs a package: pip install {kind.package}.") from error
    return make(list(parameters), lr=rate, **kind.options)
