"""A net on many tokens, as fast as its matrix products.

What happens between the products (activation, layer norm, the sum) is bound by memory. On a CPU it is almost free if
the tokens come in chunks that stay in the cache from one layer to the next.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hypernet.network import Activation, Layer, Linear, Net, Residual

CHUNK_TOKENS = 1024
"""Tokens in a chunk on a CPU: with fewer the products get slow, with more they don't fit into the cache."""


def run_chunked(net: Net, x: Tensor, strength: float) -> Tensor:
    """`net(x, strength)`, x: (batch, tokens, width)."""
    if torch.is_grad_enabled() or not all(map(_token_by_token, net.layers)):
        return net(x, strength)
    tokens = x.reshape(-1, x.shape[-1])
    out = torch.empty_like(tokens)
    size = CHUNK_TOKENS if x.device.type == "cpu" else max(len(tokens), 1)
    for chunk, result in zip(torch.split(tokens, size), torch.split(out, size), strict=True):
        torch.add(chunk, _delta(net, chunk), alpha=strength, out=result)
    return out.view(x.shape)


def _token_by_token(layer: Layer) -> bool:
    """Whether each token's result depends on that token alone, and not on the number of axes."""
    return not isinstance(layer, Residual) and not (isinstance(layer, Activation) and layer.mixes_tokens)


def _delta(net: Net, x: Tensor) -> Tensor:
    ours = False  # whether x is our own tensor, which may be overwritten
    for layer in net.layers:
        x = layer.in_place(x) if ours and isinstance(layer, Activation) else layer(x)
        ours = ours or isinstance(layer, Linear)
    return x
