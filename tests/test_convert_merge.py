"""Several networks in one file: the chain of a prompt exactly, wherever there is a way."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import hypernet
from hypernet import HypernetError, Metadata, Network, Pair
from hypernet.convert.contexts import Rows
from hypernet.convert.merge import EXACT, MEAN, SUM_FOR_CHAIN, add_difference, mean, merge, run
from hypernet.convert.mlp import PAIRS
from hypernet.convert.parts import read_part
from hypernet.convert.recipe import Chain, Leaf, Recipe, Sum, read_hns
from hypernet.network import ACTIVATIONS, Activation, Layer, LayerNorm, Linear, Net
from hypernet.plan import Use
from hypernet.tags import Tag, parse

WIDTHS = (8, 12)
SKIPS = (
    "celu",
    "elu",
    "hardshrink",
    "hardtanh",
    "mish",
    "relu6",
    "selu",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
)
SUMS = ("sigmoid", "hardsigmoid")


def networks(
    seed: int,
    activation: str = "linear",
    structure: tuple[float, ...] = (1, 2, 1),
    widths: tuple[int, ...] = WIDTHS,
    norm: bool = False,
    activate_output: bool = False,
) -> Network:
    generator = torch.Generator().manual_seed(seed)

    def net(width: int) -> Net:
        layers: list[Layer] = []
        sizes = [int(width * part) for part in structure]
        for number, (inside, outside) in enumerate(pairwise(sizes)):
            weight = torch.randn(outside, inside, generator=generator) / inside**0.5
            layers.append(Linear(weight, torch.randn(outside, generator=generator) / 4))
            last = number == len(sizes) - 2
            if activation != "linear" and (activate_output or not last):
                layers.append(Activation(activation))
            if norm:
                layers.append(
                    LayerNorm(torch.rand(outside, generator=generator), torch.rand(outside, generator=generator))
                )
        return Net(width, tuple(layers))

    metadata = Metadata(activation_func=activation, activate_output=activate_output, is_layer_norm=norm)
    return Network({width: Pair(net(width), net(width)) for width in widths}, metadata)


def leaf(network: Network, options: str = "") -> Leaf:
    (tag,) = parse(f"<hypernet:x{options}>").tags
    assert isinstance(tag, Tag)
    return Leaf(Use(tag, network))


def x(width: int) -> torch.Tensor:
    return 2 * torch.randn(2, 5, width, generator=torch.Generator().manual_seed(99))


def through_a_file(network: Network, folder: Path, suffix: str = ".pt") -> Network:
    hypernet.save(network, folder / f"merged{suffix}", overwrite=True)
    return hypernet.load(folder / f"merged{suffix}", mapped=False)


def same(network: Network, recipe: Recipe) -> None:
    for width, pair in network.pairs.items():
        for kind, net in (("k", pair.k), ("v", pair.v)):
            torch.testing.assert_close(net(x(width)), run(recipe, x(width), kind), atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("activation", ["linear", *PAIRS, *SKIPS])
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("activate_output", [False, True])
def test_a_chain_is_one_network_exactly(activation: str, count: int, activate_output: bool, tmp_path: Path) -> None:
    structures = ((1, 2, 1), (1, 1.5, 0.5, 1), (1, 1))
    parts = tuple(
        leaf(networks(seed, activation, structures[seed], activate_output=activate_output), options)
        for seed, options in zip(range(count), (":0.7:k=0.5", ":-0.6", ":0.9:v=0"), strict=False)
    )
    made = merge(Chain(parts))
    assert made.exact
    same(through_a_file(made.network, tmp_path), Chain(parts))
    same(through_a_file(made.network, tmp_path, ".safetensors"), Chain(parts))


@pytest.mark.parametrize("activation", [*PAIRS, *SUMS, *SKIPS])
def test_a_sum_is_one_network_exactly(activation: str, tmp_path: Path) -> None:
    recipe = Sum(((leaf(networks(1, activation), ":0.7"), 0.3), (leaf(networks(2, activation, (1, 3, 1))), 0.7)))
    made = merge(recipe)
    assert made.exact
    same(through_a_file(made.network, tmp_path), recipe)


@pytest.mark.parametrize("activation", SUMS)
def test_where_a_chain_can_not_be_a_sum_stands_for_it_and_says_how_far_it_is(activation: str) -> None:
    recipe = Chain((leaf(networks(1, activation), ":0.2"), leaf(networks(2, activation), ":0.2")))
    made = merge(recipe)
    assert set(made.methods.values()) == {SUM_FOR_CHAIN}
    rows = x(8).flatten(0, 1)
    errors = made.errors({"IN01.0.attn1": Rows(rows, rows)})
    assert set(errors) == {(8, "k"), (8, "v")}
    assert all(0.001 < error < 0.3 for error in errors.values())


def test_networks_with_layer_norm_are_averaged_and_it_says_how_far_that_is(tmp_path: Path) -> None:
    one, two = (networks(seed, "relu", norm=True) for seed in (1, 2))
    recipe = Chain((leaf(one, ":0.6"), leaf(two, ":0.4")))
    made = merge(recipe)
    assert set(made.methods.values()) == {MEAN}
    rows = x(8).flatten(0, 1)
    assert all(error > 0.05 for error in made.errors({"a": Rows(rows, rows)}).values())
    through_a_file(made.network, tmp_path)


def test_an_exact_merge_has_no_error_on_contexts() -> None:
    made = merge(Chain((leaf(networks(1, "relu")), leaf(networks(2, "relu")))))
    rows = x(12).flatten(0, 1)
    assert max(made.errors({"a": Rows(rows, rows)}).values()) < 1e-4


def test_a_linear_network_in_a_chain_costs_the_others_no_layer() -> None:
    linear, relu = leaf(networks(1)), leaf(networks(2, "relu"))
    made = merge(Chain((linear, relu, linear)))
    assert made.exact
    assert made.network.pairs[8].k.layers[0].weight.shape == (2 * 8 + 2 * 8 + 2 * 8, 8)  # type: ignore[union-attr]
    same(made.network, Chain((linear, relu, linear)))


def test_linear_networks_become_one_matrix() -> None:
    made = merge(Chain(tuple(leaf(networks(seed)) for seed in range(5))))
    assert [len(net.layers) for net in made.network.nets()] == [1] * 4


def test_a_width_that_only_one_has_stays_as_it_is_there(tmp_path: Path) -> None:
    one, two = leaf(networks(1, "relu")), leaf(networks(2, "relu", widths=(8, 16)), ":0.5")
    made = merge(Chain((one, two)))
    assert made.network.widths == (8, 12, 16)
    loaded = through_a_file(made.network, tmp_path)
    same(loaded, Chain((one, two)))
    torch.testing.assert_close(loaded.pairs[16].k(x(16)), two.use.network.pairs[16].k(x(16), 0.5))


def test_different_activations_are_refused_by_name() -> None:
    with pytest.raises(HypernetError, match="different activations"):
        merge(Chain((leaf(networks(1, "relu")), leaf(networks(2, "tanh")))))


def test_a_file_alone_keeps_its_layers_and_takes_its_factors_in(tmp_path: Path) -> None:
    for activate_output in (False, True):
        made = networks(1, "relu", activate_output=activate_output)
        hypernet.save(made, tmp_path / "ink.pt", overwrite=True)
        use = read_part(f"{tmp_path / 'ink.pt'}:0.5:k=2:12=3").use()
        loaded = through_a_file(merge(Leaf(use)).network, tmp_path)
        torch.testing.assert_close(loaded.pairs[12].v(x(12)), made.pairs[12].v(x(12), 1.5))
        torch.testing.assert_close(loaded.pairs[12].k(x(12)), made.pairs[12].k(x(12), 3.0))
        torch.testing.assert_close(loaded.pairs[8].k(x(8)), made.pairs[8].k(x(8), 1.0))


def test_the_mean_of_weights_takes_strengths_as_proportions() -> None:
    one, two = networks(1, "relu"), networks(2, "relu")
    made = mean([leaf(one, ":3"), leaf(two, ":1")])
    for net, a, b in zip(made.nets(), one.nets(), two.nets(), strict=True):
        for got, first, second in zip(net.tensors(), a.tensors(), b.tensors(), strict=True):
            torch.testing.assert_close(got, 0.75 * first + 0.25 * second)


def test_a_difference_is_added_to_the_weights(tmp_path: Path) -> None:
    one, two, three = (networks(seed, "relu", norm=True) for seed in (1, 2, 3))
    made = through_a_file(add_difference(leaf(one), leaf(two, ":0.5"), leaf(three)), tmp_path)
    for net, a, b, c in zip(made.nets(), one.nets(), two.nets(), three.nets(), strict=True):
        for got, first, second, third in zip(net.tensors(), a.tensors(), b.tensors(), c.tensors(), strict=True):
            torch.testing.assert_close(got, first + 0.5 * (second - third))


def test_weights_of_other_structures_are_not_mixed_one_by_one() -> None:
    with pytest.raises(HypernetError, match="have different layers"):
        mean([leaf(networks(1, "relu")), leaf(networks(2, "relu", (1, 3, 1)))])


@given(name=st.sampled_from(sorted(PAIRS)), value=st.floats(-50, 50, width=32))
def test_two_units_carry_a_number_past_these_activations(name: str, value: float) -> None:
    act, number = ACTIVATIONS[name], torch.tensor([value])
    torch.testing.assert_close(act(number) - act(-number), PAIRS[name] * number, atol=1e-5, rtol=1e-5)


@given(data=st.data())
def test_any_tree_of_chains_and_sums_of_relu_and_linear_networks_is_one_network(data: st.DataObject) -> None:
    def tree(depth: int) -> Recipe:
        if not depth or data.draw(st.booleans()):
            activation = data.draw(st.sampled_from(["relu", "linear"]))
            return leaf(networks(data.draw(st.integers(0, 50)), activation, widths=(8,)), f":{data.draw(STRENGTHS)}")
        parts = tuple(tree(depth - 1) for _ in range(data.draw(st.integers(1, 3))))
        if data.draw(st.booleans()):
            return Chain(parts)
        return Sum(tuple((part, data.draw(st.sampled_from([0.2, 0.5, 1.0]))) for part in parts))

    recipe = tree(2)
    made = merge(recipe)
    assert set(made.methods.values()) == {EXACT}
    wanted = run(recipe, x(8), "v")
    off = float((made.network.pairs[8].v(x(8)) - wanted).norm() / wanted.norm())
    assert off < 1e-4


STRENGTHS = st.sampled_from([0.5, 1, -0.3, 0])


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ('"a"', "a"),
        ('["a", ("b", 0.5)]', "[a b*0.5]"),
        ('{"a": 0.8, "b": 0.2}', "{0.8 a, 0.2 b}"),
        ('[{"a": 0.6}, "b"]', "[a*0.6 b]"),
        ('[{"a", "b"}]', "{0.5 a, 0.5 b}"),
        ("{\"['a', 'b']\": 3, \"c\": 1}", "{0.75 [a b], 0.25 c}"),
        ('[["a"], {"b"}, "c"]', "[a b c]"),
    ],
)
def test_mixes_of_the_monkeypatch_extension_are_read(text: str, shape: str, tmp_path: Path) -> None:
    def told(recipe: Recipe) -> str:
        if isinstance(recipe, Leaf):
            strength = recipe.use.tag.course.strength.points[0][0]
            return recipe.use.tag.name + (f"*{strength:g}" if strength != 1 else "")
        if isinstance(recipe, Chain):
            return f"[{' '.join(map(told, recipe.parts))}]"
        return "{" + ", ".join(f"{weight:g} {told(part)}" for part, weight in recipe.parts) + "}"

    (tmp_path / "mix.hns").write_text(text)

    def find(name: str, strength: float) -> Use:
        (tag,) = parse(f"<hypernet:{name}:{strength}>").tags
        return Use(tag, networks(1))

    assert told(read_hns(tmp_path / "mix.hns", find)) == shape


@pytest.mark.parametrize(
    "text",
    ["", "__import__('os')", "[[[[[[[[[['a']]]]]]]]]]", "{'a': 'b'}", "{'a': 1, 'b': -1}", "[]", "3", "[" * 9999],
)
def test_what_is_no_mix_is_refused_and_never_run(text: str, tmp_path: Path) -> None:
    (tmp_path / "mix.hns").write_text(text)
    with pytest.raises(HypernetError, match=r"mix\.hns: "):
        read_hns(tmp_path / "mix.hns", lambda name, strength: replace(leaf(networks(1)).use))
