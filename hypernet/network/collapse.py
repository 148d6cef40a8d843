"""An affine net as one layer."""

from __future__ import annotations

import torch
from torch import Tensor

from hypernet.network.layers import Linear
from hypernet.network.network import Net


def collapse(net: Net) -> Net:
    """`A x + b` for an affine net: A = W_n ... W_1, (width, width); b, (width,); in float32 at least.

    Made by torch's differentiable functions: where the net's weights take gradients, they come back through here.
    Raises ValueError for a net with other layers than linear ones.
    """
    weight: Tensor | None = None
    bias: Tensor | None = None
    for layer in net.layers:
        if not isinstance(layer, Linear):
            raise ValueError("only a net of linear layers can be collapsed")
        dtype = torch.promote_types(layer.weight.dtype, torch.float32)
        step, shift = layer.weight.to(dtype), None if layer.bias is None else layer.bias.to(dtype)
        weight = step if weight is None else step @ weight
        bias = shift if bias is None else step @ bias + (0 if shift is None else shift)
    if weight is None:
        raise ValueError("a net without layers can't be collapsed")
    return Net(net.width, (Linear(weight, bias),))
