"""Hosts: the programs around us. `find_host` tells which WebUI this is, by what it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypernet.hosts.host import Host


def find_host() -> Host:
    """The WebUI whose `modules` this Python runs."""
    from hypernet.hosts.a1111 import A1111

    return A1111()
