"""Whatever a host does to its UNet between two steps, the next step equals the plain formula on the changed UNet."""

from __future__ import annotations

import gc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hypernet.engine import Engine
from hypernet.sites import find_sites
from tests.test_engine import assert_close, expected, picture, plan_of
from tests.unets import TinyUNet

PROMPTS = ("<hypernet:linear:0.6>", "<hypernet:relu:0.6>", "<hypernet:ln:0.6>", "<hypernet:linear:0.6:on=cond>")
LORA = 0.05
IN_PLACE = {
    "nothing": lambda unet, site: None,
    "lora added in place": lambda unet, site: site.module.weight.add_(LORA),
    "lora taken away in place": lambda unet, site: site.module.weight.sub_(LORA),
    "lora merged through data": lambda unet, site: site.module.weight.data.add_(LORA),
    "weight overwritten": lambda unet, site: site.module.weight.copy_(site.module.weight.flip(0)),
    "all weights overwritten": lambda unet, site: unet.load_state_dict(
        {k: 1.1 * v for k, v in unet.state_dict().items()}
    ),
}
REPLACED = {
    "lora added to a copy": lambda unet, site: setattr(site.module.weight, "data", site.module.weight.data + LORA),
    "parameter replaced": lambda unet, site: setattr(site.module, "weight", nn.Parameter(site.module.weight * 1.1)),
    "bias appears": lambda unet, site: setattr(site.module, "bias", nn.Parameter(torch.ones(site.module.out_features))),
    "there and back": lambda unet, site: unet.double().float(),
}
STEP = st.tuples(
    st.sampled_from([*IN_PLACE, *REPLACED]),
    st.integers(0, 31),  # the site it happens to
    st.integers(0, 3),  # the text
    st.integers(1, 3),  # the batch
    st.booleans(),  # whether in inference mode
)


@settings(deadline=None, max_examples=80)
@given(steps=st.lists(STEP, min_size=1, max_size=8), prompt=st.sampled_from(PROMPTS))
def test_any_sequence_of_changes(steps: list[tuple[str, int, int, int, bool]], prompt: str) -> None:
    unet, name, engine = TinyUNet(), prompt.split(":")[1], Engine()
    with torch.no_grad():
        engine.attach(unet, plan_of(prompt, unet))
        for event, site, text, batch, inference in steps:
            if event in REPLACED:
                REPLACED[event](unet, find_sites(unet)[site])
            with torch.inference_mode() if inference else torch.no_grad():
                x, context = picture(text, batch)
                if event in IN_PLACE:
                    IN_PLACE[event](unet, find_sites(unet)[site])
                got = unet(x, None, context)
            assert not engine.failures
            _assert_plain(unet, name, x.clone(), context.clone(), got)
        engine.detach()


def _assert_plain(unet: nn.Module, name: str, x: Tensor, context: Tensor, got: Tensor) -> None:
    """Compares with the same weights in a UNet that never had an engine."""
    fresh = TinyUNet()
    for mine, theirs in zip(find_sites(fresh), find_sites(unet), strict=True):
        bias = theirs.module.bias
        mine.module.bias = None if bias is None else nn.Parameter(bias.clone())
    fresh.load_state_dict({key: value.clone() for key, value in unet.state_dict().items()})
    assert_close(got.clone(), expected(fresh, [(name, 0.6)], x, context))


def test_folded_weights_take_no_more_memory_than_the_projections_they_replace() -> None:
    unet, (x, context) = TinyUNet(), picture()
    weights = [site.module.weight for site in find_sites(unet) if not site.cross]
    projections = sum(map(_size, weights))
    engine = Engine()
    with torch.no_grad():
        for prompt in ("<hypernet:linear:0.6>", "<hypernet:linear:0.6> <hypernet:linear2:0.1>"):
            engine.attach(unet, plan_of(prompt, unet))
            before = _matrices()
            unet(x, None, context)
            unet(x, None, context)
            assert _matrices() - before <= projections + _cached(engine)
            assert _matrices() - before >= projections
            engine.detach()


def _matrices() -> int:
    """Bytes of all living tensors; shared memory counts once."""
    gc.collect()
    alive = [found for found in gc.get_objects() if type(found) in (Tensor, nn.Parameter)]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in alive}.values())


def _size(tensor: Tensor) -> int:
    """Bytes; `Tensor.nbytes` came with PyTorch 2.1."""
    return tensor.numel() * tensor.element_size()


def _cached(engine: Engine) -> int:
    """What else is kept: nets in place, K and V of the text, and the few numbers that tell of changed weights."""
    assert engine._attached is not None
    shared = engine._attached._shared
    contexts = shared.contexts._known
    kept = sum(_size(made.result.tensor) for context in contexts for made in context._made.values())
    return engine._weights.nbytes + shared.watch.nbytes + kept + sum(_size(context.value) for context in contexts)


@pytest.mark.parametrize("error", [MemoryError(), torch.cuda.OutOfMemoryError("CUDA out of memory")], ids=repr)
def test_without_memory_to_fold_the_nets_run_beside_the_projection(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    unet, (x, context) = TinyUNet(), picture()
    engine = Engine()
    monkeypatch.setattr("hypernet.engine.strategies.fold.fold", lambda *args: (_ for _ in ()).throw(error))
    with torch.no_grad():
        engine.attach(unet, plan_of("<hypernet:linear:0.6>", unet))
        got = unet(x, None, context)
        assert not engine.failures
        assert engine.explain() == {"collapse": 16, "cache": 16}
        engine.detach()
        assert_close(got, expected(unet, [("linear", 0.6)], x, context))


def test_a_moving_strength_is_folded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from hypernet.engine.strategies import fold
    from hypernet.schedule import Moment

    folded: list[object] = []
    original = fold.fold
    monkeypatch.setattr(fold, "fold", lambda *args: (folded.append(args), original(*args))[1])
    unet, (x, context) = TinyUNet(), picture()
    steps = iter(Moment(step, 5) for step in range(5))
    engine = Engine()
    with torch.no_grad():
        engine.attach(unet, plan_of("<hypernet:linear:0@0,1@1>", unet), lambda args, kwargs: next(steps))
        for _ in range(5):
            unet(x, None, context)
        engine.detach()
    assert len(folded) == 16
