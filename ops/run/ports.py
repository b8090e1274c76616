"""Checks before the start that the ports are free: waitress would restart in a loop."""

from __future__ import annotations

import errno

from shared.errors import BootError
from shared.network import listen
from shared.settings import Role, Settings


def check_ports(settings: Settings) -> None:
    """Raise BootError that names the setting of a port or address that cannot be bound."""
    wanted = {"METRICS_PORT": settings.metrics_port}
    if settings.role is not Role.WORKER:
        wanted["PORT"] = settings.port
    host = settings.host
    for name, port in wanted.items():
        try:
            for listener in listen(host, port):
                listener.close()
        except OSError as error:  # an unknown name as well
            if error.errno == errno.EADDRINUSE:
                other = port + 1 if port < 65535 else port - 1
                remedy = (
                    f"{name}: port {port} on {host} is taken: stop what listens there, or set {name}={other}."
                )
            elif error.errno == errno.EACCES:
                remedy = f"{name}: port {port} is for root only: set {name} to one from 1024 on."
            else:
                remedy = (
                    f"HOST: {host} cannot be listened on ({error.strerror}): use 127.0.0.1, 0.0.0.0 or ::."
                )
            raise BootError(remedy) from error
