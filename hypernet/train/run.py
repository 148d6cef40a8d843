"""A training from its first step to its last: check, step, save, and know when to go back or to stop."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hypernet.errors import HypernetError
from hypernet.train import chance
from hypernet.train.data.dataset import Dataset
from hypernet.train.noise import squared_error
from hypernet.train.rates import Rates, read_rates
from hypernet.train.settings import AUTO, Settings
from hypernet.train.steps import Batch, Trainer, checkpoint
from hypernet.train.store import Progress, Store

CHECK_EVERY = 20
"""Steps between the first checks; later ones are a tenth of the way apart."""
PATIENCE = 5
"""Checks without a better one after which training ends."""
BETTER = 0.998
"""A loss must fall to this part of the best one to count as better."""
DIVERGED = 1.2
"""The part of the best loss at which weights are given up."""
SETBACK = 1 / 3
"""What a setback makes of the rate."""
MAX_SETBACKS = 8
"""How often a run may fall back before it gives up."""
SEARCHED = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
"""The learning rates that a search tries."""
SEARCH_STEPS = 12
"""Steps for each of them."""
SAVE_SECONDS = 120.0
"""The time between two saves, in seconds."""
TIMESTEPS = 8
"""How many points of the noise schedule the loss is checked at."""

_log = logging.getLogger(__name__)

Tell = Callable[..., None]
"""Takes what happened as keywords: step, loss, rate; or held_out, ratio; or note; or state."""


class Run:
    """One training in memory. `go` takes it to its end, or to where somebody wants it to pause."""

    def __init__(
        self,
        settings: Settings,
        trainer: Trainer,
        dataset: Dataset,
        held_out: Sequence[Batch],
        store: Store,
        tell: Tell,
        measured: bool = True,
    ) -> None:
        """held_out: what losses are compared on; measured: whether these pictures really are held out of training.

        Where they are not, the last step is kept and not the best: seen pictures say nothing about what is best.
        """
        self.settings, self.trainer, self.dataset, self.store = settings, trainer, dataset, store
        self.held_out, self.tell, self._measured = held_out, tell, measured
        self.progress = Progress()
        self.best, self.fresh = trainer.state()
        self._piece = settings.batch_size
        self._checkpointed = self._offloaded = False
        self._saved = time.monotonic()

    def go(self) -> str:
        """Returns 'ended', 'stopped' or 'paused'; the progress, the best weights and the state on disk say the rest."""
        if not self._restored():
            self._begin()
        started, before = time.monotonic(), self.progress.seconds
        self.tell(state="training")
        while not self.progress.ended:
            self._step()
            self.progress.seconds = before + time.monotonic() - started
            if self.trainer.done >= self.progress.next_check or self.trainer.done >= self._last:
                self._check()
            wish = self._wish()
            if wish or self.progress.ended or time.monotonic() - self._saved > SAVE_SECONDS:
                self.save()
            if wish:
                return "paused" if wish == "pause" else "stopped"
        return "ended"

    def _wish(self) -> str:
        """What somebody wants, which all processes must follow at the same step."""
        if self.trainer.accelerator.num_processes == 1:
            return self.store.wished()
        from accelerate.utils import broadcast_object_list

        wish: list[str] = broadcast_object_list([self.store.wished()])
        return wish[0]

    # Beginning

    def _begin(self) -> None:
        progress = self.progress
        progress.without, progress.best = self.loss(strength=0.0), self.loss()
        progress.rates = self.settings.learn_rate
        if progress.rates == AUTO:
            progress.rates = "1" if self.settings.optimizer == "Prodigy" else f"{self._found_rate():.2g}"
            self.tell(note=f"The learning rate is {progress.rates}.")
        self._set_rates()
        progress.checks = [(0, progress.best)]
        progress.next_check = CHECK_EVERY
        self._told_check(progress.best)
        self.save()

    def _set_rates(self) -> None:
        self.trainer.rates = read_rates(self.progress.rates, self.settings.steps, self.trainer.done)

    @property
    def _last(self) -> int:
        return min(self.settings.steps, self.trainer.rates.end)

    def _found_rate(self) -> float:
        """The rate that gets furthest in a few steps, halved: below the unstable ones all reach the same minimum."""
        self.tell(state="searching")
        start, losses = self.trainer.state(), {}
        for rate in SEARCHED:
            self.trainer.rates = Rates(((rate, self.settings.steps),))
            for step in range(SEARCH_STEPS):
                self.trainer.done = step
                if not math.isfinite(self._take_step(min(1.0, (step + 1) / (SEARCH_STEPS / 2)))):
                    break
            losses[rate] = self.loss()
            self.tell(tried=rate, held_out=losses[rate])
            self.trainer.restore(*start)
            if not losses[rate] < 1.1 * min(losses.values()):
                break
        self.trainer.done = 0
        return min(losses, key=lambda rate: losses[rate] if math.isfinite(losses[rate]) else math.inf) / 2

    # A step

    def _step(self) -> None:
        progress = self.progress
        warm = (self.trainer.done - progress.warm_from + 1) / max(1, self.settings.warmup)
        loss = self._take_step(progress.factor * min(1.0, warm))
        progress.step = self.trainer.done
        self.tell(step=progress.step, loss=loss, rate=self.trainer.optimizer.param_groups[0]["lr"])
        if not math.isfinite(loss):
            self._fall_back("The loss is no number any more")

    def _take_step(self, factor: float) -> float:
        """One step, with less memory at a time if it needs to be. Cutting batches up changes no draw."""
        first = self.trainer.done * self.settings.gradient_step
        whole = [self.dataset.batch(first + place) for place in range(self.settings.gradient_step)]
        while True:
            try:
                torch.manual_seed(chance.number(self.settings.seed, "dropout", self.trainer.done))
                return self.trainer.step(whole, factor, self._piece)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
            self.trainer.optimizer.zero_grad()
            self._make_room(max(map(len, whole)))

    def _make_room(self, batch: int) -> None:
        """Smaller pieces of a batch, then activations computed twice, then the UNet outside of the GPU."""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._piece = min(self._piece, batch)
        if self._piece > 1:
            self._piece //= 2
            self.tell(note=f"Memory is short: {self._piece} at a time, of a batch of {batch}.")
        elif not self._checkpointed:
            self._checkpointed = True
            checkpoint(self.trainer.unet)
            self.tell(note="Memory is short: gradient checkpointing is on, which takes longer.")
        elif not self._offloaded:
            from accelerate import cpu_offload

            self._offloaded = True
            cpu_offload(self.trainer.unet, self.trainer.accelerator.device)
            self.tell(note="Memory is short: the UNet waits outside of the GPU, which takes much longer.")
        else:
            raise HypernetError("There is not enough memory to train here, not even for one picture at a time.")

    # Checks

    def loss(self, strength: float = 1.0) -> float:
        """Mean loss on the held-out pictures, always at the same noise and timesteps."""
        attached, before = self.trainer.attached, self.trainer.attached.strength
        attached.strength = strength
        try:
            with self.trainer.looking():
                return sum(map(self._mean_loss, self.held_out)) / len(self.held_out)
        finally:
            attached.strength = before

    def _mean_loss(self, batch: Batch) -> float:
        trainer, size = self.trainer, max(self._piece, 1)
        total = 0.0
        for start in range(0, len(batch), size):
            piece = batch[start : start + size].to(trainer.accelerator.device)
            target = trainer.noise.target(piece.latents, piece.noise, piece.timesteps)
            total += float(squared_error(trainer.answer(piece), target, piece.weight).sum())
        return total / len(batch)

    def _check(self) -> None:
        progress, loss = self.progress, self.loss()
        if not loss < DIVERGED * min(progress.best, progress.without):
            self._told_check(loss)
            self._fall_back("The pictures got worse")
            return
        progress.checks.append((progress.step, loss))
        progress.waiting += 1
        if loss < BETTER * progress.best or not self._measured:
            progress.best, progress.best_step, progress.waiting = loss, progress.step, 0
            with self.trainer.looking():
                self.best, _ = self.trainer.state()
        progress.next_check = progress.step + max(CHECK_EVERY, progress.step // 10)
        progress.ended = self._why_over()
        self._told_check(loss)
        self.save()

    def _why_over(self) -> str:
        progress = self.progress
        if progress.step >= self._last:
            return "All steps are done."
        if self.settings.early_stop and progress.waiting >= PATIENCE:
            return f"It has not got better since step {progress.best_step}."
        return ""

    def _fall_back(self, why: str) -> None:
        """The best weights again, without moments, at a lower rate."""
        progress = self.progress
        progress.setbacks += 1
        progress.factor *= SETBACK
        progress.warm_from = progress.step
        progress.next_check = progress.step + CHECK_EVERY
        self.trainer.restore(self.best, self.fresh)
        rate = self.trainer.rates.at(progress.step) * progress.factor
        self.tell(note=f"{why}: back to step {progress.best_step}, with a learning rate of {rate:.2g}.")
        if progress.setbacks >= MAX_SETBACKS or progress.step >= self._last:
            progress.ended = (
                "It does not get better at any rate." if progress.step < self._last else "All steps are done."
            )
        self.save()

    # State

    def save(self) -> None:
        """Writes all that is needed to go on exactly here."""
        self._saved = time.monotonic()
        if not self.trainer.accelerator.is_main_process:
            return
        weights, optimizer = self.trainer.state()
        tensors = _numbered("weight", weights) | _numbered("best", self.best)
        tensors |= {f"{place} {key}": value for place, key, value in _moments(optimizer) if isinstance(value, Tensor)}
        plain = [[place, key, value] for place, key, value in _moments(optimizer) if not isinstance(value, Tensor)]
        scaler = self.trainer.accelerator.scaler
        extra = {
            "groups": optimizer["param_groups"],
            "moments": plain,
            "scaler": None if scaler is None else scaler.state_dict(),
            "memory": [self._piece, self._checkpointed],
        }
        try:
            self.store.save(self.progress, tensors, extra)
        except OSError as error:
            self.tell(note=f"The state can't be saved now ({error.strerror}); training goes on and tries again.")

    def _restored(self) -> bool:
        """Goes on where the state on disk says. False where there is none. Raises HypernetError."""
        if (found := self.store.load()) is None:
            return False
        self.progress, tensors, extra = found
        state: dict[int, dict[str, Any]] = {}
        moments = [
            (int(place), key, tensors[name])
            for name in tensors
            for place, _, key in [name.partition(" ")]
            if place.isdigit()
        ]
        for place, key, value in moments + [tuple(one) for one in extra["moments"]]:
            state.setdefault(place, {})[key] = value
        try:
            self.trainer.restore(_in_order("weight", tensors), {"state": state, "param_groups": extra["groups"]})
        except (ValueError, KeyError, RuntimeError) as error:
            raise HypernetError("The saved training is of a network of another structure or optimizer.") from error
        self.best = _in_order("best", tensors)
        if extra["scaler"] is not None and self.trainer.accelerator.scaler is not None:
            self.trainer.accelerator.scaler.load_state_dict(extra["scaler"])
        self._piece, checkpointed = extra["memory"]
        if checkpointed and not self._checkpointed:
            checkpoint(self.trainer.unet)
            self._checkpointed = True
        self.trainer.done = self.progress.step
        self._set_rates()
        self.store.cut_log(self.progress.step)
        return True

    def _told_check(self, loss: float) -> None:
        self.tell(step=self.progress.step, held_out=loss, ratio=loss / max(self.progress.without, 1e-12))


def out_of_memory(error: BaseException) -> bool:
    """torch's own class came late, and processors raise a plain RuntimeError."""
    return isinstance(error, MemoryError) or any(
        sign in str(error).lower() for sign in ("out of memory", "can't allocate memory", "not enough memory")
    )


def _moments(optimizer: Mapping[str, Any]) -> Iterator[tuple[int, str, Any]]:
    for place, held in optimizer["state"].items():
        for key, value in held.items():
            yield place, key, value


def _numbered(name: str, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    return {f"{name}.{place}": tensor for place, tensor in enumerate(tensors)}


def _in_order(name: str, tensors: Mapping[str, Tensor]) -> list[Tensor]:
    return [tensors[f"{name}.{place}"] for place in range(sum(key.startswith(f"{name}.") for key in tensors))]
