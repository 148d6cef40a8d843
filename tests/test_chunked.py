"""A net run in chunks is the net: token by token, whatever its layers and wherever a chunk ends."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hypernet.engine.chunked import run_chunked
from hypernet.network import ACTIVATIONS, Activation, Layer, LayerNorm, Linear, Net, Residual
from tests.unets import needs_arithmetic

WIDTH = 8


def linear(inside: int, outside: int) -> Linear:
    return Linear(torch.randn(outside, inside), torch.randn(outside))


def with_activation(name: str) -> Net:
    layers: tuple[Layer, ...] = (linear(WIDTH, 16), Activation(name), LayerNorm(torch.randn(16), torch.randn(16)))
    return Net(WIDTH, (Activation(name), *layers, linear(16, WIDTH), Activation(name)))


def same(net: Net, x: Tensor, strength: float = 0.7) -> None:
    before = x.clone()
    with torch.no_grad():
        expected, result = net(x, strength), run_chunked(net, x, strength)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name not in ("rrelu", "softmax2d")])
def test_every_activation(name: str) -> None:
    same(with_activation(name), torch.randn(3, 700, WIDTH))


def test_a_slope_that_was_learned() -> None:
    slope = Activation("prelu", torch.randn(16))
    same(Net(WIDTH, (linear(WIDTH, 16), slope, linear(16, WIDTH))), torch.randn(3, 700, WIDTH))


def test_a_residual_block() -> None:
    block = Residual((linear(WIDTH, 16), Activation("relu")), 16)
    same(Net(WIDTH, (block, Residual((linear(16, WIDTH),), WIDTH))), torch.randn(3, 700, WIDTH))


@given(batch=st.integers(0, 3), tokens=st.integers(0, 1100), strength=st.floats(-2, 2))
def test_any_number_of_tokens(batch: int, tokens: int, strength: float) -> None:
    same(with_activation("relu"), torch.randn(batch, tokens, WIDTH), strength)


def test_an_input_that_lies_across_memory() -> None:
    same(with_activation("relu"), torch.randn(WIDTH, 1500, 2).permute(2, 1, 0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_no_further_from_the_truth_than_the_plain_formula(dtype: torch.dtype) -> None:
    needs_arithmetic(dtype)
    net, x = with_activation("relu").to("cpu", dtype), torch.randn(2, 1500, WIDTH).to(dtype)
    truth = net.to("cpu", torch.float64)(x.double(), 0.7)
    with torch.no_grad():
        plain, result = net(x, 0.7), run_chunked(net, x, 0.7)
    assert (result - truth).abs().mean() <= 1.01 * (plain - truth).abs().mean()


def test_gradients_flow() -> None:
    x = torch.randn(1, 4, WIDTH, requires_grad=True)
    run_chunked(with_activation("relu"), x, 0.7).sum().backward()
    assert x.grad is not None
