"""The training step, held to A1111's own numbers (`tests/data/train`) and to what its users complained about."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest

pytest.importorskip("accelerate")

import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st

from hypernet.errors import HypernetError
from hypernet.files import load
from hypernet.files.pt.optimizer import load_optimizer
from hypernet.network import Network
from hypernet.train.moments import give_moments
from hypernet.train.nets import Structure, all_weights, new_network, parameters, trainable
from hypernet.train.noise import NoiseSchedule
from hypernet.train.optimizers import OPTIMIZERS, make_optimizer
from hypernet.train.rates import read_rates
from hypernet.train.steps import Clip, Trainer, checkpoint
from tests.train_oracle import FOLDER, Oracle, check_rates

ORACLE = Oracle(FOLDER)
CASES = {case["name"]: case for case in ORACLE.index["cases"]}


@pytest.mark.parametrize("name", CASES)
def test_a_step_gives_a1111s_numbers(name: str) -> None:
    outcome = ORACLE.run(CASES[name])
    assert outcome.holds, str(outcome)


@pytest.mark.parametrize("name", ["linear_adamw", "swish_1221_adamw"])
def test_gradient_checkpointing_changes_no_number(name: str) -> None:
    outcome = ORACLE.run(CASES[name], checkpointing=True)
    assert outcome.holds, str(outcome)


@pytest.mark.parametrize("rates", ORACLE.index["rates"], ids=lambda rates: repr(rates["text"]))
def test_a_rate_text_means_what_it_means_in_a1111(rates: dict[str, object]) -> None:
    outcome = check_rates(rates)
    assert outcome.holds, str(outcome)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no learning rate"),
        ("abc", "no number"),
        ("1e-3:5.0", "no whole one"),
        ("1e-3:5:6", "more than two"),
        ("nan", "above 0"),
        ("inf", "above 0"),
        ("-1e-3", "above 0"),
        ("1e-3:20, 1e-4:10", "in order"),
        ("1e-3:-7", "no step -7"),
    ],
)
def test_a_rate_that_makes_no_sense_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(HypernetError, match=reason):
        read_rates(text, 100)


@given(st.lists(st.tuples(st.floats(1e-9, 1), st.integers(1, 50)), min_size=1, max_size=5), st.integers(0, 49))
def test_a_rate_holds_until_its_step(pairs: list[tuple[float, int]], step: int) -> None:
    pairs = sorted(pairs, key=lambda pair: pair[1])
    rates = read_rates(", ".join(f"{rate!r}:{end}" for rate, end in pairs), 100)
    assert rates.at(step) == next((rate for rate, end in pairs if step < end), pairs[-1][0])
    assert rates.end == pairs[-1][1]


def trainer(name: str = "linear_adamw") -> Trainer:
    from safetensors.torch import load_file

    return ORACLE.trainer(CASES[name], load_file(FOLDER / f"{name}.safetensors"), 0)


def test_the_unet_is_frozen_and_left_as_it_was() -> None:
    one = trainer()
    before = {name: tensor.clone() for name, tensor in one.unet.state_dict().items()}
    one.step(ORACLE.batches(CASES["linear_adamw"], 0))
    one.close()
    assert all(weight.grad is None and not weight.requires_grad for weight in one.unet.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in one.unet.state_dict().items())
    assert not any("forward" in module.__dict__ or module._forward_pre_hooks for module in one.unet.modules())


def test_biases_without_an_effect_stay_at_zero() -> None:
    one = trainer("relu_norm_adamw")
    for step in range(3):
        one.step(ORACLE.batches(CASES["relu_norm_adamw"], step))
    held = [weight for weight in all_weights(one.network) if not weight.requires_grad]
    assert len(held) == 3
    assert all(not weight.any() for weight in held)


def test_a_strength_of_zero_is_the_unet_without_the_network() -> None:
    one, batch = trainer(), ORACLE.batches(CASES["linear_adamw"], 0)[0]
    with torch.no_grad():
        one.attached.strength = 0.0
        without = one.answer(batch)
        one.attached.strength = 1.0
        with_network = one.answer(batch)
        one.close()
        assert torch.equal(without, one.answer(batch))
        assert not torch.equal(without, with_network)


def test_dropout_acts_in_training_only() -> None:
    structure = Structure((1, 2, 1), "relu", dropout=(0, 0.5, 0), init="XavierNormal")
    network = trainable(new_network([8, 12, 16], structure, 0), dtype=torch.float64)
    one = trainer()
    one.close()
    again = Trainer(one.unet, network, one.noise, read_rates("0:9, 1e-3", 10))
    (batch,) = ORACLE.batches(CASES["linear_adamw"], 0)
    with again.looking():
        assert torch.equal(again.losses(batch), again.losses(batch))
    assert again.step([batch]) != again.step([batch])
    again.close()


def test_a_batch_cut_into_micro_batches_gives_the_same_step() -> None:
    case = CASES["linear_adamw"]
    whole, parts = trainer(), trainer()
    (batch,) = ORACLE.batches(case, 0)
    loss = whole.step([batch])
    assert parts.step([batch[:1], batch[1:]]) == pytest.approx(loss, rel=1e-12)
    for one, other in zip(whole.weights, parts.weights, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-10)


def test_going_on_from_a1111_takes_the_rate_that_is_typed() -> None:
    case = CASES["resumed"] | {"learning_rate": "1e-5"}
    one = ORACLE.trainer(case, {}, 10)
    one.step(ORACLE.batches(case, 10))
    assert one.optimizer.param_groups[0]["lr"] == 1e-5


def test_moments_of_another_network_are_known_as_such(tmp_path: Path) -> None:
    state = load_optimizer(FOLDER / "resumed_at_10.pt.optim")
    other = tmp_path / "other.pt"
    shutil.copy(FOLDER / "resumed_at_10.pt", other)
    assert state.belongs(other)
    other.write_bytes(other.read_bytes() + b"x")
    assert not state.belongs(other)
    network = trainable(new_network([8, 12, 16], Structure((1, 3, 1)), 0))
    optimizer = make_optimizer("AdamW", parameters(network), 1e-3)
    with pytest.raises(HypernetError, match="another structure"):
        give_moments(optimizer, "AdamW", state, network)
    with pytest.raises(HypernetError, match="choose AdamW"):
        give_moments(optimizer, "SGD", state, network)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("touch /tmp/never",)


@pytest.mark.parametrize("content", [{"optimizer_name": Evil()}, {"optimizer_name": "AdamW"}, [1, 2]])
def test_an_optimizer_file_runs_nothing_and_says_what_is_wrong(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.pt.optim")
    with pytest.raises(HypernetError, match=r"x\.pt\.optim"):
        load_optimizer(tmp_path / "x.pt.optim")
    (tmp_path / "raw.optim").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(HypernetError, match=r"raw\.optim"):
        load_optimizer(tmp_path / "raw.optim")


@pytest.mark.parametrize("name", [name for name, kind in OPTIMIZERS.items() if kind.package != "bitsandbytes"])
def test_every_optimizer_moves_the_weights(name: str) -> None:
    if OPTIMIZERS[name].package:
        pytest.importorskip(OPTIMIZERS[name].home)
    network = trainable(new_network([12], Structure(), 0), dtype=torch.float64)
    one = trainer()
    one.close()
    rates = read_rates("1" if name == "Prodigy" else "1e-3", 10)
    again = Trainer(one.unet, network, one.noise, rates, optimizer=name, accelerator=Accelerator())
    before = [weight.detach().clone() for weight in again.weights]
    for step in range(2):
        again.step(ORACLE.batches(CASES["linear_adamw"], step))
    assert not any(torch.equal(old, new) for old, new in zip(before, again.weights, strict=True))


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(HypernetError, match="Choose one of AdamW"):
        make_optimizer("Adan", [torch.zeros(1, requires_grad=True)], 1e-3)


@pytest.mark.parametrize(
    ("structure", "reason"),
    [
        (Structure((2, 1)), "begin and end with 1"),
        (Structure((1,)), "begin and end with 1"),
        (Structure((1, -2, 1)), "above 0"),
        (Structure(activation="relux"), "no activation"),
        (Structure(init="Zero"), "no initialisation"),
        (Structure(dropout=(0, 0.1)), "a rate for each"),
        (Structure(dropout=(0, 1.5, 0)), "between 0 and 1"),
    ],
)
def test_a_structure_that_can_not_be_is_refused(structure: Structure, reason: str) -> None:
    with pytest.raises(HypernetError, match=reason):
        new_network([8], structure, 0)


def test_a_new_network_is_the_same_for_the_same_seed_and_reads_back(tmp_path: Path) -> None:
    import hypernet

    structure = Structure((1, 2, 2, 1), "relu", layer_norm=True)
    one, same, other = (new_network([8, 12], structure, seed) for seed in (1, 1, 2))
    assert all(map(torch.equal, all_weights(one), all_weights(same)))
    assert not all(map(torch.equal, all_weights(one), all_weights(other)))
    hypernet.save(one, tmp_path / "one.pt")
    names = next(load(tmp_path / "one.pt").nets()).names
    assert names[:4] == ("linear.0.weight", "linear.0.bias", "linear.2.weight", "linear.2.bias")


def test_min_snr_weighs_as_its_paper_says() -> None:
    kept = torch.tensor([0.99, 0.5, 0.01, 0.0], dtype=torch.float64)
    snr, steps = kept / (1 - kept), torch.arange(4)
    assert torch.allclose(NoiseSchedule(kept).min_snr(steps, 5)[:3], (snr.clamp(max=5) / snr)[:3])
    assert torch.allclose(NoiseSchedule(kept, True).min_snr(steps, 5), snr.clamp(max=5) / (snr + 1))
    assert NoiseSchedule(kept).min_snr(steps, 5)[3] == 1


def test_a_clip_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(HypernetError, match="no gradient clipping"):
        Clip.read("both", "1", 10)
    with pytest.raises(HypernetError, match="gradient clipping “x”"):
        Clip.read("norm", "x", 10)


def test_a_trained_network_is_the_one_that_pictures_are_made_with() -> None:
    """The engine's own formula gives what training saw."""
    from hypernet.engine import Engine
    from hypernet.plan import Use, make_plan
    from hypernet.sites import find_sites
    from hypernet.tags import parse

    one, batch = trainer("swish_1221_adamw"), ORACLE.batches(CASES["swish_1221_adamw"], 0)[0]
    network: Network = one.network
    with torch.no_grad():
        trained = one.answer(batch)
        one.close()
        engine = Engine()
        engine.attach(one.unet, make_plan([Use(parse("<hypernet:x:1>").tags[0], network)], find_sites(one.unet)))
        drawn = one.answer(batch)
        engine.detach()
    assert torch.allclose(trained, drawn, rtol=0, atol=1e-10)


def test_checkpointing_is_the_kind_that_reaches_the_first_blocks() -> None:
    one = trainer()
    checkpoint(one.unet)
    loss = one.losses(ORACLE.batches(CASES["linear_adamw"], 0)[0]).sum()
    loss.backward()
    assert all(weight.grad is not None and bool(weight.grad.any()) for weight in one.weights)
