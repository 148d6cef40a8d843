"""Tiny UNets with the module names of each family, and the plain formula to compare the engine with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from hypernet.network import Activation, Layer, LayerNorm, Linear, Net, Network, Pair
from hypernet.sites import Site, find_sites

TEXT = 24
WIDTHS = (16, 32, TEXT)


class Attention(nn.Module):
    """K, V and Q as in ldm and diffusers alike."""

    def __init__(self, width: int, context: int | None) -> None:
        super().__init__()
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context or width, width, bias=False)
        self.to_v = nn.Linear(context or width, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        context = x if context is None else context
        q, k, v = self.to_q(x), self.to_k(context), self.to_v(context)
        attended: Tensor = self.to_out[0](torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, -1) @ v)
        return attended


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn1, self.attn2 = Attention(width, None), Attention(width, TEXT)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = x + self.attn1(x)
        return x + self.attn2(x, context)


class Transformer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.transformer_blocks = nn.ModuleList([Block(width)])

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        for block in self.transformer_blocks:
            x = block(x, context)
        return x


class TinyUNet(nn.Module):
    """SD1's block layout in ldm's names: IN01 02 (16) IN04 05 (32) M00 (32) OUT03 04 (32) OUT06 (16)."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.input_blocks = nn.ModuleList(
            nn.ModuleList([nn.Identity(), Transformer(width)] if width else [nn.Identity()])
            for width in (0, 16, 16, 0, 32, 32)
        )
        self.grow, self.shrink = nn.Linear(16, 32), nn.Linear(32, 16)
        self.middle_block = nn.ModuleList([nn.Identity(), Transformer(32)])
        self.output_blocks = nn.ModuleList(
            nn.ModuleList([nn.Identity(), Transformer(width)] if width else [nn.Identity()])
            for width in (0, 0, 0, 32, 32, 0, 16)
        )

    def forward(self, x: Tensor, timesteps: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        """x: (batch, tokens, 16); context: (batch, tokens, TEXT)."""
        for block in self.input_blocks[:3]:
            x = self._run(block, x, context)
        x = self.grow(x)
        for block in [*self.input_blocks[3:], self.middle_block, *self.output_blocks[:6]]:
            x = self._run(block, x, context)
        return self._run(self.output_blocks[6], self.shrink(x), context)

    @staticmethod
    def _run(block: nn.Module, x: Tensor, context: Tensor | None) -> Tensor:
        for module in block.children():
            x = module(x, context) if isinstance(module, Transformer) else module(x)
        return x


def network(seed: int = 0, kind: str = "linear", widths: Sequence[int] = WIDTHS) -> Network:
    """A random [1, 2, 1] network. kind: linear, relu or relu+ln."""
    generator = torch.Generator().manual_seed(seed)

    def tensor(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) / shape[-1] ** 0.5

    def net(width: int) -> Net:
        layers: list[Layer] = [Linear(tensor(2 * width, width), tensor(2 * width))]
        if kind != "linear":
            layers.append(Activation("relu"))
        if kind == "relu+ln":
            layers.append(LayerNorm(1 + tensor(2 * width), tensor(2 * width)))
        layers.append(Linear(tensor(width, 2 * width), tensor(width)))
        if kind == "relu+ln":
            layers.append(LayerNorm(1 + tensor(width), tensor(width)))
        return Net(width, tuple(layers))

    return Network({width: Pair(net(width), net(width)) for width in widths})


Formula = Callable[[Site, Tensor], Tensor]


@contextmanager
def plain_formula(unet: nn.Module, formula: Formula) -> Iterator[None]:
    """Runs the UNet with `formula(site, x)` before every projection: the reference, with one plain hook per site."""

    def hook(site: Site) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
        return lambda module, args: (formula(site, args[0]), *args[1:])

    handles = [site.module.register_forward_pre_hook(hook(site)) for site in find_sites(unet)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def nets_at(network: Network, site: Site) -> Net | None:
    pair = network.pairs.get(site.width)
    return None if pair is None else (pair.k if site.kind == "k" else pair.v)


def needs_arithmetic(dtype: torch.dtype) -> None:
    """Skips the test if this PyTorch can't compute in that type on a CPU, as those before 2.2 in float16."""
    try:
        torch.relu(torch.ones(2, 2, dtype=dtype) @ torch.ones(2, 2, dtype=dtype))
    except RuntimeError:
        pytest.skip(f"this PyTorch does not compute in {dtype} on a CPU")
