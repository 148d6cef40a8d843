"""Nets' weights on the UNet's device and in its type; linear nets collapsed into one layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias
from weakref import WeakKeyDictionary

import torch

from hypernet.engine.tensors import all_finite, version
from hypernet.network import Net, collapse


@dataclass
class _Copy:
    net: Net
    used: bool = True
    """Whether the current UNet call has used it."""


_Copies: TypeAlias = "dict[tuple[torch.device, torch.dtype], _Copy]"
_Revision: TypeAlias = "tuple[tuple[int, int | None], ...]"


class DeviceWeights:
    """Owns the copies of one engine. A net that is on the device in that type already is shared, not copied.

    A copy lives no longer than the network it was made of.
    """

    def __init__(self, keep: bool, dtype: torch.dtype | None = None) -> None:
        self.keep = keep
        """Whether copies outlive the UNet call that needed them."""
        self.dtype = dtype
        """The type that nets compute in; None: that of their input."""
        self._copies: WeakKeyDictionary[Net, _Copies] = WeakKeyDictionary()

    def get(self, net: Net, device: torch.device, dtype: torch.dtype) -> Net:
        """The net on that device in that type. Linear nets become one layer, unless that would overflow."""
        copies = self._copies.setdefault(net, {})
        copy = copies.get((device, dtype))
        if copy is None:
            copy = copies[device, dtype] = _Copy(_collapsed_to(net, device, dtype))
        copy.used = True
        return copy.net

    def begin(self) -> None:
        """A UNet call begins: frees the copies that the last one did not use (text nets, folded nets)."""
        if self.keep:
            return
        for copies in self._copies.values():
            for key in [key for key, copy in copies.items() if not copy.used]:
                del copies[key]
            for copy in copies.values():
                copy.used = False

    def refresh(self, nets: Iterable[Net]) -> bool:
        """Drops copies of nets whose weights were written to, as training does. Returns whether there were any."""
        changed = [net for net in nets if _revisions.setdefault(net, _revision(net)) != _revision(net)]
        for net in changed:
            _revisions[net] = _revision(net)
            _known.pop(net, None)
            self._copies.pop(net, None)
        return bool(changed)

    def clear(self) -> None:
        """Frees all copies."""
        self._copies.clear()

    @property
    def nbytes(self) -> int:
        """Bytes of all copies."""
        nets = [copy.net for copies in self._copies.values() for copy in copies.values()]
        return sum(tensor.numel() * tensor.element_size() for net in nets for tensor in net.tensors())


_known: WeakKeyDictionary[Net, Net] = WeakKeyDictionary()
"""Net -> collapsed net. Collapsing doesn't depend on the UNet, so it is done once while a network is in memory."""

_revisions: WeakKeyDictionary[Net, _Revision] = WeakKeyDictionary()
"""Net -> the state of its weights when it was last looked at."""


def _revision(net: Net) -> _Revision:
    return tuple((tensor.data_ptr(), version(tensor)) for tensor in net.tensors())


def _collapsed_to(net: Net, device: torch.device, dtype: torch.dtype) -> Net:
    if not net.linear or len(net.layers) < 2:
        return net.to(device, dtype)
    if net not in _known:
        with torch.no_grad():
            _known[net] = collapse(net)
    collapsed = _known[net].to(device, dtype)
    return collapsed if all_finite(collapsed.tensors()) else net.to(device, dtype)
