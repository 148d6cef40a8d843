"""Gradients through a UNet are exact, whatever networks are attached to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from hypernet import Network
from hypernet.engine import Engine
from hypernet.plan import Plan, Use, make_plan
from hypernet.sites import Site, find_sites
from hypernet.tags import parse
from tests.test_engine import picture
from tests.unets import TinyUNet, nets_at, network, plain_formula

KINDS = ("linear", "relu", "relu+ln")


def plan_of(networks: list[Network], unet: nn.Module) -> Plan:
    (tag,) = parse("<hypernet:any:0.5>").tags
    return make_plan([Use(tag, each) for each in networks], find_sites(unet))


def gradients(unet: nn.Module, wanted: list[Tensor], x: Tensor, context: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(unet(x, None, context).square().mean(), wanted))


def expected(
    unet: nn.Module, networks: list[Network], wanted: list[Tensor], x: Tensor, context: Tensor
) -> list[Tensor]:
    def formula(site: Site, x: Tensor) -> Tensor:
        for each in networks:
            net = nets_at(each, site)
            x = x if net is None else net(x, 0.5)
        return x

    with plain_formula(unet, formula):
        return gradients(unet, wanted, x, context)


def assert_close(got: list[Tensor], want: list[Tensor]) -> None:
    for mine, right in zip(got, want, strict=True):
        torch.testing.assert_close(mine, right, atol=1e-5 * float(right.abs().max()), rtol=1e-4)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    assert not engine.failures
    engine.detach()


@pytest.mark.parametrize("kind", KINDS)
def test_projections_get_exact_gradients_in_every_step(kind: str, engine: Engine) -> None:
    unet, networks, (x, context) = TinyUNet(), [network(1, kind)], picture()
    weights = [site.module.weight for site in find_sites(unet)]
    want = expected(unet, networks, weights, x, context)
    engine.attach(unet, plan_of(networks, unet))
    for _ in range(3):
        assert_close(gradients(unet, weights, x, context), want)


@pytest.mark.parametrize("kind", KINDS)
def test_the_picture_and_the_text_get_exact_gradients(kind: str, engine: Engine) -> None:
    unet, networks = TinyUNet().requires_grad_(False), [network(1, kind)]
    inputs = [each.requires_grad_() for each in picture()]
    want = expected(unet, networks, inputs, *inputs)
    engine.attach(unet, plan_of(networks, unet))
    for _ in range(2):
        assert_close(gradients(unet, inputs, *inputs), want)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_drawn_in_between_leaves_nothing_without_gradients(kind: str, engine: Engine) -> None:
    unet, networks, (x, context) = TinyUNet(), [network(1, kind)], picture()
    weights = list(unet.parameters())
    want = expected(unet, networks, weights, x, context)
    engine.attach(unet, plan_of(networks, unet))
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            unet(x.clone(), None, context.clone())
        assert_close(gradients(unet, weights, x, context), want)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_that_learns_gets_exact_gradients(kind: str, engine: Engine) -> None:
    unet, networks, (x, context) = TinyUNet().requires_grad_(False), [network(1, kind)], picture()
    weights = [tensor.requires_grad_() for net in networks[0].nets() for tensor in net.tensors()]
    want = expected(unet, networks, weights, x, context)
    engine.attach(unet, plan_of(networks, unet))
    for _ in range(2):
        assert_close(gradients(unet, weights, x, context), want)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep", [False, True])
def test_pictures_follow_a_network_that_is_learning(kind: str, keep: bool) -> None:
    unet, net, (x, context) = TinyUNet(), network(1, kind), picture()
    engine = Engine(keep_weights=keep)
    with torch.no_grad():
        for attached_anew in (True, False, True):
            if attached_anew:
                engine.attach(unet, plan_of([net], unet))
            got = unet(x, None, context)
            fresh = TinyUNet()
            with plain_formula(fresh, lambda site, x: nets_at(net, site)(x, 0.5)):
                want = fresh(x, None, context)
            torch.testing.assert_close(got, want, atol=1e-5 * float(want.abs().max()), rtol=1e-4)
            for each in net.nets():
                for tensor in each.tensors():
                    tensor.mul_(1.1)
    engine.detach()
