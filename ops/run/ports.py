"""Checks before the start that the ports are free: waitress would restart in a loop."""

from __future__ import annotations

import errno
import socket

from shared.errors import BootError
from shared.settings import Role, Settings


def check_ports(settings: Settings) -> None:
    """Raise BootError that names the setting of each port that cannot be bound."""
    wanted = {"METRICS_PORT": settings.metrics_port}
    if settings.role is not Role.WORKER:
        wanted = {"PORT": settings.port, **wanted}
    faults = [_fault(name, settings.host, port) for name, port in wanted.items()]
    found = [fault for fault in faults if fault]
    if found:
        raise BootError("\n".join(found))


def _fault(name: str, host: str, port: int) -> str | None:
    """Say why a port cannot be listened on, or None."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        return f"HOST: {host} is no address of this machine ({error.strerror}): use 127.0.0.1 or 0.0.0.0."
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(1)
        except OSError as error:
            return _explain(name, host, port, error)
    return None


def _explain(name: str, host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        other = port + 1 if port < 65535 else port - 1
        return f"{name}: port {port} on {host} is taken: stop what listens there, or set {name}={other}."
    if error.errno == errno.EACCES:
        return f"{name}: port {port} is for root only: set {name} to one from 1024 on."
    return f"HOST: {host}:{port} cannot be listened on ({error.strerror}): use 127.0.0.1 or 0.0.0.0."
