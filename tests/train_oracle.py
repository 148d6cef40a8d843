"""Runs every case of a training oracle: `python -m tests.train_oracle FOLDER`, exit status 0 only if all hold.

The folder is laid out as `tests/data/train` (see its README): A1111's own training loop on a tiny UNet, step by step.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor

from hypernet.errors import HypernetError
from hypernet.files import load
from hypernet.files.layout import build
from hypernet.files.pt.optimizer import load_optimizer
from hypernet.files.writing import named
from hypernet.network import Metadata, Network
from hypernet.train.moments import give_moments
from hypernet.train.nets import trainable
from hypernet.train.noise import NoiseSchedule
from hypernet.train.rates import read_rates
from hypernet.train.steps import Batch, Clip, Trainer, checkpoint

FOLDER = Path(__file__).parent / "data" / "train"
GRADIENT = {torch.float64: 1e-5, torch.float32: 1e-3}
"""Our own tolerance for the first gradient, of its largest number: the oracle has none and keeps it in float32."""


@dataclass(frozen=True)
class Outcome:
    """How far a case is from A1111's numbers, each difference as a part of what is tolerated."""

    name: str
    loss: float = 0.0
    weight: float = 0.0
    gradient: float = 0.0
    rate: float = 0.0
    problem: str = ""

    @property
    def holds(self) -> bool:
        return not self.problem and max(self.loss, self.weight, self.gradient, self.rate) <= 1

    def __str__(self) -> str:
        found = self.problem or " ".join(
            f"{what} {getattr(self, what):.2g}" for what in ("loss", "weight", "gradient", "rate")
        )
        return f"{'ok    ' if self.holds else 'FAILED'} {self.name}: {found}"


