"""The step: noise pictures, ask the UNet, and move the network's weights a little."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hypernet.errors import HypernetError
from hypernet.network import Network
from hypernet.train.attached import Attached
from hypernet.train.nets import parameters
from hypernet.train.noise import NoiseSchedule, squared_error
from hypernet.train.optimizers import make_optimizer
from hypernet.train.rates import Rates, read_rates

if TYPE_CHECKING:
    from accelerate import Accelerator

CLIPS = ("disabled", "norm", "value")
"""The kinds of gradient clipping."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Noised pictures of one size. latents, noise: (batch, channels, height, width); timesteps: (batch,).

    context: (batch, tokens, width), the captions; weight: factors of the squared errors, as large as the latents or
    with one channel; scale: (batch,), factors of each picture's loss; added: what SDXL's UNet is told besides.
    """

    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    context: Tensor
    weight: Tensor | None = None
    scale: Tensor | None = None
    added: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.latents)

    def __getitem__(self, rows: slice) -> Batch:
        """Some of its pictures."""
        return self._each(lambda tensor: tensor[rows])

    def parts(self, size: int | None = None) -> Iterator[Batch]:
        """Its pictures, so many at a time."""
        for start in range(0, len(self), size or len(self) or 1):
            yield self[start : start + (size or len(self))]

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        def changed(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {name: change(one) for name, one in value.items()}
            return None if value is None else change(value)

        return Batch(**{name: changed(value) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Clip:
    """Limits of the gradients of a step. how: one of CLIPS; limits: over the steps."""

    how: str = "disabled"
    limits: Rates | None = None

    @classmethod
    def read(cls, how: str, limits: str, max_steps: int, done: int = 0) -> Clip:
        """limits: in the notation of a learning rate. Raises HypernetError for what makes no sense."""
        if how not in CLIPS:
            raise HypernetError(f"There is no gradient clipping “{how}”. Choose one of {', '.join(CLIPS)}.")
        return cls() if how == "disabled" else cls(how, read_rates(limits, max_steps, done, "gradient clipping"))

    def __call__(self, weights: Sequence[Tensor], step: int) -> None:
        if self.limits is None:
            return
        limit = self.limits.at(step)
        if self.how == "norm":
            nn.utils.clip_grad_norm_(weights, limit)
        else:
            nn.utils.clip_grad_value_(weights, limit)


class Trainer:
    """Trains one network on one frozen UNet. done: the steps taken so far, also in earlier runs."""

    def __init__(
        self,
        unet: nn.Module,
        network: Network,
        noise: NoiseSchedule,
        rates: Rates,
        *,
        optimizer: str = "AdamW",
        clip: Clip | None = None,
        min_snr: float | None = None,
        accelerator: Accelerator | None = None,
    ) -> None:
        """network: `trainable`, on the UNet's device. min_snr: gamma of the loss's weights; None: all alike.

        Raises HypernetError for a network or an optimizer that can't be trained here.
        """
        from accelerate import Accelerator

        self.accelerator = accelerator or Accelerator()
        self.unet, self.noise, self.rates = freeze(unet), noise, rates
        self.network, self.weights = network, parameters(network)
        self.attached = Attached(unet, network)
        self.optimizer = self.accelerator.prepare(make_optimizer(optimizer, self.weights, rates.at(0)))
        self.done = 0
        self._clip, self._min_snr = clip or Clip(), min_snr
        self._train_mode()

    def step(self, batches: Sequence[Batch], factor: float = 1.0, piece: int | None = None) -> float:
        """One optimizer step on some batches. Returns the mean loss of their pictures before it.

        factor: of the rate; piece: pictures in memory at a time, without which a batch is taken whole. Where there are
        several processes, each takes its share of the same batches.
        """
        pictures = sum(map(len, batches))
        share = slice(self.accelerator.process_index, None, self.accelerator.num_processes)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rates.at(self.done) * factor
        self.attached.dropping = True
        losses = [self._backward(part, pictures) for batch in batches for part in batch[share].parts(piece)]
        self.attached.dropping = False
        self.accelerator.unscale_gradients(self.optimizer)
        self._sum_over_processes()
        self._clip(self.weights, self.done)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.done += 1
        return float(self.accelerator.reduce(sum(losses, torch.zeros((), device=self.accelerator.device)), "sum"))

    def _backward(self, batch: Batch, pictures: int) -> Tensor:
        loss = self.losses(batch.to(self.accelerator.device)).sum() / pictures
        self.accelerator.backward(loss)
        return loss.detach()

    def losses(self, batch: Batch) -> Tensor:
        """Each picture's loss, (batch,)."""
        answer = self.answer(batch)
        target = self.noise.target(batch.latents, batch.noise, batch.timesteps)
        losses = squared_error(answer, target, batch.weight)
        if self._min_snr is not None:
            losses = losses * self.noise.min_snr(batch.timesteps, self._min_snr).to(losses)
        return losses if batch.scale is None else losses * batch.scale.to(losses)

    def answer(self, batch: Batch) -> Tensor:
        """What the UNet with the network says to the noised pictures."""
        noised = self.noise.noised(batch.latents, batch.noise, batch.timesteps).to(self.unet.dtype)
        context = batch.context.to(self.unet.dtype)
        added = dict(batch.added) or None
        with self.accelerator.autocast():
            answer: Tensor = self.unet(noised, batch.timesteps, context, added_cond_kwargs=added, return_dict=False)[0]
        return answer

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Within it nothing is learned, and the weights are those to be kept (schedule-free ones are an average)."""
        self._train_mode(False)
        try:
            with torch.no_grad():
                yield
        finally:
            self._train_mode()

    def _train_mode(self, training: bool = True) -> None:
        inner = self.optimizer.optimizer
        if hasattr(inner, "train"):  # schedule-free optimizers
            inner.train() if training else inner.eval()

    def _sum_over_processes(self) -> None:
        """Each process has seen its share of the pictures and divided by the number of all."""
        if self.accelerator.num_processes > 1:
            for weight in self.weights:
                grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
                weight.grad = self.accelerator.reduce(grad, "sum")

    def state(self) -> tuple[list[Tensor], dict[str, Any]]:
        """Copies, outside of the GPU, of the weights and of all that the optimizer remembers."""
        return _copied(self.weights), _copied(self.optimizer.state_dict())

    def restore(self, weights: Sequence[Tensor], optimizer: Mapping[str, Any]) -> None:
        """Puts back what `state` gave."""
        with torch.no_grad():
            for weight, kept in zip(self.weights, weights, strict=True):
                weight.copy_(kept)
        self.optimizer.zero_grad()
        self.optimizer.load_state_dict(_copied(optimizer))

    def close(self) -> None:
        """Leaves the UNet without hooks."""
        self.attached.detach()


def _copied(value: Any) -> Any:
    """The same lists and tables with copies of their tensors in ordinary memory."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _copied(one) for key, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, (list, tuple)) else value


def freeze(unet: Any) -> Any:
    """The UNet as training wants it: without gradients of its own and without its own dropout.

    It is in train mode, in which alone some versions of diffusers checkpoint, with every part that would act otherwise
    then put back.
    """
    unet.requires_grad_(False).train()
    for module in unet.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
    return unet


def checkpoint(unet: Any) -> None:
    """Makes the UNet compute its activations anew on the way back: slower, in a fraction of the memory.

    Not reentrant (diffusers' own choice): the inputs of a frozen UNet need no gradient, and the older kind would
    silently give the first blocks none.
    """
    unet.enable_gradient_checkpointing()
