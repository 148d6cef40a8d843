"""Smaller networks, and what that costs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import hypernet
from hypernet import HypernetError, Metadata, Network, Pair
from hypernet.convert.contexts import Rows
from hypernet.convert.reduce import reduce
from hypernet.network import Linear, Net
from tests.unets import network

WIDTHS = (16, 32)


def x(width: int) -> torch.Tensor:
    return torch.randn(1, 7, width, generator=torch.Generator().manual_seed(1))


def low_rank(rank: int) -> Network:
    """Linear, [1, 2, 1], of matrices of this rank."""
    torch.manual_seed(0)

    def net(width: int) -> Net:
        return Net(
            width,
            (
                Linear(torch.randn(2 * width, rank) @ torch.randn(rank, width), torch.randn(2 * width)),
                Linear(torch.randn(width, 2 * width), torch.randn(width)),
            ),
        )

    return Network({width: Pair(net(width), net(width)) for width in WIDTHS}, Metadata(activation_func="linear"))


def test_a_linear_network_is_one_layer_and_loses_nothing(tmp_path: Path) -> None:
    made = network(seed=1, widths=WIDTHS)
    reduced = reduce(made)
    assert max(reduced.errors.values()) < 1e-6
    assert reduced.network.parameters < made.parameters / 3.5
    hypernet.save(reduced.network, tmp_path / "small.pt")
    loaded = hypernet.load(tmp_path / "small.pt")
    assert loaded.metadata.layer_structure == (1, 1)
    for width in WIDTHS:
        torch.testing.assert_close(loaded.pairs[width].k(x(width)), made.pairs[width].k(x(width)), atol=1e-4, rtol=1e-4)


def test_few_units_hold_a_network_of_low_rank(tmp_path: Path) -> None:
    made = low_rank(4)
    reduced = reduce(made, energy=0.999999)
    assert reduced.network.metadata.layer_structure == (1, 0.25, 1)
    assert max(reduced.errors.values()) < 2e-3
    hypernet.save(reduced.network, tmp_path / "small.pt")
    loaded = hypernet.load(tmp_path / "small.pt")
    got, wanted = loaded.pairs[32].v.delta(x(32)), made.pairs[32].v.delta(x(32))
    assert float((got - wanted).norm() / wanted.norm()) < 2e-3


def test_fewer_units_lose_more_and_it_is_told() -> None:
    losses = [max(reduce(low_rank(16), fraction=part).errors.values()) for part in (0.49, 0.25, 0.1)]
    assert 0.01 < losses[0] < losses[1] < losses[2] < 1


def test_units_are_counted_as_a1111_counts_them() -> None:
    reduced = reduce(low_rank(16), fraction=0.3)
    for width in WIDTHS:
        inner, _ = reduced.network.pairs[width].k.layers
        assert isinstance(inner, Linear)
        assert len(inner.weight) == int(width * 0.3)


def test_directions_are_those_that_contexts_have() -> None:
    made = low_rank(16)
    rows = torch.zeros(40, 16)
    rows[:, :3] = torch.randn(40, 3)
    contexts = {"IN01.0.attn1": Rows(rows, rows)}
    measured = reduce(made, only=[16], fraction=0.25, contexts=contexts)
    assert measured.measured
    assert max(measured.errors.values()) < 0.02
    assert max(reduce(made, only=[16], fraction=0.25).errors.values()) > 0.1


def test_half_precision_is_measured_too() -> None:
    reduced = reduce(network(seed=1, kind="relu", widths=WIDTHS), half=True, contexts={"a": Rows(x(16)[0], x(16)[0])})
    assert {tensor.dtype for net in reduced.network.nets() for tensor in net.tensors()} == {torch.float16}
    assert set(reduced.errors) == {(16, "k"), (16, "v")}
    assert all(0 < error < 0.01 for error in reduced.errors.values())


def test_widths_are_kept_or_left_out() -> None:
    made = network(seed=1)
    assert reduce(made, only=[24]).network.widths == (24,)
    assert reduce(made, without=[24, 16]).network.widths == (32,)


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("relu", {"energy": 0.9}, "Only linear networks"),
        ("linear", {"only": [768]}, "no width 768; it has 16, 24, 32."),
        ("linear", {"only": [16], "without": [16]}, "No width would be left"),
    ],
)
def test_what_can_not_be_is_refused(kind: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(HypernetError, match=said):
        reduce(network(seed=1, kind=kind), **options)  # type: ignore[arg-type]
