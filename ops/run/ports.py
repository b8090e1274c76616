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
    faults = [fault for name, port in wanted.items() if (fault := _fault(name, settings.host, port))]
    if faults:
        raise BootError("\n".join(faults))


def _fault(name: str, host: str, port: int) -> str | None:
    """Say why a port cannot be listened on, or None."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.create_server(address, family=family):
            return None
    except socket.gaierror as error:
        return f"HOST: {host} is no address of this machine ({error.strerror}): use 127.0.0.1 or 0.0.0.0."
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            other = port + 1 if port < 65535 else port - 1
            return f"{name}: port {port} on {host} is taken: stop what listens there, or set {name}={other}."
        if error.errno == errno.EACCES:
            return f"{name}: port {port} is for root only: set {name} to one from 1024 on."
        return f"HOST: {host}:{port} cannot be listened on ({error.strerror}): use 127.0.0.1 or 0.0.0.0."
