"""The engine gives the plain formula's result at every site, whatever the strategy, and leaves no trace."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hypernet import Network
from hypernet.engine import Engine
from hypernet.engine.contexts import Contexts
from hypernet.plan import Plan, make_plan, open_tags
from hypernet.schedule import Moment
from hypernet.sites import Site, find_sites
from hypernet.tags import parse
from tests.unets import TEXT, Attention, TinyUNet, needs_arithmetic, nets_at, network, plain_formula

KINDS = ("linear", "relu", "relu+ln")
NETWORKS: Mapping[str, Network] = {
    "linear": network(1, "linear"),
    "linear2": network(2, "linear"),
    "relu": network(3, "relu"),
    "ln": network(4, "relu+ln"),
    "text": network(5, "relu", [TEXT]),
}


def plan_of(prompt: str, unet: nn.Module) -> Plan:
    parsed = parse(prompt)
    assert not parsed.problems, parsed.problems
    uses, notes = open_tags(parsed.tags, NETWORKS.__getitem__)
    plan = make_plan(uses, find_sites(unet))
    assert not plan.notes and not notes
    return plan


def picture(seed: int = 0, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 6, 16, generator=generator), torch.randn(batch, 4, TEXT, generator=generator)


def moments(steps: int, **kwargs: object) -> list[Moment]:
    return [Moment(step, steps, **kwargs) for step in range(steps)]  # type: ignore[arg-type]


def run(unet: nn.Module, prompt: str, when: Sequence[Moment], x: Tensor, context: Tensor) -> list[Tensor]:
    """One UNet call per moment, with the prompt's networks."""
    clock = iter(when)
    engine = Engine()
    engine.attach(unet, plan_of(prompt, unet), lambda args, kwargs: next(clock))
    try:
        outputs = [unet(x, None, context) for _ in when]
        assert not engine.failures
        return outputs
    finally:
        engine.detach()


def expected(unet: nn.Module, strengths: Sequence[tuple[str, float]], x: Tensor, context: Tensor) -> Tensor:
    """The plain formula: each network in turn, x + s f(x), at every site."""

    def formula(site: Site, x: Tensor) -> Tensor:
        for name, strength in strengths:
            if net := nets_at(NETWORKS[name], site):
                x = net.to(x.device, x.dtype)(x, strength)
        return x

    with plain_formula(unet, formula):
        return unet(x, None, context)


def assert_close(got: Tensor, want: Tensor) -> None:
    scale = want.abs().max().item()
    torch.testing.assert_close(got, want, atol=1e-5 * max(scale, 1), rtol=1e-5)


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.mark.parametrize(
    ("prompt", "strengths"),
    [
        ("<hypernet:linear:0.7>", [("linear", 0.7)]),
        ("<hypernet:relu:-0.5>", [("relu", -0.5)]),
        ("<hypernet:ln>", [("ln", 1.0)]),
        ("<hypernet:text:2>", [("text", 2.0)]),
        ("<hypernet:linear:0.7> <hypernet:relu:0.4>", [("linear", 0.7), ("relu", 0.4)]),
        ("<hypernet:relu:0.4> <hypernet:linear:0.7>", [("relu", 0.4), ("linear", 0.7)]),
        ("<hypernet:linear:0.7> <hypernet:linear:0.2>", [("linear", 0.7), ("linear", 0.2)]),
        (
            "<hypernet:linear:0.7> <hypernet:linear2:-0.3> <hypernet:ln:1>",
            [("linear", 0.7), ("linear2", -0.3), ("ln", 1)],
        ),
    ],
)
def test_every_site_gets_the_plain_formula_in_prompt_order(prompt: str, strengths: list[tuple[str, float]]) -> None:
    unet, (x, context) = TinyUNet(), picture()
    first, second = run(unet, prompt, moments(2), x, context)
    assert_close(first, expected(unet, strengths, x, context))
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", NETWORKS)
def test_after_detach_the_unet_is_bit_for_bit_what_it_was(name: str) -> None:
    unet, (x, context) = TinyUNet(), picture()
    before = unet(x, None, context)
    weights = {key: value.clone() for key, value in unet.state_dict().items()}
    with_it = run(unet, f"<hypernet:{name}>", moments(2), x, context)[1]
    assert not torch.equal(with_it, before)
    assert torch.equal(unet(x, None, context), before)
    assert all(torch.equal(value, weights[key]) for key, value in unet.state_dict().items())
    for module in unet.modules():
        assert not module._forward_pre_hooks and not module._forward_hooks and "forward" not in module.__dict__


