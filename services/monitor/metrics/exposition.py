"""Serves the metrics over HTTP, on a port of the private network."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, start_http_server

from shared.errors import BootError
from shared.settings import Settings

#: The addresses that mean "all interfaces".
EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared with, not bound to


def serve_metrics(settings: Settings, registry: CollectorRegistry) -> Any:
    """Serve `registry` on METRICS_PORT in a thread of its own; returns the server.

    All interfaces if HOST is all interfaces, else this machine's own. Raises BootError if the port is taken.
    """
    address = settings.host if settings.host in EVERYWHERE else "127.0.0.1"
    try:
        server, _ = start_http_server(settings.metrics_port, address, registry)
    except OSError as fault:
        raise BootError(
            f"METRICS_PORT {settings.metrics_port} cannot be opened on {address} ({fault.strerror}): "
            "stop what uses it, or choose another one."
        ) from fault
    return server