class Oracle:
    """One folder of cases."""

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float64) -> None:
        self.folder, self.dtype = folder, dtype
        self.index: Mapping[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        self.inputs = load_file(folder / "inputs.safetensors")

    def outcomes(self, checkpointing: bool = False) -> Iterator[Outcome]:
        for case in self.index["cases"]:
            try:
                yield self.run(case, checkpointing)
            except Exception as error:
                yield Outcome(case["name"], problem=f"{type(error).__name__}: {error}")

    def rate_texts(self) -> Iterator[Outcome]:
        yield from map(check_rates, self.index.get("rates", ()))

    def run(self, case: Mapping[str, Any], checkpointing: bool = False) -> Outcome:
        expected = load_file(self.folder / f"{case['name']}.safetensors")
        first = case["resume_at"] or 0
        trainer = self.trainer(case, expected, first)
        if checkpointing:
            checkpoint(trainer.unet)
        gradients: dict[str, Tensor] = {}
        hook = trainer.optimizer.optimizer.register_step_pre_hook(
            lambda *_: gradients.update({} if gradients else _by_name(trainer.network, gradient=True))
        )
        last = min(case["steps"], trainer.rates.end)
        losses, rates = [], []
        for step in range(first, last):
            losses.append(trainer.step(self.batches(case, step)))
            rates.append(trainer.optimizer.param_groups[0]["lr"])
        hook.remove()
        trainer.close()
        if last != case.get("final_step", last):
            return Outcome(case["name"], problem=f"training ended at step {last} instead of {case['final_step']}")
        tolerance = case["tolerance"][str(self.dtype).removeprefix("torch.")]
        final = {name: tensor.detach() for name, tensor in _by_name(trainer.network).items()}
        skipped = set(case["no_gradient"])
        return Outcome(
            case["name"],
            _largest_ratio(losses, expected["losses"][first:]) / tolerance["loss"],
            _largest(final, expected, "final", skipped) / tolerance["weight"],
            0.0 if first else _relative(gradients, expected, "grad", skipped) / GRADIENT[self.dtype],
            _largest_ratio(rates, expected["rates"][first:]) / 1e-12,
        )

    def trainer(self, case: Mapping[str, Any], tensors: Mapping[str, Tensor], first: int) -> Trainer:
        unet = UNet2DConditionModel(**self.index["unet"])
        unet.load_state_dict(
            {key.removeprefix("unet."): value for key, value in self.inputs.items() if key.startswith("unet.")}
        )
        saved = self.folder / f"{case['name']}_at_{first}.pt"
        network = load(saved) if first else start(case, tensors)
        trainer = Trainer(
            torch.nn.Module.to(unet, self.dtype),  # diffusers' own warns of nothing
            trainable(network, dtype=self.dtype),
            NoiseSchedule(self.inputs["alphas_cumprod"], case["v_prediction"]),
            read_rates(case["learning_rate"], case["steps"], first),
            optimizer=case["optimizer"],
            clip=Clip.read(case["clip"], case["clip_value"], case["steps"], first),
            accelerator=Accelerator(cpu=True),
        )
        if first:
            state = load_optimizer(f"{saved}.optim")
            assert state.belongs(saved), "the optimizer was saved with another network"
            give_moments(trainer.optimizer, case["optimizer"], state, trainer.network)
            trainer.done = first
        return trainer

    def batches(self, case: Mapping[str, Any], step: int) -> list[Batch]:
        rows, count = slice(case["batch"]), case["accumulate"]

        def batch(at: int) -> Batch:
            def of(name: str) -> Tensor:
                return self.inputs[name][at][rows].to(self.dtype)

            weight = of("weight") if case["weight"] else None
            return Batch(of("latents"), of("noise"), self.inputs["timesteps"][at][rows], of("context"), weight)

        return [batch(at) for at in range(step * count, step * count + count)]


def start(case: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Network:
    """The network as A1111 created it."""
    nets: dict[int, tuple[dict[str, Tensor], dict[str, Tensor]]] = {width: ({}, {}) for width in case["widths"]}
    for name, tensor in tensors.items():
        if name.startswith("start."):
            _, width, which, key = name.split(".", 3)
            nets[int(width)]["kv".index(which)][key] = tensor
    metadata = Metadata(
        layer_structure=tuple(case["structure"]),
        activation_func=case["activation"],
        is_layer_norm=case["layer_norm"],
        activate_output=case["activate_output"],
    )
    return build(nets, metadata)


def _by_name(network: Network, gradient: bool = False) -> dict[str, Tensor]:
    found = {}
    for width, pair in named(network).items():
        for which, net in zip("kv", pair, strict=True):
            for key, tensor in net.items():
                value = tensor.grad if gradient else tensor
                if value is not None:
                    found[f"{width}.{which}.{key}"] = value.clone()
    return found


def _largest(ours: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str, skipped: set[str]) -> float:
    """The largest absolute difference of the tensors of a kind. None may be missing."""
    names = {name.removeprefix(f"{what}.") for name in expected if name.startswith(f"{what}.")} - skipped
    return max(float((ours[name].double() - expected[f"{what}.{name}"].double()).abs().max()) for name in names)


def _relative(ours: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str, skipped: set[str]) -> float:
    """The same as a part of the largest number among them: the oracle keeps gradients in float32."""
    size = max(float(tensor.abs().max()) for name, tensor in expected.items() if name.startswith(f"{what}."))
    return _largest(ours, expected, what, skipped) / size


def _largest_ratio(ours: list[float], expected: Tensor) -> float:
    if len(ours) != len(expected):
        return math.inf
    pairs = zip(ours, expected.tolist(), strict=True)
    return max((abs(one - other) / max(abs(other), 1e-300) for one, other in pairs), default=0.0)


def check_rates(case: Mapping[str, Any]) -> Outcome:
    """Follows A1111 where a text means something; what it takes in silence and means nothing must be refused."""
    name = f"rates {case['text']!r} from step {case['at']}"
    try:
        rates = read_rates(case["text"], case["max_steps"], case["at"])
        ours = [rates.at(step) for step in range(case["at"], min(rates.end, case["max_steps"]))]
    except HypernetError as refusal:
        refused = case["rates"] is None or means_nothing(case["text"])
        return Outcome(name, problem="" if refused else f"refused: {refusal}")
    if case["rates"] is None:
        return Outcome(name, problem="taken, though A1111 refuses it")
    return Outcome(name, rate=_largest_ratio(ours, torch.tensor(case["rates"], dtype=torch.float64)) / 1e-12)


def means_nothing(text: str) -> bool:
    """A third number, a rate that is no number or negative, steps that go down or lie before the first."""
    pairs = [pair.split(":") for pair in text.split(",") if pair.strip()]
    rates = [float(pair[0]) for pair in pairs]
    steps = [int(pair[1]) for pair in pairs if len(pair) > 1 and int(pair[1]) != -1]
    odd = any(len(pair) > 2 for pair in pairs) or any(not math.isfinite(rate) or rate < 0 for rate in rates)
    return odd or steps != sorted(steps) or any(step < 0 for step in steps)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    parser.add_argument("--float32", action="store_true", help="compute in float32, to its tolerances")
    parser.add_argument("--checkpointing", action="store_true", help="with gradient checkpointing")
    options = parser.parse_args()
    oracle = Oracle(options.folder, torch.float32 if options.float32 else torch.float64)
    texts_hold = _show(oracle.rate_texts(), "rate texts")
    cases_hold = _show(oracle.outcomes(options.checkpointing), "cases")
    return 0 if texts_hold and cases_hold and oracle.index["cases"] else 1


def _show(outcomes: Iterator[Outcome], what: str) -> bool:
    """Prints a line for each as it comes, and how many hold. Returns whether all do."""
    held = []
    for outcome in outcomes:
        print(outcome, flush=True)
        held.append(outcome.holds)
    print(f"{sum(held)} of {len(held)} {what}")
    return all(held)


if __name__ == "__main__":
    raise SystemExit(main())
