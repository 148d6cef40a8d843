"""Several networks as one: chained as in a prompt, as a sum of what they add, or as a mean of their weights.

A chain or a sum is exact where that is possible (see `mlp.py`). Elsewhere the nearest method is taken, and named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hypernet.convert.contexts import Contexts
from hypernet.convert.mlp import Mlp, chain_of, mlp_of, sum_of
from hypernet.convert.parts import PROGRAM, scaled
from hypernet.convert.recipe import Chain, Leaf, Recipe, Sum, leaves
from hypernet.errors import HypernetError
from hypernet.files.summary import structure
from hypernet.network import Activation, Layer, LayerNorm, Linear, Metadata, Net, Network, Pair, Residual

EXACT = "exact"
"""A method of merging that draws the same picture."""
SUM_FOR_CHAIN = "sum instead of chain"
"""A method of merging that leaves out what one network does to the result of another."""
MEAN = "mean of weights"
"""A method of merging that averages the weights."""


@dataclass(frozen=True)
class Merged:
    """A merged network. methods: width and 'k' or 'v' -> EXACT, SUM_FOR_CHAIN or MEAN."""

    network: Network
    recipe: Recipe
    methods: Mapping[tuple[int, str], str]

    @property
    def exact(self) -> bool:
        """Whether nothing was lost."""
        return set(self.methods.values()) == {EXACT}

    def errors(self, contexts: Contexts) -> Mapping[tuple[int, str], float]:
        """How far each net is from the recipe on contexts of a run, as a part of the recipe's change.

        Widths that no layer in the run has are left out.
        """
        found = {}
        for width, kind in self.methods:
            rows = [each.measure for each in contexts.values() if each.measure.shape[1] == width]
            if not rows:
                continue
            x = torch.cat(rows)[None]
            pair = self.network.pairs[width]
            wanted = run(self.recipe, x, kind) - x
            off = (pair.k if kind == "k" else pair.v).delta(x) - wanted
            found[width, kind] = float(off.norm() / wanted.norm().clamp_min(1e-12))
        return found


def run(recipe: Recipe, x: Tensor, kind: str) -> Tensor:
    """Contexts after a recipe. x: (batch, tokens, width), float32; kind: 'k' or 'v'."""
    if isinstance(recipe, Leaf):
        found = recipe.net(x.shape[-1], kind)
        return x if found is None else found[0].to(x.device, x.dtype)(x, found[1])
    if isinstance(recipe, Chain):
        for part in recipe.parts:
            x = run(part, x, kind)
        return x
    return x + sum(((run(part, x, kind) - x) * weight for part, weight in recipe.parts), torch.zeros_like(x))


def merge(recipe: Recipe, progress: Callable[[int], Callable[[int], None]] = lambda total: lambda done: None) -> Merged:
    """One network that does what the recipe says. Raises HypernetError if not even a mean of weights is possible."""
    found = list(leaves(recipe))
    widths = sorted({width for leaf in found for width in leaf.use.network.pairs})
    advance, nets, methods = progress(2 * len(widths)), {}, {}
    for width in widths:
        for kind in ("k", "v"):
            nets[width, kind], methods[width, kind] = _one(recipe, width, kind)
            advance(1)
    pairs = {width: Pair(nets[width, "k"], nets[width, "v"]) for width in widths}
    return Merged(Network(pairs, metadata_of(pairs, found)), recipe, methods)


def mean(parts: Sequence[Leaf]) -> Network:
    """The mean of the weights of networks of one structure, their strengths as proportions."""
    return _weighted(parts, lambda strengths: [strength / sum(strengths) for strength in strengths])


def add_difference(base: Leaf, plus: Leaf, minus: Leaf) -> Network:
    """Weights A + s (B - C), s the strength of B."""
    return _weighted([base, plus, minus], lambda strengths: [1.0, strengths[1], -strengths[1]])


def _weighted(parts: Sequence[Leaf], factors: Callable[[list[float]], list[float]]) -> Network:
    widths = set.intersection(*(set(part.use.network.pairs) for part in parts))
    if not widths:
        raise HypernetError("These networks have no width in common: are they for different base models?")
    pairs = {}
    for width in sorted(widths):
        made = []
        for kind in ("k", "v"):
            nets, strengths = zip(*(found for part in parts if (found := part.net(width, kind))), strict=True)
            if not sum(strengths):
                raise HypernetError(f"The proportions at width {width} sum to zero. Give other strengths.")
            made.append(_mixed(nets, factors(list(strengths)), [part.use.tag.name for part in parts]))
        pairs[width] = Pair(*made)
    return Network(pairs, metadata_of(pairs, parts))


def _mixed(nets: Sequence[Net], factors: Sequence[float], names: Sequence[str]) -> Net:
    """The weights of nets of one structure, each times its factor, added up."""
    for name, net in zip(names, nets, strict=True):
        if _forms(net) != _forms(nets[0]):
            raise HypernetError(
                f"{names[0]} and {name} have different layers, so their weights can't be mixed one by one. "
                "Merge them as a chain or a sum."
            )
    tensors = iter(
        sum((tensor.float() * factor for tensor, factor in zip(each, factors, strict=True)), torch.zeros(()))
        for each in zip(*(net.tensors() for net in nets), strict=True)
    )
    return Net(nets[0].width, tuple(_refilled(layer, tensors) for layer in nets[0].layers))


def _refilled(layer: Layer, tensors: Iterator[Tensor]) -> Layer:
    """The layer with the next weights, in the order in which `Net.tensors` gives them."""
    if isinstance(layer, Residual):
        block = tuple(_refilled(inner, tensors) for inner in layer.block)
        return replace(layer, block=block, skip=None if layer.skip is None else next(tensors))
    if isinstance(layer, Activation):
        return layer if layer.weight is None else replace(layer, weight=next(tensors))
    weight = next(tensors)
    if isinstance(layer, LayerNorm):
        return LayerNorm(weight, next(tensors))
    return Linear(weight, None if layer.bias is None else next(tensors))


def _forms(net: Net) -> list[object]:
    return [_form(layer) for layer in net.layers]


def _form(layer: Layer) -> object:
    """A layer without the values of its weights."""
    if isinstance(layer, Residual):
        return [_form(inner) for inner in layer.block], layer.width, layer.skip is None
    if isinstance(layer, Activation):
        return layer.name
    return type(layer), tuple(layer.weight.shape), layer.bias is None


def _one(recipe: Recipe, width: int, kind: str) -> tuple[Net, str]:
    """One net of the merged network, and the method that made it."""
    if isinstance(recipe, Leaf):
        return _alone(recipe, width, kind), EXACT
    here = _with_width(recipe, width)
    assert here is not None, "some network has this width"
    for chains, method in ((True, EXACT), (False, SUM_FOR_CHAIN)):
        made = _exactly(here, width, kind, chains)
        if made is not None:
            return (made.net() if isinstance(made, Mlp) else made), method
    if isinstance(here, Leaf):
        return _alone(here, width, kind), EXACT
    return _mean_for_chain(here, width, kind), MEAN


def _alone(leaf: Leaf, width: int, kind: str) -> Net:
    """The leaf's own net with its strength inside. K and V of one network keep the same layers."""
    found, tag = leaf.net(width, kind), leaf.use.tag
    assert found is not None
    net, strength = found
    untouched = strength == tag.k == tag.v == 1
    return replace(net if untouched else scaled(net, strength), names=())


