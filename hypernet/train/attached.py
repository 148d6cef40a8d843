"""A network under training on a UNet.

The engine is for pictures and keeps results from step to step. Here every UNet call must build the way back to the
weights, and what makes that cheap differs:

- the text is the same for all cross-attention layers, so its nets run once per call;
- a linear net is one matrix A, made once per call; on the picture it becomes part of the projection, W(x + Ax) =
  (W + WA)x, so that a site costs about what it costs without a network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from hypernet.engine.forward_patch import ForwardPatch
from hypernet.errors import NO_EFFECT, HypernetError
from hypernet.network import Linear, Net, Network, collapse
from hypernet.sites import Site, find_sites
from hypernet.train.nets import drop_rates


class Attached:
    """The nets of a network at every `to_k` and `to_v` of their width, until `detach`.

    strength: 1 in training; at 0 the UNet answers as without a network. dropping: whether the network's dropout acts.
    """

    def __init__(self, unet: nn.Module, network: Network) -> None:
        """Raises HypernetError for a UNet on which no net of the network acts."""
        sites = [site for site in find_sites(unet) if site.width in network.pairs]
        if not sites:
            raise HypernetError(NO_EFFECT)
        self.strength, self.dropping = 1.0, False
        self._network = network
        self._drop_rates = {net: drop_rates(net, network.metadata) for net in network.nets()}
        self._linear_on_pictures = {
            net for net in (self._net(site) for site in sites if not site.cross) if self._is_linear(net)
        }
        self._collapsed: dict[Net, Linear] = {}
        self._text: Tensor | None = None
        self._changed_text: dict[str, Tensor] = {}
        self._patches: list[ForwardPatch] = []
        self._handles: list[RemovableHandle] = [unet.register_forward_pre_hook(self._begin, with_kwargs=True)]
        for site in sites:
            if not site.cross and self._is_linear(self._net(site)) and _foldable(site.module):
                self._patches.append(ForwardPatch(site.module, self._folded(self._net(site))))
            else:
                self._handles.append(site.module.register_forward_pre_hook(self._before(site)))

    def detach(self) -> None:
        """Leaves the UNet as it was."""
        for handle in self._handles:
            handle.remove()
        for patch in self._patches:
            patch.remove()
        self._forget()

    def _net(self, site: Site) -> Net:
        pair = self._network.pairs[site.width]
        return pair.k if site.kind == "k" else pair.v

    def _is_linear(self, net: Net) -> bool:
        return net.linear and not any(self._drop_rates[net])

    def _forget(self) -> None:
        self._text, self._changed_text, self._collapsed = None, {}, {}

    def _begin(self, unet: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before a UNet call: what its sites share. Not made within them, since checkpointing calls those twice."""
        self._forget()
        if not self.strength:
            return
        for net in self._linear_on_pictures:
            (self._collapsed[net],) = collapse(net).layers  # type: ignore[assignment]
        text = kwargs["encoder_hidden_states"] if "encoder_hidden_states" in kwargs else args[2]
        if pair := self._network.pairs.get(text.shape[-1]):
            self._text = text
            self._changed_text = {"k": self._change(pair.k, text), "v": self._change(pair.v, text)}

    def _change(self, net: Net, x: Tensor) -> Tensor:
        """x + strength * f(x) in x's type. x: (batch, tokens, width)."""
        delta = x.to(_dtype(net))
        if net in self._collapsed:
            delta = self._collapsed[net](delta)
        elif self.dropping:
            for layer, rate in zip(net.layers, self._drop_rates[net], strict=True):
                delta = F.dropout(layer(delta), rate, training=rate > 0)
        else:
            delta = net.delta(delta)
        return torch.add(x, delta.to(x.dtype), alpha=self.strength)

    def _before(self, site: Site) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...] | None]:
        net = self._net(site)

        def hook(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            if not self.strength:
                return None
            x = args[0]
            return (self._changed_text[site.kind] if x is self._text else self._change(net, x), *args[1:])

        return hook

    def _folded(self, net: Net) -> Callable[[nn.Module, Tensor], Tensor]:
        """The call of a projection with a linear net inside its weight, where that is cheaper than in front of it."""

        def project(module: nn.Module, x: Tensor) -> Tensor:
            if not self.strength:
                return ForwardPatch.original(module, x)
            assert isinstance(module, nn.Linear), "only linear layers are foldable"
            weight: Tensor = module.weight
            bias: Tensor | None = module.bias
            if x.shape[:-1].numel() < net.width or not weight.dtype == x.dtype == _dtype(net):
                return ForwardPatch.original(module, self._change(net, x))
            change = self._collapsed[net]
            if change.bias is not None:
                bias = F.linear(self.strength * change.bias, weight, bias)
            return F.linear(x, torch.addmm(weight, weight, change.weight, alpha=self.strength), bias)

        return project


def _foldable(module: nn.Module) -> bool:
    return type(module) is nn.Linear and ForwardPatch.possible(module)


def _dtype(net: Net) -> torch.dtype:
    return next(net.tensors()).dtype
