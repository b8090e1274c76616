"""Asks supervisord for the states of its programs, over its unix socket.

supervisor's own transport has no time limit: a stopped supervisord would hang its caller.
"""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client  # read from our own supervisord, over a socket that only we may open
from pathlib import Path
from typing import Any

from services.monitor.events.programs import LIVE_STATES, Program

#: Seconds to wait for supervisord's answer.
TIMEOUT = 3.0
#: supervisord's fault code for "I am shutting down".
SHUTDOWN_STATE = 6


class SupervisorAwayError(Exception):
    """supervisord does not answer. The message says why."""


class SupervisorStoppingError(SupervisorAwayError):
    """supervisord answers that it is shutting down."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(str(self._path))


def list_programs(supervisor_socket: Path) -> list[Program]:
    """Return all supervised processes that were ever started: the others should not run here.

    Raises SupervisorStoppingError while all programs are being stopped, SupervisorAwayError without an answer.
    """
    infos = _call(supervisor_socket, "supervisor.getAllProcessInfo")
    return [_program(info) for info in infos if info["start"] or info["statename"] != "STOPPED"]


def _program(info: dict[str, Any]) -> Program:
    state = str(info["statename"])
    return Program(info["group"], info["name"], state, info["pid"] or None if state in LIVE_STATES else None)


def _call(supervisor_socket: Path, method: str) -> Any:
    connection = _UnixConnection(supervisor_socket)
    try:
        connection.request(
            "POST", "/RPC2", xmlrpc.client.dumps((), method).encode(), {"Content-Type": "text/xml"}
        )
        response = connection.getresponse()
        body = response.read()
        if response.status != http.HTTPStatus.OK:
            raise SupervisorAwayError(f"supervisord answers {response.status} {response.reason}")
        values, _ = xmlrpc.client.loads(body.decode())
    except xmlrpc.client.Fault as fault:
        if fault.faultCode == SHUTDOWN_STATE:
            raise SupervisorStoppingError("supervisord is shutting down") from fault
        raise SupervisorAwayError(f"supervisord refuses {method}: {fault.faultString}") from fault
    except (OSError, http.client.HTTPException) as fault:
        raise SupervisorAwayError(f"supervisord does not answer on {supervisor_socket}: {fault}") from fault
    finally:
        connection.close()
    return values[0]
