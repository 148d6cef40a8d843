"""The networks that are measured, with random weights, and the native way to run them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn

from hypernet.network import Activation, Layer, LayerNorm, Linear, Net, Network, Pair
from hypernet.sites import find_sites

CHANNELS = (320, 640, 1280)
"""Of the picture in SD1's UNet (and, but for 320, in SDXL's)."""
SD1_WIDTHS = (768, *CHANNELS)
"""The widths that a network for SD1 has."""


def net(width: int, structure: tuple[float, ...], relu: bool, norm: bool) -> Net:
    """A net in A1111's order: linear, activation, layer norm; small random weights."""
    layers: list[Layer] = []
    sizes = [int(width * part) for part in structure]
    for index, (inside, outside) in enumerate(pairwise(sizes)):
        layers.append(Linear(torch.randn(outside, inside) * 0.01, torch.zeros(outside)))
        if relu and index < len(sizes) - 2:
            layers.append(Activation("relu"))
        if norm:
            layers.append(LayerNorm(torch.ones(outside) * 0.1, torch.zeros(outside)))
    return Net(width, tuple(layers))


def network(
    widths: tuple[int, ...], structure: tuple[float, ...] = (1, 2, 1), relu: bool = False, norm: bool = False
) -> Network:
    """A network of random weights with these widths and layers."""
    return Network({width: Pair(*(net(width, structure, relu, norm) for _ in "kv")) for width in widths})


NETWORKS: dict[str, Callable[[int], list[Network]]] = {
    "linear [1,2,1]": lambda text: [network((text, *CHANNELS))],
    "NovelAI": lambda text: [novelai((text, *CHANNELS))],
    "relu + layer norm [1,2,1]": lambda text: [network((text, *CHANNELS), relu=True, norm=True)],
    "relu [1,2,1]": lambda text: [network((text, *CHANNELS), relu=True)],
    "relu [1,2,2,1]": lambda text: [network((text, *CHANNELS), (1, 2, 2, 1), relu=True)],
    "relu, text only": lambda text: [network((text,), relu=True)],
    "three linear": lambda text: [network((text, *CHANNELS)) for _ in range(3)],
}
"""Name -> networks for a UNet whose text context has this width."""


def novelai(widths: tuple[int, ...]) -> Network:
    """As in the leaked files: two linear layers with nothing between them, in half precision."""
    full = network(widths)
    return Network(
        {width: Pair(pair.k.to("cpu", torch.half), pair.v.to("cpu", torch.half)) for width, pair in full.pairs.items()}
    )


def copies(networks: list[Network]) -> list[Network]:
    """The same weights as new nets, as if just read from disk."""
    return [
        Network(
            {width: Pair(*(Net(width, net.layers) for net in (pair.k, pair.v))) for width, pair in one.pairs.items()}
        )
        for one in networks
    ]


@contextmanager
def native(unet: nn.Module, networks: list[Network]) -> Iterator[None]:
    """AUTOMATIC1111's way: every net at every site on every call, in float32."""
    device = next(unet.parameters()).device
    placed = [
        {w: [n.to(device, torch.float32) for n in (pair.k, pair.v)] for w, pair in one.pairs.items()}
        for one in networks
    ]

    def hook(which: int) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
        def before(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            x = args[0]
            for nets in placed:
                if x.shape[-1] in nets:
                    net = nets[x.shape[-1]][which]
                    full = x.float()
                    x = (full + net.delta(full) * 0.7).to(x.dtype)
            return (x,)

        return before

    handles = [site.module.register_forward_pre_hook(hook("kv".index(site.kind))) for site in find_sites(unet)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
