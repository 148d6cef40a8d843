"""Helpers for tensors, projections and errors, shared by all strategies."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

ReadWeight: TypeAlias = Callable[[nn.Module], "Tensor | None"]
"""A projection -> the weight it multiplies by, (out, in); None where that can't be known."""


def version(tensor: Tensor) -> int | None:
    """The counter that torch increases at each in-place write; None for inference tensors, which have none."""
    return None if tensor.is_inference() else tensor._version


@dataclass(frozen=True, eq=False)
class TensorState:
    """A tensor's state at one time, to find out later whether it still holds the same numbers.

    It keeps the memory alive, so an equal address means the same memory.
    """

    tensor: Tensor
    memory: Tensor
    version: int | None

    @classmethod
    def of(cls, tensor: Tensor) -> TensorState:
        """The state of a tensor now."""
        return cls(tensor, tensor.detach(), version(tensor))

    @property
    def unchanged(self) -> bool:
        """Whether nobody has written into it since; inference tensors, which don't count writes, pass as unchanged."""
        return self.version is None or version(self.tensor) == self.version

    def matches(self, tensor: Tensor) -> bool:
        """Whether `tensor` is the same memory, with no write counted since."""
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
        """Whether these are the same tensors in the same order, with no write counted since."""
        return len(tensors) == len(self._states) and all(map(_matches, self._states, tensors))


def _matches(state: TensorState | None, tensor: Tensor | None) -> bool:
    return tensor is None if state is None else tensor is not None and state.matches(tensor)


def needs_gradient(tensors: Iterable[Tensor | None]) -> bool:
    """Whether autograd is on and any of these tensors requires a gradient."""
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def all_finite(tensors: Iterable[Tensor | None]) -> bool:
    """Whether each tensor, and its sum in float32, is free of NaN and infinity. Waits for the device."""
    return all(tensor is None or bool(torch.isfinite(tensor.sum(dtype=torch.float32))) for tensor in tensors)


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The type that autocast computes projections in on this device; None where it is off."""
    if device.type == "cpu":
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    if device.type == "cuda":
        return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None
    try:
        return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
    except (AttributeError, TypeError, RuntimeError):  # torch before 2.4 asks for no device; some have no autocast
        return None


def readable_weight(module: nn.Module) -> Tensor | None:
    """The dense weight that a projection multiplies by, (out, in); None where it can't be used.

    Also None for inference tensors: they don't count writes.
    """
    weight = dense_weight(module)
    return None if weight is None or weight.is_inference() else weight


def dense_weight(module: nn.Module) -> Tensor | None:
    """The weight that a projection holds, (out, in), if it is a plain matrix of numbers; else None.

    Quantised, offloaded and adapter-wrapped projections are None: what they hold is not what they multiply by.
    """
    weight = module._parameters.get("weight")
    if weight is None or type(weight) not in (nn.Parameter, Tensor) or module._modules:
        return None
    dense = weight.ndim == 2 and weight.dtype in (torch.float32, torch.float16, torch.bfloat16)
    return weight if dense and weight.device.type != "meta" else None


def bias_of(module: nn.Module) -> Tensor | None:
    """The bias a projection adds, (out,), or None."""
    return module._parameters.get("bias")


_OUT_OF_MEMORY = re.compile(r"out of memory|not enough [\w ]*memory|(?:can't|could not|not) allocate", re.IGNORECASE)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, on whatever device: some of torch's allocators only say it in the text."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and bool(_OUT_OF_MEMORY.search(str(error)))
