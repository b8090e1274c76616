"""Addresses to listen on, of one or both families, and those of clients."""

from __future__ import annotations

import contextlib
import socket
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

#: Connections that may wait until they are accepted.
BACKLOG = 1024
#: How IPv6 writes IPv4 addresses: a listener on `::` sees IPv4 clients under these.
_MAPPED_PREFIX, _MAPPED = "::ffff:", IPv6Network("::ffff:0:0/96")


def is_everywhere(host: str) -> bool:
    """Return whether a host means all addresses of this machine, such as 0.0.0.0 and `::`."""
    with contextlib.suppress(ValueError):
        return ip_address(host).is_unspecified
    return host == ""


def listen(host: str, port: int) -> list[socket.socket]:
    """Listen on every address of a host; on `::` for both families. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with contextlib.ExitStack() as unless_all_are_open:
        listeners = []
        for family, address in dict.fromkeys((one[0], one[4]) for one in found):
            listener = unless_all_are_open.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                only = not is_everywhere(str(address[0]))
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
            listener.bind(address)
            listener.listen(BACKLOG)
            listeners.append(listener)
        unless_all_are_open.pop_all()
    return listeners


def client_address(address: Any) -> Any:
    """Return a socket's address, in IPv4 also for an IPv4 client of a listener on `::`."""
    host = str(address[0]).removeprefix(_MAPPED_PREFIX)
    return (host, address[1]) if "." in host else address


def network(text: str) -> IPv4Network | IPv6Network:
    """Parse an address or network; IPv4 written as IPv6 becomes IPv4. Raises ValueError."""
    found = ip_network(text)
    if isinstance(found, IPv6Network) and found.subnet_of(_MAPPED):
        return IPv4Network((int(found.network_address) & 0xFFFFFFFF, found.prefixlen - _MAPPED.prefixlen))
    return found
