"""The weights of nets where the UNet computes: on its device, in its type, linear nets collapsed to one layer."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch

from hypernet.network import Net, collapse


class DeviceWeights:
    """Owns the copies of one engine. A net that is already in place is used as it is, without a copy."""

    def __init__(self, keep: bool, dtype: torch.dtype | None = None) -> None:
        self.keep = keep
        """Whether copies outlive the UNet call that needed them."""
        self.dtype = dtype
        """What nets compute in; None: the type of what they are given."""
        self._nets: dict[_Key, Net] = {}
        self._used: set[_Key] = set()

    def get(self, net: Net, device: torch.device, dtype: torch.dtype) -> Net:
        """The net on that device in that type. Linear nets come as one affine layer."""
        key = (net, device, dtype)
        self._used.add(key)
        if key not in self._nets:
            self._nets[key] = _collapsed(net).to(device, dtype)
        return self._nets[key]

    def begin(self) -> None:
        """A UNet call begins: what the last one did not use (text nets, folded nets) gives its memory back."""
        if not self.keep:
            self._nets = {key: net for key, net in self._nets.items() if key in self._used}
        self._used = set()

    def clear(self) -> None:
        self._nets.clear()

    @property
    def nbytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for net in self._nets.values() for tensor in net.tensors())


_Key = tuple[Net, torch.device, torch.dtype]
_known: WeakKeyDictionary[Net, Net] = WeakKeyDictionary()
"""Collapsing costs a moment and does not depend on the UNet: once for as long as a network is in memory."""


def _collapsed(net: Net) -> Net:
    """The same function in one layer where the net is affine; otherwise the net itself."""
    if not net.linear or len(net.layers) < 2:
        return net
    if net not in _known:
        _known[net] = collapse(net)
    return _known[net]
