"""Going on where A1111 stopped: the moments in its `.pt.optim`, given to our optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hypernet.errors import HypernetError
from hypernet.files.pt.optimizer import OptimizerState
from hypernet.network import Network
from hypernet.train.nets import all_weights


def give_moments(optimizer: Any, name: str, state: OptimizerState, network: Network) -> None:
    """Fills the optimizer of a trainable network. Its rate stays ours: A1111 goes on with the old one instead.

    name: of the optimizer, as in `OPTIMIZERS`. Raises HypernetError where the moments are another training's.
    """
    if state.name != name:
        raise HypernetError(f"The saved optimizer is {state.name}, not {name}: choose {state.name} to go on.")
    held = optimizer.state_dict()
    numbers = [number for number, weight in enumerate(all_weights(network)) if weight.requires_grad]
    weights = [weight for weight in all_weights(network) if weight.requires_grad]
    held["state"] = {
        place: _checked(state.moments[number], weight)
        for place, (number, weight) in enumerate(zip(numbers, weights, strict=True))
        if number in state.moments
    }
    optimizer.load_state_dict(held)


def _checked(moments: Mapping[str, Tensor | float], weight: Tensor) -> dict[str, Tensor | float]:
    for value in moments.values():
        if isinstance(value, Tensor) and value.ndim and value.shape != weight.shape:
            raise HypernetError("The saved optimizer belongs to a network of another structure.")
    return {key: torch.as_tensor(value) if key == "step" else value for key, value in moments.items()}
