"""A real server, and sockets that speak to it byte by byte."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from services.api.components import Components
from services.api.http import channel
from services.api.http.access_log import StartResponse
from services.api.http.server import Server
from shared.metrics import HTTP_CONNECTIONS_CLOSED, ClosedConnection
from tests.integration.api.api_client import API_KEY

type App = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]
type Serve = Callable[..., Served]

GET = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
ASK = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
KEYED = f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\n".encode()
BODY = b'{"model": "diabetes", "rows": [[1,1,1,1,1,1,1,1,1,1]]}'
#: The length of a long answer.
LONG = 400_000


def last(request: bytes) -> bytes:
    """Return the request as the last one of its connection."""
    return request[:-2] + b"Connection: close\r\n\r\n"


def say_length(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    body = b"read %d" % len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def say_much(length: int = LONG) -> App:
    def say(_environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(length))])
        return [b"x" * length]

    return say


class Served:
    """A real server in a thread."""

    def __init__(self, made: Server) -> None:
        self.server = made
        self.port = made.port
        self.thread = threading.Thread(target=made.run)
        self.thread.start()

    def connect(self) -> socket.socket:
        return connect(self.port)

    def connect_slow(self) -> socket.socket:
        """Connect a client that takes little at a time."""
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(60)
        slow.connect(("127.0.0.1", self.port))
        return slow

    @property
    def channels(self) -> list[channel.Channel]:
        return self.server.channels

    def stop(self) -> None:
        self.server.stop()

    def states(self) -> list[str]:
        """Return the states of its connections, as the system numbers them."""
        lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
        return [line[3] for line in lines if line[1].endswith(f":{self.port:04X}") and line[3] != "0A"]


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def rest(connection: socket.socket) -> bytes:
    """Read to the end; a reset is an end."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while block := connection.recv(65536):
            received += block
    return received


def exchange(port: int, data: bytes) -> bytes:
    """Send on a connection of its own, and read to the end."""
    with connect(port) as connection:
        connection.sendall(data)
        return rest(connection)


def statuses(received: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.[01] (\d+) [A-Z]", received)]


def answer(connection: socket.socket) -> bytes:
    """Read one answer with a length."""
    received = b""
    while b"\r\n\r\n" not in received and (block := connection.recv(65536)):
        received += block
    head, _, body = received.partition(b"\r\n\r\n")
    if length := re.search(rb"Content-Length: (\d+)", head):
        while len(body) < int(length[1]):
            body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def status(connection: socket.socket) -> int:
    return int(answer(connection).split(b" ")[1])


def closed(components: Components) -> dict[str, int]:
    """Return how many connections were closed for which reason."""
    components.counters.flush()
    sums = components.counters.read()
    return {
        reason.value: int(sums[HTTP_CONNECTIONS_CLOSED.name, reason])
        for reason in ClosedConnection
        if (HTTP_CONNECTIONS_CLOSED.name, reason) in sums
    }
