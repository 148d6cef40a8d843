"""Small questions about tensors and projections that every way of the engine asks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


def version(tensor: Tensor) -> int | None:
    """The counter torch raises at each in-place change; None for inference tensors, which have none."""
    return None if tensor.is_inference() else tensor._version


@dataclass(frozen=True, eq=False)
class TensorState:
    """A tensor with its state when it was seen, to tell later whether it still holds the same numbers.

    It keeps the memory alive, so that an equal address means the same memory.
    """

    tensor: Tensor
    memory: Tensor
    version: int | None

    @classmethod
    def of(cls, tensor: Tensor) -> TensorState:
        return cls(tensor, tensor.detach(), version(tensor))

    @property
    def unchanged(self) -> bool:
        """Whether nobody wrote into it since; an inference tensor can't tell and counts as unchanged."""
        return self.version is None or version(self.tensor) == self.version

    def matches(self, tensor: Tensor) -> bool:
        """Whether `tensor` is surely this memory with the same numbers. Never wrongly yes."""
        mine = self.memory
        return (
            self.version is not None
            and version(tensor) == self.version
            and tensor.data_ptr() == mine.data_ptr()
            and tensor.shape == mine.shape
            and tensor.stride() == mine.stride()
            and tensor.dtype == mine.dtype
            and tensor.device == mine.device
        )


class TensorStates:
    """Several tensors, each of which may be missing, with the state they had."""

    def __init__(self, tensors: Iterable[Tensor | None]) -> None:
        self._states = tuple(None if tensor is None else TensorState.of(tensor) for tensor in tensors)

    def matches(self, tensors: Sequence[Tensor | None]) -> bool:
        """Whether these are surely the same, with the same numbers. Never wrongly yes."""
        return len(tensors) == len(self._states) and all(map(_same, self._states, tensors))


def _same(sample: TensorState | None, tensor: Tensor | None) -> bool:
    return tensor is None if sample is None else tensor is not None and sample.matches(tensor)


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The type that autocast computes projections in on this device; None where it is off."""
    if device.type == "cuda" and torch.is_autocast_enabled():
        return torch.get_autocast_gpu_dtype()
    if device.type == "cpu" and torch.is_autocast_cpu_enabled():
        return torch.get_autocast_cpu_dtype()
    return None


def readable_weight(module: nn.Module) -> Tensor | None:
    """The dense weight a projection multiplies by, if its class computes nothing but that; else None.

    A weight that can't tell whether it was written to is None too.
    """
    weight = dense_weight(module)
    return None if weight is None or weight.is_inference() else weight


def dense_weight(module: nn.Module) -> Tensor | None:
    """The weight a projection holds, if that is a plain matrix of numbers; else None.

    Quantised, offloaded and adapter-wrapped projections are None: what they hold is not what they multiply by.
    """
    weight = module._parameters.get("weight")
    if weight is None or type(weight) not in (nn.Parameter, Tensor) or module._modules:
        return None
    dense = weight.ndim == 2 and weight.dtype in (torch.float32, torch.float16, torch.bfloat16)
    return weight if dense and weight.device.type != "meta" else None
