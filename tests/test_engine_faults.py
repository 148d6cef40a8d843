"""Errors inside the engine never stop the host's picture, and their true cause is reported."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hypernet import Network
from hypernet.engine import Engine
from hypernet.engine.strategies import fold
from hypernet.engine.tensors import autocast_dtype
from hypernet.engine.watch import WeightWatch
from hypernet.engine.weights import DeviceWeights
from hypernet.network import Activation, Linear, Net, Pair
from hypernet.plan import Plan, Use, make_plan
from hypernet.schedule import Moment
from hypernet.sites import find_sites
from hypernet.tags import Tag, parse
from tests.test_engine import assert_close, expected, picture, plan_of
from tests.unets import TEXT, WIDTHS, TinyUNet, needs_arithmetic, network


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    return fail


NO_MEMORY = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
CACHES = ("contexts.Contexts.find", "contexts.Contexts._remember", "contexts.Contexts._equal", "contexts.Context.get")


@pytest.mark.parametrize("where", [*CACHES, "watch.WeightWatch.add"])
@pytest.mark.parametrize("name", ["linear", "relu"])
def test_without_memory_for_a_cache_the_picture_is_still_right(
    where: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unet, (x, context) = TinyUNet(), picture()
    engine = Engine()
    engine.attach(unet, plan_of(f"<hypernet:{name}:0.6>", unet))
    monkeypatch.setattr(f"hypernet.engine.{where}", raising(NO_MEMORY))
    got = [unet(x, None, context) for _ in range(2)]
    assert not engine.failures
    engine.detach()
    assert_close(got[0], expected(unet, [(name, 0.6)], x, context))
    assert_close(got[1], got[0])


@pytest.mark.parametrize(
    "where",
    ["weights.DeviceWeights.get", "weights.DeviceWeights.begin", "watch.WeightWatch.changed", "step.Step.begin"],
)
@pytest.mark.parametrize("name", ["linear", "relu"])
def test_no_error_inside_a_hook_reaches_the_host(where: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unet, (x, context) = TinyUNet(), picture()
    engine = Engine()
    engine.attach(unet, plan_of(f"<hypernet:{name}:0.6>", unet))
    monkeypatch.setattr(f"hypernet.engine.{where}", raising(NO_MEMORY))
    unet(x, None, context)
    (failure,) = engine.failures
    engine.detach()
    assert "could not run: there was not enough memory" in failure


def test_a_clock_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    unet, (x, context) = TinyUNet(), picture()
    engine = Engine()
    engine.attach(unet, plan_of("<hypernet:relu:0.6>", unet), raising(KeyError("timestep")))
    unet(x, None, context)
    assert engine.failures == ("A hypernetwork could not run: 'timestep'",)
    engine.detach()


OUT_OF_MEMORY = (
    MemoryError(),
    torch.cuda.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:114] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    RuntimeError("MPS backend out of memory (MPS allocated: 18.13 GB)"),
    RuntimeError("Could not allocate tensor with 134217728 bytes. There is not enough GPU video memory available!"),
)
OTHERS = (RuntimeError("mat1 and mat2 must have the same dtype"), NotImplementedError("no addmm on this device"))


@pytest.mark.parametrize(
    ("error", "why"),
    [(error, "there was no memory to fold them") for error in OUT_OF_MEMORY]
    + [(error, f"folding them failed: {error}") for error in OTHERS],
    ids=repr,
)
def test_a_fold_that_fails_says_why_and_the_nets_run_in_front_of_the_projection(
    error: Exception, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unet, (x, context) = TinyUNet(), picture()
    engine = Engine()
    monkeypatch.setattr("hypernet.engine.strategies.fold.fold", raising(error))
    engine.attach(unet, plan_of("<hypernet:linear:0.6>", unet))
    got = unet(x, None, context)
    assert {detail.why for detail in engine.details() if not detail.cross} == {f"the nets are linear; {why}"}
    assert engine.explain() == {"collapse": 16, "cache": 16}
    engine.detach()
    assert_close(got, expected(unet, [("linear", 0.6)], x, context))


def tag(text: str) -> Tag:
    (found,) = parse(text).tags
    return found


def plan(text: str, net: Network, unet: nn.Module) -> Plan:
    return make_plan([Use(tag(text), net)], find_sites(unet))


def test_a_fold_that_overflows_runs_beside_the_projection_with_a_note() -> None:
    needs_arithmetic(torch.float16)
    unet, (x, context) = TinyUNet().half(), picture()
    for site in find_sites(unet):
        site.module.weight.mul_(1000)
    nets = {width: Net(width, (Linear(torch.full((width, width), 500.0), None),)) for width in WIDTHS if width != TEXT}
    strong = Network({width: Pair(net, net) for width, net in nets.items()})
    engine = Engine()
    engine.attach(unet, plan("<hypernet:a:1>", strong, unet))
    unet(x.half(), None, context.half())
    strategies, notes = engine.explain(), engine.observed.notes(())
    engine.detach()
    assert strategies["collapse"] and "overflow float16" in notes[0] and "ran beside it" in notes[0]


def test_a_network_whose_product_overflows_half_precision_is_not_collapsed() -> None:
    """Each layer fits into float16 and so does the result; only the product of the layers would not."""
    width = 16
    wide = Net(
        width, (Linear(torch.full((width, width), 300.0), None), Linear(torch.full((width, width), 300.0), None))
    )

    assert DeviceWeights(False).get(wide, torch.device("cpu"), torch.float16).layers[0].weight.max() == 300
    assert len(DeviceWeights(False).get(wide, torch.device("cpu"), torch.float32).layers) == 1


def test_copies_that_are_kept_live_no_longer_than_their_network() -> None:
    unet = TinyUNet().bfloat16()
    x, context = (each.bfloat16() for each in picture())
    engine, sizes = Engine(keep_weights=True), []
    for seed in range(6):
        engine.attach(unet, plan("<hypernet:n:1>", network(seed, "relu"), unet))
        unet(x, None, context)
        engine.detach()
        sizes.append(engine.nbytes)
    assert sizes == [0] * 6


def test_copies_are_kept_from_one_picture_to_the_next() -> None:
    unet, kept = TinyUNet().bfloat16(), network(1, "relu")
    x, context = (each.bfloat16() for each in picture())
    engine, sizes = Engine(keep_weights=True), []
    for _ in range(3):
        engine.attach(unet, plan("<hypernet:n:1>", kept, unet))
        unet(x, None, context)
        engine.detach()
        sizes.append(engine.nbytes)
    assert sizes[0] > 0 and len(set(sizes)) == 1


WRITES: Mapping[str, Callable[[Tensor], object]] = {
    "through data": lambda weight: weight.data.mul_(1.5),
    "through a detached copy of the handle": lambda weight: weight.detach().set_(weight.data).mul_(1.5),
    "through numpy": lambda weight: weight.detach().numpy().__imul__(1.5),
}


@pytest.mark.parametrize("name", ["linear", "relu"])
@pytest.mark.parametrize("how", WRITES)
def test_a_write_that_torch_does_not_count_is_seen(name: str, how: str) -> None:
    unet, (x, context) = TinyUNet(), picture()
    engine = Engine()
    engine.attach(unet, plan_of(f"<hypernet:{name}>", unet))
    unet(x, None, context)
    for site in find_sites(unet):
        WRITES[how](site.module.weight)
    changed = unet(x, None, context)
    engine.detach()
    assert_close(changed, expected(unet, [(name, 1.0)], x, context))


@pytest.mark.parametrize("name", ["linear", "relu"])
def test_a_write_into_an_inference_tensor_is_seen(name: str) -> None:
    """As in Forge, which loads models in inference mode and whose dialect hands their weights to the engine."""
    with torch.inference_mode():
        unet, (x, context) = TinyUNet(), picture()
        engine = Engine()
        engine.attach(unet, plan_of(f"<hypernet:{name}>", unet), read_weight=watchable)
        assert engine.explain().keys() <= {"fold", "cache", "stream"}
        unet(x, None, context)
        for site in find_sites(unet):
            site.module.weight.mul_(1.5)
        changed = unet(x, None, context)
        engine.detach()
        assert_close(changed, expected(unet, [(name, 1.0)], x, context))


def watchable(module: nn.Module) -> Tensor:
    with torch.inference_mode(False):
        weight = module.weight
        same = torch.empty(0, dtype=weight.dtype)
        return same.set_(weight.untyped_storage(), weight.storage_offset(), weight.shape, weight.stride())


@pytest.fixture
def folds(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The weights that were folded."""
    folded: list[Tensor] = []
    original = fold.fold
    monkeypatch.setattr(fold, "fold", lambda weight, *args: (folded.append(weight), original(weight, *args))[1])
    return folded