def _mean_for_chain(recipe: Recipe, width: int, kind: str) -> Net:
    """For nets that can't be put side by side: the mean of their weights, as strong as all of them together."""
    found = [(leaf.use.tag.name, *(leaf.net(width, kind) or ())) for leaf in leaves(recipe)]
    names, nets, strengths = zip(*found, strict=True)
    total = sum(strengths)
    plain = isinstance(recipe, Chain) and all(isinstance(part, Leaf) for part in recipe.parts)
    if not plain or not total or any(_forms(net) != _forms(nets[0]) for net in nets):
        raise HypernetError(
            f"{' and '.join(dict.fromkeys(names))}: layer norm, or different activations, leave no way to mix them."
        )
    return scaled(_mixed(nets, [strength / total for strength in strengths], names), total)


def _with_width(recipe: Recipe, width: int) -> Recipe | None:
    """The recipe without the networks that do nothing at this width; None if none is left."""
    if isinstance(recipe, Leaf):
        return recipe if width in recipe.use.network.pairs else None
    if isinstance(recipe, Chain):
        parts = tuple(kept for part in recipe.parts if (kept := _with_width(part, width)) is not None)
        return parts[0] if len(parts) == 1 else Chain(parts) if parts else None
    weighted = tuple((kept, weight) for part, weight in recipe.parts if (kept := _with_width(part, width)) is not None)
    return Sum(weighted) if weighted else None


def _exactly(recipe: Recipe, width: int, kind: str, chains: bool) -> Mlp | Net | None:
    """The recipe's change as one net; with `chains` False, chains become sums. None if it has no exact form."""
    if isinstance(recipe, Leaf):
        found = recipe.net(width, kind)
        mlp = None if found is None else mlp_of(found[0])
        return None if found is None or mlp is None else sum_of([(mlp, found[1])])
    weighted = recipe.parts if isinstance(recipe, Sum) else tuple((part, 1.0) for part in recipe.parts)
    parts: list[tuple[Mlp, float]] = []
    for part, weight in weighted:
        made = _exactly(part, width, kind, chains)
        if not isinstance(made, Mlp):
            return None
        parts.append((made, weight))
    return chain_of(parts) if chains and isinstance(recipe, Chain) else sum_of(parts)


def metadata_of(pairs: Mapping[int, Pair], parts: Sequence[Leaf]) -> Metadata:
    """Metadata for a file of these nets, with A1111's keys, so that its loader builds the same layers."""
    nets = [net for pair in pairs.values() for net in (pair.k, pair.v)]
    layers = [layer for net in nets for layer in _flat(net)]
    activations = Counter(layer.name for layer in layers if isinstance(layer, Activation))
    structures = {structure(net) for net in nets}
    residual = any(net.residual for net in nets)
    first = parts[0].use.network.metadata
    return Metadata(
        layer_structure=structures.pop() if len(structures) == 1 else None,
        activation_func=max(activations, key=activations.__getitem__) if activations else "linear",
        is_layer_norm=any(isinstance(layer, LayerNorm) for layer in layers),
        activate_output=not residual and any(isinstance(net.layers[-1], Activation) for net in nets),
        sd_checkpoint=first.sd_checkpoint,
        sd_checkpoint_name=first.sd_checkpoint_name,
        skip_connection=residual,
        upsample_linear="Linear" if residual else None,
        extra={"made_by": PROGRAM},
    )


def _flat(net: Net) -> list[Layer]:
    return [inner for layer in net.layers for inner in (layer.block if isinstance(layer, Residual) else (layer,))]
