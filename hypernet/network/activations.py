"""The activations a hypernetwork can have, by the names that files give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor


def _implicit_dim(x: Tensor) -> int:
    """The axis torch takes when a softmax is built without one, as A1111 builds it."""
    return 0 if x.ndim in (0, 1, 3) else 1


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "celu": F.celu,
        "elu": F.elu,
        "gelu": F.gelu,
        "hardshrink": F.hardshrink,
        "hardsigmoid": F.hardsigmoid,
        "hardswish": F.hardswish,
        "hardtanh": F.hardtanh,
        "leakyrelu": F.leaky_relu,
        "logsigmoid": F.logsigmoid,
        "logsoftmax": lambda x: F.log_softmax(x, _implicit_dim(x)),
        "mish": F.mish,
        "relu": F.relu,
        "relu6": F.relu6,
        "rrelu": F.rrelu,
        "selu": F.selu,
        "sigmoid": torch.sigmoid,
        "silu": F.silu,
        "softmax": lambda x: F.softmax(x, _implicit_dim(x)),
        "softmax2d": lambda x: F.softmax(x, -3),
        "softmin": lambda x: F.softmin(x, _implicit_dim(x)),
        "softplus": F.softplus,
        "softshrink": F.softshrink,
        "softsign": F.softsign,
        "swish": F.hardswish,  # A1111's "swish" is torch.nn.Hardswish, not SiLU
        "tanh": torch.tanh,
        "tanhshrink": F.tanhshrink,
    }
)
"""Every stateless activation A1111 can apply, by the (lower-case) name its files carry. `linear` and `prelu` apart."""
