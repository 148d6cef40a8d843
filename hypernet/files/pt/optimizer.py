"""A1111's `NAME.pt.optim`: what its optimizer remembers of a training, beside the network itself."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from hypernet.errors import HypernetError
from hypernet.files import weights
from hypernet.files.errors import FormatError
from hypernet.files.pt import zip
from hypernet.files.pt.contents import stored
from hypernet.files.pt.names import PickledTensor
from hypernet.files.source import opened

_DIGITS = 10  # of a digest, at least


@dataclass(frozen=True, eq=False)
class OptimizerState:
    """name: torch's class; belongs_to: first digits of the sha256 of the `.pt` it was saved with.

    moments: for each weight, by its number, torch's values (`exp_avg`, `step`, ...).
    """

    name: str
    belongs_to: str
    moments: Mapping[int, Mapping[str, Tensor | float]]

    def belongs(self, network: str | os.PathLike[str]) -> bool:
        """Whether it was saved together with this file. Raises OSError."""
        digest = hashlib.sha256(Path(network).read_bytes()).hexdigest()
        return self.belongs_to == digest[: len(self.belongs_to)] and len(self.belongs_to) >= _DIGITS


def load_optimizer(path: str | os.PathLike[str]) -> OptimizerState:
    """Reads a `.optim`, running nothing in it. Raises HypernetError for a file that can't be used; OSError."""
    name = Path(path).name
    try:
        with opened(path) as source:
            loaded, starts = zip.read_object(source)
            read_tensor = weights.finite(weights.into_memory(source))

            def value(of: str, found: object) -> Tensor | float:
                if isinstance(found, PickledTensor):
                    return read_tensor(stored(of, found, starts))
                if isinstance(found, (int, float)):
                    return found
                raise FormatError(f"{of} is no number.")

            match loaded:
                case {
                    "optimizer_name": str(kind),
                    "hash": str(digest),
                    "optimizer_state_dict": {"state": dict(state)},
                }:
                    if all(isinstance(number, int) and isinstance(held, dict) for number, held in state.items()):
                        moments = {
                            number: {str(of): value(of, found) for of, found in held.items() if found is not None}
                            for number, held in state.items()
                        }
                        return OptimizerState(kind, digest, moments)
            raise FormatError("it is not what A1111 saves beside a hypernetwork.")
    except FormatError as error:
        raise HypernetError(f"{name}: {error.problem} Training can go on without it, from fresh moments.") from None
