"""Attacks on the HTTP server by one client, with or without a key; only on loopback.

Each runs for a bounded time beside well-behaved clients, and says how these fared. Single requests that are malformed or
costly to parse are in tests/integration/api/test_requests.py.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

#: Well-behaved clients, and seconds between two requests of each.
CLIENTS, PAUSE_SECONDS = 8, 0.05
#: Seconds between two rounds of an attacker that makes no pause, and at least until it opens connections again.
ROUND_SECONDS, OPEN_SECONDS = 0.01, 0.1
#: Threads of an attack, and bytes that one connection sends at most before it waits for the server to close it.
ATTACKERS, MOST_BYTES = 4, 4 * 2**20

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
    keyed = target.head("/v1/jobs", "Transfer-Encoding: chunked", key=True)
    get = target.head("/docs", method="GET")
    small = target.head("/version", method="GET")
    open_head = small.removesuffix(b"\r\n")
    slow = target.head("/v1/jobs", "Content-Length: 60000")
    slow_with_key = target.head("/v1/jobs", "Content-Length: 60000", key=True)
    return {
        "nothing": Attack(b"", connections=0),
        # Lines that never end
        "chunk line": Attack(target.head("/v1/jobs", "Transfer-Encoding: chunked"), b"0" * 65536),
        "chunk line with a key": Attack(keyed, b"0" * 65536),
        "extension with a key": Attack(keyed + b"5;x=", b"a" * 65536),
        "trailer with a key": Attack(keyed + b"0\r\n", b"X: " + b"y" * 500 + b"\r\n"),
        # Slow ones, and ones that do nothing
        "idle": Attack(b"", connections=320, pause=0.5),
        "slow head": Attack(open_head + b"X: ", b"a", 0.5, 320),
        "slow body": Attack(slow, b"a", 0.5, 320),
        "slow body with a key": Attack(slow_with_key, b"a", 0.5, 250),
        "slow chunks with a key": Attack(
            keyed + b"8000\r\n" + b" " * 32768 + b"\r\n", b"1\r\n \r\n", 0.5, 250
        ),
        "half a head": Attack(open_head + b"X: " + b"x" * 30_000, b"", 0.5, 320),
        "after one answer": Attack(small, b"", 0.5, 320),
        # Answers that nobody reads
        "pipelined": Attack(small * 2000, small * 200, 0.2, 100),
        "unread": Attack(get * 20, b"", 0.5, 320),
        "unread and closed": Attack(get * 20, b"", 0.2, 100, half_close=True),
        # Much work for a parser
        "tiny chunks": Attack(keyed, b"1\r\n \r\n" * 5000, connections=10),
        "blanks": Attack(b"", open_head + b"X:" + b" " * 30_000 + b"a\r\n\r\n"),
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


def strike(target: Target, attack: Attack, seconds: float) -> Fared:
    """Attack for some seconds next to well-behaved clients."""
    fared, until = Fared(), time.monotonic() + seconds
    work: list[Callable[[float], None]] = [lambda until: _behave(target, until, fared)] * CLIENTS
    for share in range(min(ATTACKERS, attack.connections)):
        count = len(range(share, attack.connections, ATTACKERS))
        work.append(_Attacker(target, attack, count, fared).run)
    with ThreadPoolExecutor(len(work)) as threads:
        for done in [threads.submit(one, until) for one in work]:
            done.result()
    return fared


def _behave(target: Target, until: float, fared: Fared) -> None:
    headers = {"Authorization": f"Bearer {target.key}", "Content-Type": "application/json"}
    for number in itertools.count():
        if time.monotonic() >= until:
            return
        started = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=20)
        try:
            if number % 4:
                connection.request("POST", "/v1/explain", ROWS, headers)
            else:
                connection.request("GET", "/version")
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
        #: How much each connection has sent, and the bytes that come next.
        self._sent: dict[socket.socket, int] = {}
        self._unsent: dict[socket.socket, memoryview] = {}

    def run(self, until: float) -> None:
        next_open = 0.0
        while (now := time.monotonic()) < until:
            if now >= next_open:  # a flood of connections would test the machine
                next_open = now + max(self._attack.pause, OPEN_SECONDS)
                self._open(until)
            for connection in list(self._sent):
                if not (self._send(connection) and self._is_open(connection)):
                    self._close(connection)
            time.sleep(min(max(self._attack.pause, ROUND_SECONDS), max(until - time.monotonic(), 0.0)))
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
            self._sent[connection] = 0
            self._unsent[connection] = memoryview(self._attack.first)

    def _send(self, connection: socket.socket) -> bool:
        """Send what fits; return whether the connection still takes it."""
        waiting = self._unsent[connection]
        if not waiting and self._sent[connection] < MOST_BYTES:
            waiting = memoryview(self._attack.piece)
        try:
            sent = connection.send(waiting) if waiting else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            return False
        self._sent[connection] += sent
        self._unsent[connection] = waiting[sent:]
        if self._attack.half_close and not self._unsent[connection]:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
        return True

    def _is_open(self, connection: socket.socket) -> bool:
        """Return whether the server holds it open; look at an answer's start without reading it."""
        try:
            start = connection.recv(64, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._fared.server_errors += start.startswith(b"HTTP/1.1 5")
        return bool(start)

    def _close(self, connection: socket.socket) -> None:
        del self._sent[connection], self._unsent[connection]
        connection.close()