def test_detach_keeps_no_reference_to_the_unet_or_the_networks() -> None:
    unet, (x, context) = TinyUNet(), picture()
    shelf = {"any": network(9)}
    engine = Engine()
    uses, _ = open_tags(parse("<hypernet:any:0.5>").tags, shelf.__getitem__)
    engine.attach(unet, make_plan(uses, find_sites(unet)))
    unet(x, None, context)
    engine.detach()
    gone = [weakref.ref(unet), weakref.ref(shelf["any"]), *(weakref.ref(weight) for weight in unet.parameters())]
    del unet, uses
    shelf.clear()
    gc.collect()
    assert not any(reference() for reference in gone)


def test_attaching_again_replaces_what_was_attached() -> None:
    unet, (x, context) = TinyUNet(), picture()
    engine = Engine()
    engine.attach(unet, plan_of("<hypernet:relu:1>", unet))
    engine.attach(unet, plan_of("<hypernet:linear:0.5>", unet))
    assert_close(unet(x, None, context), expected(unet_without(engine, unet), [("linear", 0.5)], x, context))


def unet_without(engine: Engine, unet: nn.Module) -> nn.Module:
    engine.detach()
    return unet


def test_a_plan_without_sites_hooks_nothing() -> None:
    unet = TinyUNet()
    engine = Engine()
    engine.attach(unet, Plan({}))
    assert not engine.attached
    assert not any(module._forward_pre_hooks for module in unet.modules())


@pytest.mark.parametrize("name", ["linear", "relu"])
def test_a_schedule_is_linear_between_its_points(name: str) -> None:
    unet, (x, context) = TinyUNet(), picture()
    outputs = run(unet, f"<hypernet:{name}:0@0,1@0.5,0@1>", moments(5), x, context)
    for output, strength in zip(outputs, [0, 0.5, 1, 0.5, 0], strict=True):
        assert_close(output, expected(unet, [(name, strength)], x, context))


@pytest.mark.parametrize("order", ["{fade} <hypernet:linear2:0.3>", "<hypernet:linear2:0.3> {fade}"])
def test_a_fading_linear_network_beside_a_constant_one(order: str) -> None:
    unet, (x, context) = TinyUNet(), picture()
    prompt = order.format(fade="<hypernet:linear:1@0,0@1>")
    outputs = run(unet, prompt, moments(3), x, context)
    for output, strength in zip(outputs, [1, 0.5, 0], strict=True):
        chain = [(tag.name, 0.3 if tag.name == "linear2" else strength) for tag in parse(prompt).tags]
        assert_close(output, expected(unet, chain, x, context))


def test_two_fading_linear_networks() -> None:
    unet, (x, context) = TinyUNet(), picture()
    outputs = run(unet, "<hypernet:linear:1@0,0@1> <hypernet:linear2:0@0,1@1>", moments(3), x, context)
    for output, (a, b) in zip(outputs, [(1, 0), (0.5, 0.5), (0, 1)], strict=True):
        assert_close(output, expected(unet, [("linear", a), ("linear2", b)], x, context))


@pytest.mark.parametrize("name", ["linear", "relu"])
def test_start_and_stop_bound_the_steps_it_acts_on(name: str) -> None:
    unet, (x, context) = TinyUNet(), picture()
    outputs = run(unet, f"<hypernet:{name}:1:start=2:stop=0.75>", moments(9), x, context)
    for step, output in enumerate(outputs):
        assert_close(output, expected(unet, [(name, 1.0 if 2 <= step < 6 else 0.0)], x, context))


@pytest.mark.parametrize("name", ["linear", "relu"])
def test_hr_is_the_strength_of_the_hires_pass(name: str) -> None:
    unet, (x, context) = TinyUNet(), picture()
    prompt = f"<hypernet:{name}:0.2:hr=0.9>"
    (first,) = run(unet, prompt, moments(1), x, context)
    (hires,) = run(unet, prompt, moments(1, hires=True), x, context)
    assert_close(first, expected(unet, [(name, 0.2)], x, context))
    assert_close(hires, expected(unet, [(name, 0.9)], x, context))


