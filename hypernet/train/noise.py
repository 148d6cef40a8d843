"""What a training asks of the UNet: a noised picture and what to make of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """How much of a picture is left at each timestep.

    kept: (timesteps,), float64: the model's `alphas_cumprod`. v_prediction: whether the UNet predicts v, not the noise.
    """

    kept: Tensor
    v_prediction: bool = False

    def noised(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """x_t. latents, noise: (batch, channels, height, width); timesteps: (batch,), whole numbers."""
        signal, spread = self._parts(timesteps, latents)
        return signal * latents + spread * noise

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the UNet should answer: the noise, or v."""
        if not self.v_prediction:
            return noise
        signal, spread = self._parts(timesteps, latents)
        return signal * noise - spread * latents

    def min_snr(self, timesteps: Tensor, gamma: float) -> Tensor:
        """Weight of each sample's loss, (batch,): min(snr, gamma) / snr, for v / (snr + 1). arXiv 2303.09556.

        gamma: above 0; at 0 the loss would vanish.
        """
        kept = self.kept.to(timesteps.device)[timesteps]
        snr = kept / (1 - kept)
        if self.v_prediction:
            return snr.clamp(max=gamma) / (snr + 1)
        return (gamma / snr).clamp(max=1)

    def _parts(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """The factors of picture and noise, (batch, 1, 1, 1), rounded only at the end."""
        kept = self.kept.to(timesteps.device)[timesteps].reshape(-1, 1, 1, 1)
        return kept.sqrt().to(like), (1 - kept).sqrt().to(like)


def squared_error(answer: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Each sample's mean squared error, (batch,), in float32 at least.

    weight: (batch, channels or 1, height, width), factors of the squared errors.
    """
    wide = torch.promote_types(answer.dtype, torch.float32)
    error = (answer.to(wide) - target.to(wide)).square()
    if weight is not None:
        error = error * weight.to(error)
    return error.flatten(1).mean(1)
