"""The activations a hypernetwork can have: one table, by the names that files give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class ActivationFunction:
    """One activation without weights, as a function of a tensor of any shape."""

    function: Callable[[Tensor], Tensor]
    in_place: Callable[[Tensor], Tensor] | None = None
    """The same written over its input; None where PyTorch has no such form."""
    mixes_tokens: bool = False
    """Whether a token's result depends on other tokens, or on the number of axes."""

    def __call__(self, x: Tensor) -> Tensor:
        return self.function(x)


def _plain(function: Callable[[Tensor], Tensor]) -> ActivationFunction:
    return ActivationFunction(function)


def _with_in_place(function: Callable[..., Any]) -> ActivationFunction:
    return ActivationFunction(function, lambda x: function(x, inplace=True))


def _mixing(function: Callable[[Tensor], Tensor]) -> ActivationFunction:
    return ActivationFunction(function, mixes_tokens=True)


def _implicit_dim(x: Tensor) -> int:
    """The axis torch takes when a softmax is built without one, as A1111 builds it."""
    return 0 if x.ndim in (0, 1, 3) else 1


ACTIVATIONS: Mapping[str, ActivationFunction] = MappingProxyType(
    {
        "celu": _with_in_place(F.celu),
        "elu": _with_in_place(F.elu),
        "gelu": _plain(F.gelu),
        "hardshrink": _plain(F.hardshrink),
        "hardsigmoid": _with_in_place(F.hardsigmoid),
        "hardswish": _with_in_place(F.hardswish),
        "hardtanh": _with_in_place(F.hardtanh),
        "leakyrelu": _with_in_place(F.leaky_relu),
        "logsigmoid": _plain(F.logsigmoid),
        "logsoftmax": _mixing(lambda x: F.log_softmax(x, _implicit_dim(x))),
        "mish": _with_in_place(F.mish),
        "relu": _with_in_place(F.relu),
        "relu6": _with_in_place(F.relu6),
        "rrelu": _plain(F.rrelu),
        "selu": _with_in_place(F.selu),
        "sigmoid": _plain(torch.sigmoid),
        "silu": _with_in_place(F.silu),
        "softmax": _mixing(lambda x: F.softmax(x, _implicit_dim(x))),
        "softmax2d": _mixing(lambda x: F.softmax(x, -3)),
        "softmin": _mixing(lambda x: F.softmin(x, _implicit_dim(x))),
        "softplus": _plain(F.softplus),
        "softshrink": _plain(F.softshrink),
        "softsign": _plain(F.softsign),
        "swish": _with_in_place(F.hardswish),  # A1111's "swish" is torch.nn.Hardswish, not SiLU
        "tanh": _plain(torch.tanh),
        "tanhshrink": _plain(F.tanhshrink),
    }
)
"""Every activation without weights that A1111 can apply, by the lower-case name its files carry."""

IDENTITY = "linear"
"""What files call no activation at all."""

LEARNED = "prelu"
"""The one activation with a weight; it is a layer of its own in the file."""

UNUSABLE = ("glu", "threshold", "multiheadattention")
"""Names A1111's menu offers, with which no hypernetwork could ever be built."""