@pytest.mark.parametrize("name", ["linear", "relu"])
@pytest.mark.parametrize(
    ("options", "factor"),
    [
        ("k=0.5", lambda site: 0.5 if site.kind == "k" else 1.0),
        ("v=0", lambda site: 0.0 if site.kind == "v" else 1.0),
        ("self=0.25", lambda site: 1.0 if site.cross else 0.25),
        ("cross=-1", lambda site: -1.0 if site.cross else 1.0),
        ("lbw=MIDD", lambda site: 1.0 if site.block in ("IN04", "IN05", "M00", "OUT03") else 0.0),
        (
            "lbw=9,1,2,3,4,5,6,7,8",
            lambda site: 1.0 + ["IN01", "IN02", "IN04", "IN05", "M00", "OUT03", "OUT04", "OUT06"].index(site.block),
        ),
        ("lbw=INS:k=0.5:cross=2", lambda site: 0.0 if site.block not in ("IN01", "IN02") else factor_of(site)),
    ],
)
def test_factors_change_exactly_the_sites_they_name(name: str, options: str, factor) -> None:
    unet, (x, context) = TinyUNet(), picture()
    (output,) = run(unet, f"<hypernet:{name}:0.1:{options}>", moments(1), x, context)

    def formula(site: Site, x: Tensor) -> Tensor:
        net = nets_at(NETWORKS[name], site)
        return x + 0.1 * factor(site) * net.delta(x) if net else x

    with plain_formula(unet, formula):
        want = unet(x, None, context)
    assert_close(output, want)


def factor_of(site: Site) -> float:
    return (0.5 if site.kind == "k" else 1.0) * (2.0 if site.cross else 1.0)


@pytest.mark.parametrize("name", ["linear", "relu"])
@pytest.mark.parametrize("half", ["cond", "uncond"])
def test_on_changes_only_its_half_of_the_batch(name: str, half: str) -> None:
    unet, (x, context) = TinyUNet(), picture(batch=3)
    cond = (True, False, True)
    (output,) = run(unet, f"<hypernet:{name}:0.5:on={half}>", moments(1, cond=cond), x, context)
    plain, changed = unet(x, None, context), expected(unet, [(name, 0.5)], x, context)
    for row, positive in enumerate(cond):
        assert_close(output[row], (changed if positive == (half == "cond") else plain)[row])


def test_without_guidance_the_whole_batch_counts_as_positive() -> None:
    unet, (x, context) = TinyUNet(), picture()
    (cond,) = run(unet, "<hypernet:relu:0.5:on=cond>", moments(1), x, context)
    (uncond,) = run(unet, "<hypernet:relu:0.5:on=uncond>", moments(1), x, context)
    assert_close(cond, expected(unet, [("relu", 0.5)], x, context))
    assert torch.equal(uncond, unet(x, None, context))


@pytest.mark.parametrize("name", ["linear", "relu"])
def test_a_changed_context_is_never_served_from_the_cache(name: str) -> None:
    unet, (x, context) = TinyUNet(), picture()
    engine = Engine()
    engine.attach(unet, plan_of(f"<hypernet:{name}>", unet))
    outputs = []
    for change in (0.0, 1e-3, 0.0, 1e-3):
        context[0, 0, 0] += change  # in place: the same tensor, other numbers
        outputs.append((unet(x, None, context), context.clone()))
    engine.detach()
    for output, seen in outputs:
        assert_close(output, expected(unet, [(name, 1.0)], x, seen))


@settings(deadline=None, max_examples=60)
@given(
    calls=st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["same", "copy", "in place", "view"])), max_size=12),
    name=st.sampled_from(["linear", "relu", "ln"]),
)
def test_whatever_contexts_come_in_whatever_order_each_gets_its_own_result(
    calls: list[tuple[int, str]], name: str
) -> None:
    with torch.no_grad():
        unet = TinyUNet()
        x, _ = picture()
        pool = [picture(seed, batch=2)[1] for seed in range(6)]
        shared = torch.empty_like(pool[0])
        engine = Engine()
        outputs = []
        engine.attach(unet, plan_of(f"<hypernet:{name}:0.6>", unet))
        for number, how in calls:
            context = pool[number]
            if how == "copy":
                context = context.clone()
            elif how == "in place":
                context = shared.copy_(context)
            elif how == "view":
                context = torch.cat([context, context])[:2]
            outputs.append((number, unet(x, None, context)))
        engine.detach()
        for number, output in outputs:
            assert_close(output, expected(unet, [(name, 0.6)], x, pool[number]))


