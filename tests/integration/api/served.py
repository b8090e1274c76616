"""A real server, and clients that speak to it byte by byte."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from types import SimpleNamespace
from typing import Any

import pytest

from services.api.app import create_server
from services.api.capacity.disk import UploadDisk
from services.api.components import Components
from services.api.http import channel, server
from services.api.http.access_log import AccessLog, StartResponse
from services.api.http.admission import Admission
from services.api.http.channel import Channel
from services.api.http.server import Server
from shared.metrics import HTTP_CONNECTIONS_CLOSED
from shared.timing import TIMING
from tests.integration.api.api_client import API_KEY, OverHttp, changed
from tests.support.redis_server import until

type App = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

GET = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
ASK = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
LONG_ASK = ASK.replace(b"/echo", b"/long")
KEYED = f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\n".encode()
ECHO = KEYED.replace(b"/v1/jobs", b"/echo")
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


class Working:
    """An application that works on `/long` until it is told to go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/long":
            assert self.go_on.wait(60)
        if refusal := environ["shapbox.refusal"]:
            start_response(f"{refusal.status} Refused", [("Content-Length", "0")])
            return []
        return say_length(environ, start_response)


class Connection(socket.socket):
    """A client's connection. Each method sends `data` first."""

    def __init__(self, port: int, *, slow: bool = False) -> None:
        """`slow`: it takes little at a time."""
        super().__init__()
        if slow:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.settimeout(60)
        self.connect(("127.0.0.1", port))

    def answer(self, data: bytes = b"") -> bytes:
        """Read one answer with a length."""
        self._say(data)
        received = bytearray()
        while b"\r\n\r\n" not in received and (block := self.recv(65536)):
            received += block
        end = received.index(b"\r\n\r\n") + 4
        if length := re.search(rb"Content-Length: (\d+)", received[:end]):
            while len(received) < end + int(length[1]):
                received += self.recv(65536)
        return bytes(received)

    def status(self, data: bytes = b"") -> int:
        return int(self.answer(data).split(b" ")[1])

    def rest(self, data: bytes = b"") -> bytes:
        """Read to the end; a reset is an end."""
        received = bytearray()
        with contextlib.suppress(ConnectionError):
            self._say(data)
            while block := self.recv(65536):
                received += block
        return bytes(received)

    def _say(self, data: bytes) -> None:
        if data:  # one that has ended its side may not even send nothing
            self.sendall(data)


class Served:
    """A real server in a thread, and its clients."""

    def __init__(self, made: Server) -> None:
        self.server = made
        self.port = made.port
        self.http = OverHttp(made.port)
        self.thread = threading.Thread(target=made.run)
        self.thread.start()
        self._clients = contextlib.ExitStack()

    def connect(self, *, slow: bool = False) -> Connection:
        return self._clients.enter_context(Connection(self.port, slow=slow))

    def connect_many(self, count: int, *, slow: bool = False) -> list[Connection]:
        return [self.connect(slow=slow) for _ in range(count)]

    def wait_until(self, how_many: int, are_so: Callable[[Channel], object]) -> None:
        """Wait until so many of the open connections are so on the server's side."""
        until(lambda: sum(bool(are_so(one)) for one in self.server.channels) == how_many)

    def wait_until_quiet(self) -> None:
        """Wait until no thread is at work any more, also not on an answer that has come."""
        self.wait_until(0, lambda one: one.requests)

    def stop(self) -> None:
        """Stop as at SIGTERM, and wait for the end."""
        self.server.stop()
        self.thread.join(60)
        assert not self.thread.is_alive()

    def close(self) -> None:
        self._clients.close()
        self.stop()


class Serve:
    """Starts servers, whose numbers a test may change before."""

    def __init__(
        self, components: Components, patch: pytest.MonkeyPatch, stack: contextlib.ExitStack
    ) -> None:
        self._components = components
        self._patch = patch
        self._stack = stack
        self._limits: dict[str, Any] = {}

    def __call__(self, app: App | None = None, **changes: Any) -> Served:
        """Serve the api with other settings, or an application that takes bodies at every path."""
        settings = replace(self._components.settings, **self._limits | changes)
        if app is None:
            made = create_server(changed(self._components, settings=settings))
        else:
            taker = (SimpleNamespace(access="jobs", on_post=None),)
            admission = Admission(settings, UploadDisk(settings.tmp_dir, 1), lambda _path: taker)
            counters = self._components.counters
            made = Server(AccessLog(app, counters), admission, settings, counters)
        served = Served(made)
        self._stack.callback(served.close)
        return served

    def times(self, **seconds: float) -> None:
        """Set times of connections, which are then looked at often."""
        for module in (server, channel):
            self._patch.setattr(module, "TIMING", replace(TIMING, **seconds))
        self._patch.setattr(server, "EXPIRY_SECONDS", 0.05)

    def limits(
        self, connections: int, reserved: int = 0, fresh_seconds: float = 2.0, *, remote: bool = False
    ) -> None:
        """Set how many connections there may be; `remote`: loopback counts as any address."""
        self._limits = {"max_connections": connections}
        self._patch.setattr(server, "RESERVED_CONNECTIONS", reserved)
        self._patch.setattr(server, "FRESH_SECONDS", fresh_seconds)
        if remote:
            remote_address = type("Remote", (IPv4Address,), {"is_loopback": False})
            self._patch.setattr(
                server, "ip_address", lambda text: ip_address(text) if ":" in text else remote_address(text)
            )

    def closed(self) -> dict[str, int]:
        """Return how many connections were closed for which reason."""
        counters = self._components.counters
        counters.flush()
        return {
            key[1]: int(n) for key, n in counters.read().items() if key[0] == HTTP_CONNECTIONS_CLOSED.name
        }


def statuses(received: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.[01] (\d+) [A-Z]", received)]
