"""Stops and starts single programs of a trial appliance, as with supervisorctl."""

from __future__ import annotations

import xmlrpc.client
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport


class Supervisor:
    """supervisord, over its socket."""

    def __init__(self, socket: Path) -> None:
        # The address is not used: the transport goes to the socket.
        transport = SupervisorTransport(None, None, f"unix://{socket}")
        self._proxy: Any = xmlrpc.client.ServerProxy("http://localhost", transport)

    def stop(self, program: str) -> None:
        """Stop all processes of a program and wait until they are gone."""
        self._proxy.supervisor.stopProcessGroup(program)

    def start(self, program: str) -> None:
        """Start them again; supervisord goes on without waiting."""
        self._proxy.supervisor.startProcessGroup(program, False)

    def states(self) -> dict[str, str]:
        """Return each process's state by its name."""
        return {info["name"]: info["statename"] for info in self._proxy.supervisor.getAllProcessInfo()}

    def close(self) -> None:
        """Close the connection."""
        self._proxy("close")()