def test_a_kept_result_that_the_host_scales_in_place_is_not_served_again() -> None:
    class InPlace(Attention):
        def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
            context = x if context is None else context
            k, v = self.to_k(context), self.to_v(context)
            k *= 0.5
            v += 1
            return torch.softmax(self.to_q(x) @ k.transpose(-1, -2), -1) @ v

    unet, (x, context) = TinyUNet(), picture()
    for module in unet.modules():
        if isinstance(module, Attention):
            module.__class__ = InPlace
    for inference in (False, True):
        with torch.inference_mode(inference):
            first, second = run(unet, "<hypernet:relu>", moments(2), x.clone(), context.clone())
            assert torch.equal(first, second)
            assert_close(first, expected(unet, [("relu", 1.0)], x, context))


@pytest.mark.parametrize("name", ["linear", "relu"])
@pytest.mark.parametrize("how", ["in place", "replaced data", "new parameter"])
def test_a_weight_that_changes_under_us_is_seen(name: str, how: str) -> None:
    unet, (x, context) = TinyUNet(), picture()
    engine = Engine()
    engine.attach(unet, plan_of(f"<hypernet:{name}>", unet))
    unet(x, None, context)
    for site in find_sites(unet):
        weight = site.module.weight
        if how == "in place":
            weight.mul_(1.5)
        elif how == "replaced data":
            weight.data = weight.data * 1.5
        else:
            site.module.weight = nn.Parameter(weight * 1.5)
    changed = unet(x, None, context)
    engine.detach()
    assert_close(changed, expected(unet, [(name, 1.0)], x, context))