def test_only_the_projection_that_was_written_to_is_folded_anew(folds: list[Tensor]) -> None:
    unet, (x, context) = TinyUNet(), picture()
    engine = Engine()
    engine.attach(unet, plan_of("<hypernet:linear>", unet))
    unet(x, None, context)
    folds.clear()
    changed = next(site.module.weight for site in find_sites(unet) if not site.cross)
    changed.data.add_(0.1)
    for _ in range(3):
        unet(x, None, context)
    engine.detach()
    assert [weight.data_ptr() for weight in folds] == [changed.data_ptr()]


def test_a_weight_with_nan_counts_as_unchanged_though_nan_is_unequal_to_itself() -> None:
    weight, watch = torch.full((8, 8), float("nan")), WeightWatch[str]()
    watch.add("it", [weight, None])
    assert watch.changed() == ()
    weight.zero_()
    assert watch.changed() == ("it",)
    assert watch.changed() == ()


def test_threads_that_attach_and_detach_one_engine_leave_nothing_behind() -> None:
    unet, engine = TinyUNet(), Engine()
    plans = [plan_of(f"<hypernet:{name}>", unet) for name in ("linear", "relu")]

    def act(plan: Plan) -> None:
        for _ in range(40):
            engine.attach(unet, plan)
            engine.detach()

    threads = [threading.Thread(target=act, args=(plan,)) for plan in plans * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.detach()
    for module in unet.modules():
        assert not module._forward_pre_hooks and not module._forward_hooks and "forward" not in module.__dict__


def notes_after(prompt: str, moments: list[Moment], unet: nn.Module | None = None) -> tuple[str, ...]:
    unet, (x, context) = unet or TinyUNet(), picture()
    when, engine = iter(moments), Engine()
    plan = plan_of(prompt, unet)
    engine.attach(unet, plan, lambda args, kwargs: next(when))
    for _ in moments:
        unet(x, None, context)
    notes = engine.observed.notes(use.tag for use in plan.applied)
    engine.detach()
    return notes


RUN = [Moment(step, 4, cond=(True, False)) for step in range(4)]


@pytest.mark.parametrize("options", ["1:start=9", "1:start=0.8:stop=0.2", "0@0,1@20:stop=0"])
def test_a_tag_that_never_acted_in_the_run_is_told(options: str) -> None:
    (note,) = notes_after(f"<hypernet:relu:{options}>", RUN)
    assert "no effect, as its strength was 0 at every step" in note


@pytest.mark.parametrize("options", ["start=1", "stop=0.1", "on=cond", "on=uncond", "hr=0"])
def test_a_tag_that_acted_once_is_not_told_of(options: str) -> None:
    assert notes_after(f"<hypernet:relu:1:{options}>", RUN) == ()


def test_a_half_that_was_never_there_or_never_known_is_told() -> None:
    (absent,) = notes_after("<hypernet:relu:1:on=uncond>", [Moment(0, 1, cond=(True, True))])
    assert "no negative prompt without guidance" in absent
    (unknown,) = notes_after("<hypernet:relu:1:on=uncond>", [Moment(0, 1)])
    assert "doesn't tell which half" in unknown


def test_numbers_that_run_over_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = {width: Net(width, (Linear(torch.full((width, width), 1e37), None), Activation("relu"))) for width in WIDTHS}
    network = Network({width: Pair(net, net) for width, net in huge.items()})
    monkeypatch.setattr("tests.test_engine.NETWORKS", {"huge": network})
    (note,) = notes_after("<hypernet:huge:1>", RUN[:1])
    assert "no usable numbers" in note and "lower their strength" in note


def test_a_model_that_runs_over_by_itself_is_not_blamed_on_a_network_at_rest() -> None:
    unet = TinyUNet()
    unet.grow.weight.fill_(float("nan"))
    notes = notes_after("<hypernet:relu:1:start=9>", RUN[:1], unet)
    assert not any("usable" in note for note in notes)


def test_what_was_observed_of_two_passes_adds_up() -> None:
    unet, (x, context) = TinyUNet(), picture()
    plan = plan_of("<hypernet:relu:0:hr=1>", unet)
    seen = []
    for hires in (False, True):
        engine = Engine()
        engine.attach(unet, plan, lambda args, kwargs, hires=hires: Moment(hires=hires))
        unet(x, None, context)
        seen.append(engine.observed)
        engine.detach()
    tags = [use.tag for use in plan.applied]
    assert seen[0].notes(tags) and not (seen[0] + seen[1]).notes(tags)


def test_a_run_without_a_call_tells_nothing() -> None:
    engine, unet = Engine(), TinyUNet()
    plan = plan_of("<hypernet:relu:1:start=9>", unet)
    engine.attach(unet, plan)
    assert engine.observed.notes(use.tag for use in plan.applied) == ()
    engine.detach()


def test_autocast_is_read_for_each_device_and_for_those_without_it() -> None:
    assert autocast_dtype(torch.device("cpu")) is None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert autocast_dtype(torch.device("cpu")) == torch.bfloat16
        for other in ("cuda", "xpu", "mps", "privateuseone", "meta"):
            assert autocast_dtype(torch.device(other)) is None


@pytest.mark.parametrize("name", ["linear", "relu"])
def test_under_autocast_the_nets_compute_in_its_type_and_nothing_fails(name: str) -> None:
    unet, (x, context) = TinyUNet(), picture()
    engine = Engine()
    engine.attach(unet, plan_of(f"<hypernet:{name}:0.6>", unet))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = unet(x, None, context)
    assert not engine.failures
    engine.detach()
    want = expected(unet, [(name, 0.6)], x, context)
    assert (got.float() - want).abs().mean() < 0.05 * want.abs().mean()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_nets_stored_in_another_type_than_the_unets_act_there(dtype: torch.dtype) -> None:
    unet, (x, context) = TinyUNet(), picture()
    stored = network(1, "relu")
    pairs = {width: Pair(pair.k.to("cpu", dtype), pair.v.to("cpu", dtype)) for width, pair in stored.pairs.items()}
    engine = Engine()
    engine.attach(unet, plan("<hypernet:a:0.5>", Network(pairs), unet))
    got = unet(x, None, context)
    assert got.dtype == torch.float32 and not engine.failures
    engine.attach(unet, plan("<hypernet:a:0.5>", stored, unet))
    want = unet(x, None, context)
    engine.detach()
    assert (got - want).abs().mean() <= 0.01 * want.abs().mean()
