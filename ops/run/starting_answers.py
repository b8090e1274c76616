"""`python -m ops.run.starting_answers JSON`: answers at PORT until the api does.

`/healthz` is 200 as long as there is progress, so that no platform ends a long first start; every other path is 503. It
passes the listening sockets on to the api, and ends with boot or supervisord. It loads little: models are activated meanwhile.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from ops.run.parent_death import PR_SET_PDEATHSIG
from shared.appliance.handover import give_listeners
from shared.errors import StartingError

#: Clients at a time, seconds that each may take, and bytes of a request's head.
CLIENTS, CLIENT_SECONDS, HEAD_BYTES = 64, 5.0, 8192
#: Seconds for the first step, and for supervisord and the api to start, on a small share of a processor.
STEP_SECONDS, PROGRAMS_SECONDS = 60.0, 180.0
#: Seconds between two looks whether clients take too long.
LOOK_SECONDS = 0.5


class Progress:
    """The step that boot is at, as it writes it into a pipe, one JSON object a line."""

    def __init__(self) -> None:
        self._unfinished = b""
        self._begin("Boot has begun.", STEP_SECONDS)

    def read(self, descriptor: int) -> bool:
        """Read what has been written; False if boot has become supervisord."""
        data = os.read(descriptor, 65536)
        if not data:
            self._begin("The programs are being started.", PROGRAMS_SECONDS)
            return False
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        for step in map(json.loads, lines):
            self._begin(step["what"], step["seconds"])
        return True

    @property
    def detail(self) -> str:
        """The present step, and for how long it has lasted."""
        return f"{self.what} ({time.monotonic() - self._since:.0f} s)"

    @property
    def hangs(self) -> bool:
        """Whether the present step takes longer than it may."""
        return time.monotonic() - self._since > self._seconds

    def _begin(self, what: str, seconds: float) -> None:
        self.what, self._since, self._seconds = what, time.monotonic(), seconds


class Client:
    """One connection: its request's head is read and answered, what follows is dropped."""

    def __init__(self, connection: socket.socket, answer: Callable[[bytes], bytes]) -> None:
        self.connection = connection
        self.deadline = time.monotonic() + CLIENT_SECONDS
        self._answer = answer
        self._head: bytes | None = b""

    def read(self) -> bool:
        """Read and answer; False when there is nothing more to come."""
        data = self.connection.recv(HEAD_BYTES)
        if self._head is not None:
            self._head += data
            if b"\n\r\n" in self._head or b"\n\n" in self._head or len(self._head) >= HEAD_BYTES:
                self.connection.send(self._answer(self._head))
                self.connection.shutdown(socket.SHUT_WR)
                self._head = None  # closed at once, the client might lose the answer to what it still sends
        return bool(data)


class Answers:
    """The loop over all sockets, until the api asks for those that listen."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._healthy = bool(given["healthy"])
        self._progress = Progress()
        self._clients: set[Client] = set()
        self._selector = selectors.DefaultSelector()
        self._listeners = [socket.socket(fileno=descriptor) for descriptor in given["listeners"]]
        self._handover = socket.socket(fileno=given["handover"])
        self._steps = int(given["steps"])
        for one in (*self._listeners, self._handover):
            one.setblocking(False)
        for one in self._listeners:
            self._listen(one)
        self._selector.register(self._handover, selectors.EVENT_READ, self._hand_over)
        self._selector.register(self._steps, selectors.EVENT_READ, self._read_step)

    def run(self) -> None:
        """Answer until the api has the sockets and the last clients are gone."""
        while self._listeners or self._clients:
            for key, _ in self._selector.select(LOOK_SECONDS):
                key.data()
            for client in [one for one in self._clients if time.monotonic() > one.deadline]:
                self._close(client)

    def _listen(self, listener: socket.socket) -> None:
        self._selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener))

    def _accept(self, listener: socket.socket) -> None:
        if len(self._clients) >= CLIENTS:  # the one that has taken longest
            self._close(min(self._clients, key=lambda one: one.deadline))
        with contextlib.suppress(OSError):  # it has left meanwhile
            connection, _ = listener.accept()
            connection.setblocking(False)
            client = Client(connection, self._answer)
            self._clients.add(client)
            self._selector.register(connection, selectors.EVENT_READ, lambda: self._read(client))

    def _read(self, client: Client) -> None:
        goes_on = False
        with contextlib.suppress(OSError):
            goes_on = client.read()
        if not goes_on:
            self._close(client)

    def _close(self, client: Client) -> None:
        if client in self._clients:
            self._clients.remove(client)
            self._selector.unregister(client.connection)
            client.connection.close()

    def _read_step(self) -> None:
        if not self._progress.read(self._steps):
            self._selector.unregister(self._steps)

    def _hand_over(self) -> None:
        connection, _ = self._handover.accept()
        for one in (*self._listeners, self._handover):
            self._selector.unregister(one)
        os.unlink(self._handover.getsockname())  # noqa: PTH108  # an api that is started again listens itself
        self._handover.close()
        give_listeners(connection, self._listeners)
        self._listeners = []

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        identity = os.urandom(8).hex()
        headers = [f"X-Request-Id: {identity}", "Cache-Control: no-store", "X-Content-Type-Options: nosniff"]
        if path.endswith(b"/healthz"):  # URL_PREFIX may stand before it
            status, document = self._health()
            headers.append("Content-Type: application/json")
        else:
            status, document = 503, self._problem(identity)
            headers += ["Content-Type: application/problem+json", f"Retry-After: {StartingError.retry_after}"]
        body = json.dumps(document).encode()
        line = "200 OK" if status == 200 else "503 Service Unavailable"
        headers += [f"Content-Length: {len(body)}", "Connection: close"]
        text = "\r\n".join([f"HTTP/1.1 {line}", *headers, "", ""])
        return text.encode() + (b"" if method == b"HEAD" else body)

    def _health(self) -> tuple[int, dict[str, Any]]:
        detail = self._progress.detail
        if self._progress.hangs:
            cause = {"cause": "starting", "detail": f"The start makes no progress: {detail}"}
            return 503, {"status": "failing", "causes": [cause]}
        return 200 if self._healthy else 503, {"status": "starting", "causes": [], "detail": detail}

    def _problem(self, identity: str) -> dict[str, Any]:
        return {
            "type": f"/problems/{StartingError.slug}",
            "title": StartingError.title,
            "status": StartingError.status,
            "detail": f"The appliance is starting. {self._progress.detail}",
            "request_id": identity,
        }


def main(given: dict[str, Any]) -> None:
    """Answer until the api does, or until boot or supervisord, which boot becomes, has ended."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != given["boot"]:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: boot ends by it
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    Answers(given).run()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