class Wrapped(nn.Module):
    """An adapter around a projection, as peft's LoRA layers are."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base_layer = base
        self.down = nn.Linear(base.in_features, 2, bias=False)
        self.up = nn.Linear(2, base.out_features, bias=False)

    @property
    def weight(self) -> Tensor:
        return self.base_layer.weight

    @property
    def in_features(self) -> int:
        return self.base_layer.in_features

    def forward(self, x: Tensor) -> Tensor:
        return self.base_layer(x) + self.up(self.down(x))


@pytest.mark.parametrize("name", ["linear", "relu"])
def test_a_projection_inside_an_adapter_keeps_its_adapter(name: str) -> None:
    unet, (x, context) = TinyUNet(), picture()
    for module in list(unet.modules()):
        if isinstance(module, Attention):
            module.to_k, module.to_v = Wrapped(module.to_k), Wrapped(module.to_v)
    (output,) = run(unet, f"<hypernet:{name}:0.7>", moments(1), x, context)
    assert_close(output, expected(unet, [(name, 0.7)], x, context))


@pytest.mark.parametrize("name", ["linear", "relu"])
def test_a_projection_whose_call_was_replaced_by_the_host_is_not_replaced_again(name: str) -> None:
    unet, (x, context) = TinyUNet(), picture()
    for site in find_sites(unet):
        weight = site.module.weight
        site.module.forward = lambda x, weight=weight: 2 * (x @ weight.t())
    own = {site.name: site.module.forward for site in find_sites(unet)}
    (output,) = run(unet, f"<hypernet:{name}:0.7>", moments(1), x, context)
    assert_close(output, expected(unet, [(name, 0.7)], x, context))
    assert all(site.module.forward is own[site.name] for site in find_sites(unet))


def test_a_wrapper_put_around_a_replaced_call_still_works_after_detach() -> None:
    unet, (x, context) = TinyUNet(), picture()
    before = unet(x, None, context)
    engine = Engine()
    engine.attach(unet, plan_of("<hypernet:linear>", unet))
    for site in find_sites(unet):
        site.module.forward = lambda x, inner=site.module.forward: inner(x)
    engine.detach()
    assert torch.equal(unet(x, None, context), before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["linear", "relu", "ln"])
def test_half_types_are_no_worse_than_the_plain_formula_in_that_type(name: str, dtype: torch.dtype) -> None:
    needs_arithmetic(dtype)
    unet, (x, context) = TinyUNet(), picture()
    exact = expected(unet.double(), [(name, 1.0)], x.double(), context.double())
    unet, x, context = unet.to(dtype), x.to(dtype), context.to(dtype)

    def plain(site: Site, x: Tensor) -> Tensor:
        net = nets_at(NETWORKS[name], site)
        return x + net.to("cpu", dtype).delta(x)

    with plain_formula(unet, plain):
        reference = unet(x, None, context)
    (output,) = run(unet, f"<hypernet:{name}>", moments(1), x, context)
    error, allowed = (output.double() - exact).abs().mean(), (reference.double() - exact).abs().mean()
    assert error <= allowed * 1.25


def test_a_network_that_fails_while_running_is_reported_and_the_picture_still_comes(monkeypatch) -> None:
    unet, (x, context) = TinyUNet(), picture()
    plain = unet(x, None, context)
    engine = Engine()
    engine.attach(unet, plan_of("<hypernet:relu>", unet))
    monkeypatch.setattr("hypernet.engine.chain.apply", lambda *args: (_ for _ in ()).throw(RuntimeError("no memory")))
    output = unet(x, None, context)
    failures = engine.failures
    engine.detach()
    assert torch.equal(output, plain)
    assert failures == ("A hypernetwork could not run: no memory",)


def test_gradients_flow_through_an_attached_unet() -> None:
    unet, (x, context) = TinyUNet(), picture()
    engine = Engine()
    engine.attach(unet, plan_of("<hypernet:relu> <hypernet:linear:0.5>", unet))
    with torch.enable_grad():
        context.requires_grad_()
        unet(x, None, context).sum().backward()
    engine.detach()
    assert context.grad is not None and context.grad.abs().sum() > 0


def test_the_strategies_are_explained() -> None:
    unet = TinyUNet()
    engine = Engine()
    engine.attach(unet, plan_of("<hypernet:linear>", unet))
    assert engine.explain() == {"fold": 16, "cache": 16}
    engine.attach(unet, plan_of("<hypernet:relu>", unet))
    assert engine.explain() == {"stream": 16, "cache": 16}
    engine.attach(unet, plan_of("<hypernet:linear:1:on=cond>", unet))
    assert engine.explain() == {"collapse": 16, "cache": 16}
    engine.detach()


def test_every_projection_is_accounted_for_with_the_reason() -> None:
    unet = TinyUNet()
    engine = Engine()
    engine.attach(unet, plan_of("<hypernet:linear:0@0,1@1> <hypernet:linear:1@0,0@1>", unet))
    details = engine.details()
    assert sum(details.values()) == 32
    assert {alike.why for alike in details if not alike.cross} == {
        "the nets are linear, but more than one strength moves"
    }
    engine.detach()
    assert not engine.details()


def test_one_line_of_the_log_tells_the_strategies(caplog: pytest.LogCaptureFixture) -> None:
    engine, unet = Engine(), TinyUNet()
    with caplog.at_level("INFO", "hypernet"):
        engine.attach(unet, plan_of("<hypernet:linear>", unet))
    engine.detach()
    (line,) = caplog.messages
    assert "fold 16" in line and "cache 16" in line


def test_inference_mode_compares_the_context_once_for_each_unet_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device whose tensors don't know whether they were written to, and which every comparison makes wait."""
    compared: list[Tensor] = []
    equal = Contexts._equal
    monkeypatch.setattr(Contexts, "_equal", lambda self, x: (compared.append(x), equal(self, x))[1])
    unet = TinyUNet()
    with torch.inference_mode():
        x, context = picture()
        first, second = run(unet, "<hypernet:relu:1>", moments(2), x, context)
    assert len(compared) == 2
    assert torch.equal(first, second)


def test_nets_can_compute_more_exactly_than_the_unet() -> None:
    unet, (x, context) = TinyUNet().bfloat16(), picture()
    x, context = x.bfloat16(), context.bfloat16()

    def in_float32(site: Site, x: Tensor) -> Tensor:
        net = nets_at(NETWORKS["relu"], site)
        return x if net is None else net(x.float(), 0.7).to(x.dtype)

    engine = Engine(dtype=torch.float32)
    engine.attach(unet, plan_of("<hypernet:relu:0.7>", unet))
    exact = unet(x, None, context)
    engine.detach()
    with plain_formula(unet, in_float32):
        assert torch.equal(exact, unet(x, None, context))
