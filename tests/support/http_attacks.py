"""Attacks on the HTTP server by one client, with or without a key; only on loopback.

Each runs for a bounded time beside well-behaved clients, and says how these fared.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

#: Well-behaved clients, and seconds between two requests of each.
CLIENTS, PAUSE_SECONDS = 20, 0.05
#: Seconds, at least, after which closed connections are opened again.
OPEN_SECONDS = 0.1
#: Bytes that one connection sends at most before it waits for the server to close it.
MOST_BYTES = 4 * 2**20

ROWS = b'{"model": "diabetes", "rows": [[59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.8598, 87]]}'


@dataclass(frozen=True)
class Target:
    """A server on loopback. Requests of well-behaved clients explain a row."""

    port: int
    key: str

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def head(self, path: str, *headers: str, method: str = "POST", key: bool = False) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers]
        if key:
            lines += [f"Authorization: Bearer {self.key}", "Content-Type: application/json"]
        return "\r\n".join([*lines, "", ""]).encode()


@dataclass(frozen=True)
class Attack:
    """The work of `connections`: send `first`, then `piece` each `pause` seconds, read nothing."""

    first: bytes
    piece: bytes = b""
    pause: float = 0.0
    connections: int = 40
    half_close: bool = False


def attacks(target: Target) -> dict[str, Attack]:
    """Return the attacks by name."""
    chunked = target.head("/v1/jobs", "Transfer-Encoding: chunked")
    keyed = target.head("/v1/jobs", "Transfer-Encoding: chunked", key=True)
    get = target.head("/docs", method="GET")
    small = target.head("/version", method="GET")
    open_head = small.removesuffix(b"\r\n")
    return {
        "nothing": Attack(b"", connections=0),
        # Lines that never end
        "chunk line": Attack(chunked, b"0" * 65536),
        "chunk line with a key": Attack(keyed, b"0" * 65536),
        "extension": Attack(chunked + b"5;x=", b"a" * 65536),
        "extension with a key": Attack(keyed + b"5;x=", b"a" * 65536),
        "trailer": Attack(chunked + b"0\r\n", b"X: " + b"y" * 65533),
        "trailer with a key": Attack(keyed + b"0\r\n", b"X: " + b"y" * 500 + b"\r\n"),
        "endless head": Attack(open_head, b"X-A: " + b"b" * 8000 + b"\r\n"),
        # Slow ones, and ones that do nothing
        "idle": Attack(b"", connections=320, pause=0.5),
        "slow head": Attack(open_head + b"X: ", b"a", 2.0, 320),
        "slow body": Attack(target.head("/v1/jobs", "Content-Length: 100000"), b"a", 2.0, 320),
        "slow body with a key": Attack(
            target.head("/v1/jobs", "Content-Length: 60000", key=True), b"a", 1.0, 250
        ),
        "slow chunks with a key": Attack(
            keyed + b"8000\r\n" + b" " * 32768 + b"\r\n", b"1\r\n \r\n", 0.5, 250
        ),
        "half a head": Attack(open_head + b"X: " + b"x" * 30_000, b"", 1.0, 320),
        "after one answer": Attack(small, b"", 0.5, 320),
        # Answers that nobody reads
        "pipelined": Attack(small * 2000, small * 200, 0.2, 100),
        "unread": Attack(get * 20, b"", 3.0, 320),
        "unread and closed": Attack(get * 20, b"", 0.2, 100, half_close=True),
        # Much work for a parser
        "tiny chunks": Attack(keyed, b"1\r\n \r\n" * 5000, connections=10),
        "header names": Attack(b"", open_head + b"".join(b"X%04d: a\r\n" % n for n in range(4000)) + b"\r\n"),
        "blanks": Attack(b"", open_head + b"X:" + b" " * 30_000 + b"a\r\n\r\n"),
        "address": Attack(b"", b"GET a://" + b"0" * 30_000 + b" x HTTP/1.1\r\nHost: x\r\n\r\n"),
        "folded lines": Attack(b"", open_head + b"X: a\r\n" + b" b\r\n" * 12_000 + b"\r\n"),
        "blank lines": Attack(b"", b"\r\n" * 30_000),
        "no HTTP": Attack(
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), bytes(517), 0.1, 100
        ),
        # Two requests in one
        "smuggled": Attack(
            b"",
            target.head("/v1/jobs", "Content-Length: 4", "Transfer-Encoding: chunked", key=True)
            + b"0\r\n\r\nGET /v1/jobs HTTP/1.1\r\nHost: x\r\n\r\n",
        ),
    }


@dataclass
class Fared:
    """How the well-behaved clients fared."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    #: Statuses from 500 on that the attackers saw: none is right.
    server_errors: int = 0

    @property
    def p99(self) -> float:
        """The seconds in which 99 of 100 requests were answered; of few requests, all but three."""
        return sorted(self.seconds)[min(int(len(self.seconds) * 0.99), len(self.seconds) - 4)]

    def __str__(self) -> str:
        half = sorted(self.seconds)[len(self.seconds) // 2]
        return (
            f"{len(self.seconds)} requests, p50 {half * 1000:.0f} ms, p99 {self.p99 * 1000:.0f} ms, "
            f"{len(self.failures)} failed {self.failures[:2]}"
        )


def strike(target: Target, attack: Attack, seconds: float, path: str = "/v1/explain") -> Fared:
    """Attack for some seconds next to well-behaved clients, which post a row or get the path."""
    fared, until = Fared(), time.monotonic() + seconds
    shares = min(4, attack.connections)
    workers: list[tuple[Callable[..., None], Sequence[object]]] = [
        (_behave, (target, path, until, fared)) for _ in range(CLIENTS)
    ]
    for share in range(shares):
        count = len(range(share, attack.connections, shares))
        workers.append((_Attacker(target, attack, count, fared).run, (until,)))
    threads = [threading.Thread(target=work, args=given) for work, given in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return fared


def _behave(target: Target, path: str, until: float, fared: Fared) -> None:
    for number in itertools.count():
        if time.monotonic() >= until:
            return
        started = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=20)
        try:
            headers = {"Authorization": f"Bearer {target.key}", "Content-Type": "application/json"}
            if path == "/v1/explain" and number % 4:
                connection.request("POST", path, ROWS, headers)
            else:
                connection.request("GET", "/version" if path == "/v1/explain" else path)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                fared.failures.append(str(answer.status))
        except OSError as fault:
            fared.failures.append(repr(fault))
        finally:
            connection.close()
        fared.seconds.append(time.monotonic() - started)
        time.sleep(PAUSE_SECONDS)


class _Attacker:
    """Holds its share of an attack's connections; opens another one for each that is closed."""

    def __init__(self, target: Target, attack: Attack, count: int, fared: Fared) -> None:
        self._target = target
        self._attack = attack
        self._count = count
        self._fared = fared
        self._next_open = 0.0
        self._selector = selectors.DefaultSelector()
        self._sent: dict[socket.socket, int] = {}
        self._unsent: dict[socket.socket, memoryview] = {}

    def run(self, until: float) -> None:
        with contextlib.closing(self._selector):
            while time.monotonic() < until:
                if time.monotonic() >= self._next_open:  # a flood of connections would test the machine
                    self._next_open = time.monotonic() + max(self._attack.pause, OPEN_SECONDS)
                    self._open(until)
                for connection in list(self._sent):
                    self._send(connection)
                for key, _events in self._selector.select(
                    min(max(self._attack.pause, 0.01), until - time.monotonic())
                ):
                    self._hear(key.fileobj)  # type: ignore[arg-type]  # only sockets are registered
            for connection in list(self._sent):
                self._close(connection)

    def _open(self, until: float) -> None:
        while len(self._sent) < self._count and time.monotonic() < until:
            try:
                connection = self._target.connect()
            except OSError:
                return
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self._selector.register(connection, selectors.EVENT_READ)
            self._sent[connection] = 0
            self._unsent[connection] = memoryview(self._attack.first)

    def _send(self, connection: socket.socket) -> None:
        waiting = self._unsent[connection]
        if not waiting and self._sent[connection] < MOST_BYTES:
            waiting = memoryview(self._attack.piece)
        with contextlib.suppress(BlockingIOError):
            try:
                sent = connection.send(waiting) if waiting else 0
            except BlockingIOError:
                sent = 0
            except OSError:
                self._close(connection)
                return
            self._sent[connection] += sent
            self._unsent[connection] = waiting[sent:]
            if self._attack.half_close and not self._unsent[connection]:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)

    def _hear(self, connection: socket.socket) -> None:
        """Look whether the server closed the connection; read only the first line of its answer."""
        try:
            start = connection.recv(64, socket.MSG_PEEK)
            if start.startswith(b"HTTP/1.1 5"):
                self._fared.server_errors += not start.startswith(b"HTTP/1.1 501")
            if start and b"Connection: close" not in connection.recv(4096, socket.MSG_PEEK):
                self._selector.modify(connection, 0)
        except BlockingIOError:
            return
        except OSError:
            start = b""
        except ValueError:
            self._selector.unregister(connection)
            return
        if not start:
            self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(connection)
        del self._sent[connection], self._unsent[connection]
        connection.close()


@contextlib.contextmanager
def highest(read: Callable[[], int]) -> Iterator[list[int]]:
    """Read a number again and again; the list holds the highest one."""
    found, stop = [read()], threading.Event()

    def look() -> None:
        while not stop.wait(0.2):
            found[0] = max(found[0], read())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
