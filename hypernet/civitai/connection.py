"""Connections to the public internet only.

A site, or whoever answers in its name, may redirect us to any address. Nothing may be sent to the user's own network (a
router, a cloud's metadata service, a program on this machine). The peer's address is checked after the connection is
made and before anything is sent, so a name can't resolve to one address for the check and to another afterwards.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Set
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from hypernet.errors import HypernetError

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_FAKE = ipaddress.ip_network("198.18.0.0/15")
"""Reserved for benchmarks. Proxy programs such as Clash give each public name an address in it."""


class CivitaiError(HypernetError):
    """Something about Civitai did not work; the text is a sentence for the user."""


class Refused(CivitaiError):
    """An address that is not contacted, for the user's safety."""


def is_public(address: str) -> bool:
    """Whether an IP address is on the internet, and not in a private network or on this machine."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ipaddress.IPv4Address(ip.packed[-4:]) if ip in _NAT64 else None)
        return ip.is_global and not ip.is_multicast if inner is None else is_public(str(inner))
    return (ip.is_global and not ip.is_multicast) or ip in _FAKE


def looks_private(host: str) -> bool:
    """Whether a host name by itself is not one of the internet. It is not resolved."""
    name = host.rstrip(".").lower()
    try:
        return not is_public(name.strip("[]"))
    except ValueError:
        last = name.rpartition(".")[2]
        number = last.isdigit() or last.startswith("0x")  # another spelling of an IP address: 127.1, 0x7f.1
        return number or "." not in name or name.endswith((".localhost", ".local", ".internal"))


class PublicAdapter(HTTPAdapter):
    """Connects to public addresses only, except for those in `private`, each `host:port`.

    If the user has a proxy, the proxy makes the connections, and this check doesn't apply.
    """

    def __init__(self, private: Set[str]) -> None:
        self._private = private
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Called by requests to make the pools for direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools(self._private)


def _pools(private: Set[str]) -> dict[str, Any]:
    def checked(connection: HTTPConnection, made: socket.socket) -> socket.socket:
        address = f"{connection.host}:{connection.port}"
        if address in private or is_public(made.getpeername()[0]):
            return made
        made.close()
        raise Refused(f"Civitai sent us to {connection.host}, which is not on the internet: it was not asked.")

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return checked(self, super()._new_conn())

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return checked(self, super()._new_conn())

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
