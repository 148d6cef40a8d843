"""Connections that lead out to the internet and nowhere else.

A site, or whoever answers in its name, may send us on to any address. What is in the user's own network (a router, the
metadata of a cloud, a program on this machine) must not be asked. The peer is looked at once the connection stands
and before anything is sent, so that no name can mean one address when it is checked and another when it is used.
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
    """Something about Civitai that did not work, in a sentence."""


class Refused(CivitaiError):
    """An address that is not asked, for the user's safety."""


def is_public(address: str) -> bool:
    """Whether an IP address is on the internet, and not in a private network or on this machine."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ipaddress.IPv4Address(ip.packed[-4:]) if ip in _NAT64 else None)
        return ip.is_global and not ip.is_multicast if inner is None else is_public(str(inner))
    return (ip.is_global and not ip.is_multicast) or ip in _FAKE


def looks_private(host: str) -> bool:
    """Whether a host name says by itself that it is not on the internet. What it resolves to is not asked."""
    name = host.rstrip(".").lower()
    try:
        return not is_public(name.strip("[]"))
    except ValueError:
        last = name.rpartition(".")[2]
        number = last.isdigit() or last.startswith("0x")  # another spelling of an IP address: 127.1, 0x7f.1
        return number or "." not in name or name.endswith((".localhost", ".local", ".internal"))


class PublicAdapter(HTTPAdapter):
    """Connects to public addresses only, except to the places in `private`, each `host:port`.

    What goes through a proxy of the user's is connected by the proxy, and not seen to here.
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
