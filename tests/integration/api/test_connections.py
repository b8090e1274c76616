"""The server's limits on heads, bodies and connections."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any

import pytest
from waitress import wasyncore
from waitress.buffers import OverflowableBuffer
from waitress.parser import HTTPRequestParser

from services.api.app import create_app
from services.api.capacity.disk import UploadDisk
from services.api.components import Components
from services.api.http import channel, server
from services.api.http.access_log import AccessLog, StartResponse
from services.api.http.admission import Admission
from services.api.http.chunked_body import ChunkedBody
from services.api.http.server import UNSENT_BYTES, Server
from shared.metrics import HTTP_CONNECTIONS_CLOSED, ClosedConnection
from shared.timing import TIMING
from tests.integration.api.api_client import API_KEY, OverHttp
from tests.support.quick import check_quick

type App = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]
type Serve = Callable[..., "Served"]

GET = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
ASK = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
KEYED = f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\n".encode()
CHUNKED = KEYED + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = b'{"model": "diabetes", "rows": [[1,1,1,1,1,1,1,1,1,1]]}'


class Echo:
    """A resource that takes bodies."""

    access = "jobs"

    def on_post(self) -> None:
        """Tell the server that there is such a method."""


def say_length(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    body = b"read %d" % len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


LONG = 400_000


def say_long(_environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", str(LONG))])
    return [b"x" * LONG]


class Served:
    """A real server."""

    def __init__(self, made: Server) -> None:
        self._server = made
        self.port = made.port
        self.thread = threading.Thread(target=made.run)
        self.thread.start()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def connect_slow(self) -> socket.socket:
        """Connect a client that takes little at a time."""
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(60)
        slow.connect(("127.0.0.1", self.port))
        return slow

    def channels(self) -> list[channel.Channel]:
        return self._server.channels

    def stop(self) -> None:
        self._server.stop()

    def states(self) -> list[str]:
        """Return the states of its connections, as the system numbers them."""
        lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
        return [line[3] for line in lines if line[1].endswith(f":{self.port:04X}") and line[3] != "0A"]


@pytest.fixture
def serve(components: Components) -> Iterator[Serve]:
    """Serve the api, or an application that stands in its place, on a server of its own."""
    with contextlib.ExitStack() as stack:

        def start(app: App | None = None, **changes: Any) -> Served:
            settings = replace(components.settings, **changes)
            admission = Admission(settings, UploadDisk(settings.tmp_dir, 1), lambda _path: (Echo(),))
            served_app = create_app(components) if app is None else AccessLog(app, components.counters)
            served = Served(Server(served_app, admission, settings, components.counters))
            stack.callback(served.thread.join)
            stack.callback(served.stop)
            return served

        yield start


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set times of connections."""

    def scale(**seconds: float) -> None:
        for module in (server, channel):
            monkeypatch.setattr(module, "TIMING", replace(TIMING, **seconds))
        monkeypatch.setattr(server, "EXPIRY_SECONDS", 0.05)

    return scale


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Set how many connections there may be, and how many in reserve."""

    def limit(connections: int, reserved: int) -> None:
        monkeypatch.setattr(server, "CONNECTIONS", connections)
        monkeypatch.setattr(server, "RESERVED_CONNECTIONS", reserved)

    return limit


class Remote(IPv4Address):
    """An address that does not count as loopback."""

    is_loopback = False


@pytest.fixture
def as_if_remote(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat loopback as any address."""
    monkeypatch.setattr(server, "ip_address", Remote)


def rest(connection: socket.socket) -> bytes:
    """Read to the end; a reset is an end."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while block := connection.recv(65536):
            received += block
    return received


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
    components.counters.flush()
    sums = components.counters.read()
    return {
        reason.value: int(sums[HTTP_CONNECTIONS_CLOSED.name, reason])
        for reason in ClosedConnection
        if (HTTP_CONNECTIONS_CLOSED.name, reason) in sums
    }


# --- Requests ---


@pytest.mark.parametrize(
    "body",
    [
        b"0" * 2000,
        b"5;x=" + b"a" * 2000,
        b"1;" + b"x" * 1100 + b"\r\n \r\n0\r\n\r\n",
        (b"1;" + b"x" * 400 + b"\r\n \r\n") * 100,
        (b"400;" + b"x" * 400 + b"\r\n" + b" " * 1024 + b"\r\n") * 42,
        b"0\r\n" + (b"X: " + b"y" * 400 + b"\r\n") * 50,
        b"0\r\nX: " + b"y" * 20_000,
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\r\n\r\n0\r\n\r\n",
        b"0\r\nX: y\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"5_0\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_a_chunked_body_that_is_wrong_or_mostly_framing_is_refused(http: OverHttp, body: bytes) -> None:
    with socket.create_connection(("127.0.0.1", http.port), timeout=60) as connection:
        connection.sendall(CHUNKED + body)
        assert status(connection) == 400
        assert rest(connection) == b""


@pytest.mark.parametrize("extension", [b"", b";name=value"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_chunks_of_any_size_with_extensions_and_a_trailer_are_read(
    http: OverHttp, size: int, extension: bytes
) -> None:
    chunks = [BODY[at : at + size] for at in range(0, len(BODY), size)]
    body = (
        b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
        + b"0\r\nX: y\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", http.port), timeout=60) as connection:
        for at in range(0, len(CHUNKED + body), 333):
            connection.sendall((CHUNKED + body)[at : at + 333])
        assert status(connection) == 202
        connection.sendall(GET)
        assert status(connection) == 200


@pytest.mark.parametrize("cut", [1, 2, 3, 20, 1000])
def test_tiny_chunks_are_read_wherever_they_are_cut_and_mostly_without_a_call_for_each_line(
    monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    lines: list[bytes] = []
    read_line = ChunkedBody._read_line

    def note(body: ChunkedBody, line: bytes) -> None:
        lines.append(line)
        read_line(body, line)

    monkeypatch.setattr(ChunkedBody, "_read_line", note)
    body = ChunkedBody(OverflowableBuffer(65536))
    sent = b"1\r\n\n\r\n2\r\n\r\n\r\n" * 1000 + b"0\r\n\r\nGET"
    at = 0
    while not body.completed:
        at += body.received(sent[at : at + cut])
    assert body.getbuf().get(-1) == b"\n\r\n" * 1000
    assert sent[at:] == b"GET"
    assert cut < 1000 or len(lines) < 100


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"GET /version HTTP/1.1\r\nHost: x\r\nX:" + b" " * 30_000 + b"a\r\n\r\n", 400),
        (b"GET a://" + b"0" * 30_000 + b" x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /version HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 120 + b"\r\n", 200),
        (b"GET /version HTTP/1.1\r\nHost: x\r\nX:\t a  b \t\r\nY:\r\n\r\n", 200),
        (b"\r\n\r\nGET /version HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET /version HTTP/1.0\r\n\r\n", 200),
    ],
)
def test_a_head_takes_no_longer_than_its_length(http: OverHttp, head: bytes, expected: int) -> None:
    def send() -> None:
        with socket.create_connection(("127.0.0.1", http.port), timeout=60) as connection:
            connection.sendall(head)
            assert status(connection) == expected

    check_quick(2, send)


def test_http_1_0_clients_are_answered_and_may_keep_their_connection(http: OverHttp) -> None:
    with socket.create_connection(("127.0.0.1", http.port), timeout=60) as connection:
        connection.sendall(b"GET /version HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert status(connection) == 200
        connection.sendall(b"GET /version HTTP/1.0\r\n\r\n")
        assert b"200 OK" in rest(connection)


@pytest.mark.parametrize(
    ("request_bytes", "statuses"),
    [
        # The body's end is ambiguous: it is read as chunks, answered, and the connection closed.
        (
            KEYED
            + b"Content-Type: application/json\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY) + GET,
            [202],
        ),
        (KEYED + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd" + GET, [400]),
        (KEYED + b"Content-Length: +4\r\n\r\nabcd" + GET, [400]),
        (KEYED + b"Content-Length: 4, 4\r\n\r\nabcd" + GET, [400]),
        (KEYED + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + GET, [501]),
        (KEYED + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + GET, [501]),
        (KEYED + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + GET, [400]),
        (KEYED + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + GET, [400]),
        (KEYED.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET, [400]),
        # Without a key the body is not read: it must not become a request.
        (b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(GET) + GET, [401]),
        (b"GET /version HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(GET) + GET, [200]),
        (b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(GET) + GET, [404]),
        (b"GET /version HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n" + GET, [200, 200]),
    ],
)
def test_no_part_of_a_request_is_taken_for_another_one(
    http: OverHttp, request_bytes: bytes, statuses: list[int]
) -> None:
    with socket.create_connection(("127.0.0.1", http.port), timeout=60) as connection:
        connection.sendall(request_bytes)
        connection.shutdown(socket.SHUT_WR)
        found = re.findall(rb"HTTP/1\.[01] (\d+) [A-Z]", rest(connection))
    assert [int(each) for each in found] == statuses


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\n", 401),
        (KEYED.replace(b"/v1/jobs", b"/v1/nowhere"), 404),
        (KEYED.replace(b"POST", b"PUT"), 405),
        (KEYED.replace(b"/v1/jobs", b"/v1/workers/recycle"), 403),
        (KEYED + b"Content-Type: image/png\r\n", 415),
        (KEYED + b"Content-Type: text/csv; charset*=x; charset*0*=y\r\n", 415),
    ],
)
def test_a_request_that_is_refused_anyway_is_answered_before_its_body(
    http: OverHttp, head: bytes, expected: int
) -> None:
    for length in (b"Content-Length: 50000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", http.port), timeout=60) as connection:
            connection.sendall(head + length)
            assert status(connection) == expected
            connection.sendall(b"x" * 100_000)  # it is still dropped, so that the answer arrives
            assert rest(connection) == b""


@pytest.mark.parametrize("first", [b"", GET])
def test_a_fault_of_ours_at_a_head_is_answered_with_500_and_ends_nothing(
    http: OverHttp, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    def fail(*_given: object) -> None:
        raise TypeError

    monkeypatch.setattr(Admission, "admit", fail)
    with socket.create_connection(("127.0.0.1", http.port), timeout=60) as connection:
        connection.sendall(first + KEYED + b"Content-Length: 2\r\n\r\n")
        received = rest(connection)
    assert [int(each) for each in re.findall(rb"HTTP/1.1 (\d+)", received)] == [200] * bool(first) + [500]
    assert b"application/problem+json" in received
    assert http.get("/version").status == 200


def test_a_connection_that_fails_while_its_next_request_is_read_is_closed_alone(
    http: OverHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_given: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(channel.Channel, "send_continue", fail)
    asking = KEYED + b"Content-Type: text/csv\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    with socket.create_connection(("127.0.0.1", http.port), timeout=60) as connection:
        connection.sendall(GET + asking)
        assert rest(connection).count(b"HTTP/1.1 ") == 1
    assert http.get("/version").status == 200


def test_a_get_with_a_body_needs_no_content_type(http: OverHttp) -> None:
    with socket.create_connection(("127.0.0.1", http.port), timeout=60) as connection:
        for _ in range(2):
            connection.sendall(KEYED.replace(b"POST", b"GET") + b"Content-Length: 2\r\n\r\n{}")
            assert status(connection) == 200


def test_an_answer_without_a_body_keeps_the_connection_open(http: OverHttp) -> None:
    with socket.create_connection(("127.0.0.1", http.port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        tag = re.search(rb"Etag: ([^\r]+)", answer(connection), re.IGNORECASE)
        assert tag
        for _ in range(3):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: %b\r\n\r\n" % tag[1])
            head = answer(connection)
            assert head.startswith(b"HTTP/1.1 304 ")
            assert b"Connection: close" not in head


def test_a_client_that_ends_its_side_still_gets_its_answers(http: OverHttp) -> None:
    with socket.create_connection(("127.0.0.1", http.port), timeout=60) as connection:
        connection.sendall(GET * 5)
        connection.shutdown(socket.SHUT_WR)
        assert rest(connection).count(b"200 OK") == 5


def test_a_client_that_ends_its_side_gets_all_of_a_long_last_answer(serve: Serve) -> None:
    served = serve(say_long)
    with served.connect_slow() as slow:
        slow.sendall(ASK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        slow.shutdown(socket.SHUT_WR)
        time.sleep(0.2)
        assert rest(slow).count(b"x") >= LONG


# --- Times ---


def test_a_head_that_takes_too_long_is_answered_with_408(http: OverHttp, times: Callable[..., None]) -> None:
    times(http_head_seconds=0.5)
    with socket.create_connection(("127.0.0.1", http.port), timeout=60) as connection:
        started = time.monotonic()
        connection.sendall(GET[:20])
        with contextlib.suppress(ConnectionError):
            for _ in range(8):  # it is no idle connection
                time.sleep(0.1)
                connection.sendall(b"a")
        assert status(connection) == 408
        assert rest(connection) == b""
        assert time.monotonic() - started < TIMING.http_head_seconds


def test_a_small_body_has_a_deadline_and_a_large_one_must_make_progress(
    http: OverHttp, times: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    times(http_body_seconds=1.5)
    monkeypatch.setattr(channel, "SLOWEST_BYTES_PER_SECOND", 20_000)
    head = KEYED + b"Content-Type: text/csv\r\nContent-Length: 900000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", http.port), timeout=60) as connection:
        connection.sendall(head + b"x")
        started, sent = time.monotonic(), 0
        while sent < 60_000:
            time.sleep(0.1)
            due = int(30_000 * (time.monotonic() - started))  # 1.5 times as fast as it must be
            connection.sendall(b"x" * (due - sent))
            sent = due
        connection.settimeout(0.01)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(60)
        assert status(connection) == 408


def test_an_idle_connection_is_closed(
    http: OverHttp, times: Callable[..., None], components: Components
) -> None:
    times(http_idle_seconds=0.3)
    with socket.create_connection(("127.0.0.1", http.port), timeout=60) as connection:
        assert connection.recv(1) == b""
    assert closed(components) == {"timeout": 1}


def test_what_comes_after_a_refusal_is_dropped_for_a_time_only(
    http: OverHttp, times: Callable[..., None], components: Components
) -> None:
    times(http_linger_seconds=0.5)
    with socket.create_connection(("127.0.0.1", http.port), timeout=60) as connection:
        started = time.monotonic()
        connection.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        assert status(connection) == 401
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < started + TIMING.http_linger_seconds:
                connection.sendall(b"x" * 1000)
                time.sleep(0.01)
        assert 0.5 <= time.monotonic() - started < TIMING.http_linger_seconds
    assert closed(components) == {"timeout": 1}


def test_a_clock_that_is_set_back_keeps_no_connection_open(
    serve: Serve,
    times: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., float],
) -> None:
    times(http_linger_seconds=0.5, http_idle_seconds=1)
    served = serve(say_length)
    with served.connect() as lingering, served.connect() as idle:
        idle.sendall(ASK)
        assert answer(idle).endswith(b"read 0")
        lingering.sendall(ASK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert rest(lingering).endswith(b"read 0")
        wait_until(lambda: sum(one.lingering for one in served.channels()) == 1)
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() - 3600)
        wait_until(lambda: not served.channels())


# --- Numbers of connections ---


def test_a_new_connection_replaces_the_one_that_has_been_idle_for_longest(
    serve: Serve,
    limits: Callable[[int, int], None],
    components: Components,
    wait_until: Callable[..., float],
) -> None:
    limits(5, 0)
    served = serve()
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(served.connect()) for _ in range(5)]
        for connection in connections:
            connection.sendall(GET)
            assert status(connection) == 200
        connections[1].sendall(GET)
        assert status(connections[1]) == 200
        # A thread may still be at work on an answer that has come.
        wait_until(lambda: not any(one.requests for one in served.channels()))
        stack.enter_context(served.connect()).sendall(GET)
        assert rest(connections[0]) == b""
        newest = stack.enter_context(served.connect())
        newest.sendall(GET)
        assert status(newest) == 200
        assert rest(connections[2]) == b""  # the second one has had a request meanwhile
        connections[1].sendall(GET)
        assert status(connections[1]) == 200
    assert closed(components)["evicted"] == 2


def test_a_body_with_a_key_and_a_request_in_work_are_not_closed_for_others(
    serve: Serve, limits: Callable[[int, int], None], wait_until: Callable[..., float]
) -> None:
    limits(3, 2)
    working = threading.Event()

    def work(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/long":
            assert working.wait(60)
        return say_length(environ, start_response)

    served = serve(work)
    with contextlib.ExitStack() as stack:
        body, long = stack.enter_context(served.connect()), stack.enter_context(served.connect())
        body.sendall(KEYED.replace(b"/v1/jobs", b"/echo") + b"Content-Length: 5\r\n\r\nhe")
        long.sendall(ASK.replace(b"/echo", b"/long"))
        wait_until(lambda: sum(bool(one.request or one.requests) for one in served.channels()) == 2)
        others = [stack.enter_context(served.connect()) for _ in range(10)]
        others[-1].sendall(ASK)
        assert answer(others[-1]).endswith(b"read 0")
        body.sendall(b"llo")
        assert answer(body).endswith(b"read 5")
        working.set()
        assert answer(long).endswith(b"read 0")


@pytest.mark.usefixtures("as_if_remote")
def test_health_checks_are_answered_when_all_connections_are_at_work(
    serve: Serve, limits: Callable[[int, int], None], wait_until: Callable[..., float]
) -> None:
    limits(3, 2)
    working = threading.Event()

    def work(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/long":
            assert working.wait(60)
        if refusal := environ["shapbox.refusal"]:
            start_response(f"{refusal.status} Refused", [("Content-Length", "0")])
            return []
        return say_length(environ, start_response)

    served = serve(work)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(served.connect()).sendall(ASK.replace(b"/echo", b"/long"))
        wait_until(lambda: sum(bool(one.requests) for one in served.channels()) == 3)
        for path, expected in ((b"/healthz", 200), (b"/echo", 503), (b"/readyz", 200)):
            with served.connect() as connection:
                connection.sendall(ASK.replace(b"/echo", path))
                assert status(connection) == expected
            wait_until(lambda: len(served.channels()) == 3)
        working.set()


@pytest.mark.usefixtures("as_if_remote")
def test_a_connection_for_health_checks_serves_everything_once_there_is_room(
    serve: Serve, limits: Callable[[int, int], None], wait_until: Callable[..., float]
) -> None:
    limits(1, 2)
    served = serve()
    upload = KEYED + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(served.connect())
        busy.sendall(upload)
        wait_until(lambda: any(one.request for one in served.channels()))
        with served.connect() as refused:
            refused.sendall(upload)  # and not its body
            received = answer(refused)
            assert received.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 2" in received.lower()
        wait_until(lambda: len(served.channels()) == 1)
        health = stack.enter_context(served.connect())
        health.sendall(GET.replace(b"/version", b"/healthz"))
        answer(health)
        busy.sendall(BODY)
        assert status(busy) == 202
        wait_until(lambda: not any(one.requests for one in served.channels()))
        for _ in range(2):
            health.sendall(GET)
            assert status(health) == 200


def test_an_answer_that_is_still_being_sent_is_not_cut_off_while_others_are_idle(
    serve: Serve, limits: Callable[[int, int], None], wait_until: Callable[..., float]
) -> None:
    limits(3, 0)
    served = serve(say_long)
    with contextlib.ExitStack() as stack:
        slow = stack.enter_context(served.connect_slow())
        slow.sendall(ASK)
        wait_until(lambda: any(one.total_outbufs_len and not one.requests for one in served.channels()))
        idle = [stack.enter_context(served.connect()) for _ in range(2)]
        wait_until(lambda: len(served.channels()) == 3)
        time.sleep(server.FRESH_SECONDS)
        for each in idle:
            stack.enter_context(served.connect())
            assert rest(each) == b""
        slow.shutdown(socket.SHUT_WR)
        assert rest(slow).count(b"x") >= LONG


def test_an_answer_whose_client_reads_outlasts_those_who_only_connect(
    serve: Serve, limits: Callable[[int, int], None]
) -> None:
    limits(10, 0)
    length = 4_000_000

    def say_much(_environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(length))])
        return [b"x" * length]

    served = serve(say_much)
    with contextlib.ExitStack() as stack:
        reading = stack.enter_context(served.connect_slow())
        reading.sendall(ASK)
        taken = 0
        while taken < length and (block := reading.recv(4096)):
            taken += block.count(b"x")
            if taken // 200_000 > (taken - len(block)) // 200_000:  # the server sends on meanwhile
                stack.enter_context(served.connect())
    assert taken >= length


def test_a_connection_that_was_just_opened_is_not_closed_for_answers_that_nobody_reads(
    serve: Serve, limits: Callable[[int, int], None], wait_until: Callable[..., float]
) -> None:
    limits(3, 0)
    served = serve(say_long)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(served.connect_slow()).sendall(ASK * 2)
        wait_until(lambda: all(one.total_outbufs_len and not one.requests for one in served.channels()))
        # The system has taken all that it keeps for those who do not read.
        wait_until(lambda: all(time.monotonic() - one.last_activity > 0.5 for one in served.channels()))
        fresh = [stack.enter_context(served.connect()) for _ in range(3)]
        for connection in fresh:
            connection.sendall(ASK)
            assert answer(connection).count(b"x") >= LONG


def test_a_connection_whose_first_request_may_be_on_its_way_is_closed_last(
    serve: Serve, limits: Callable[[int, int], None], wait_until: Callable[..., float]
) -> None:
    limits(3, 0)
    served = serve(say_length)
    with contextlib.ExitStack() as stack:
        new, answered, other = (stack.enter_context(served.connect()) for _ in range(3))
        for connection in (answered, other):
            connection.sendall(ASK)
            assert answer(connection).endswith(b"read 0")
        wait_until(lambda: not any(one.requests for one in served.channels()))
        stack.enter_context(served.connect())
        assert rest(answered) == b""
        new.sendall(ASK)
        assert answer(new).endswith(b"read 0")


def test_an_event_of_a_connection_that_was_replaced_is_not_taken_for_one_of_the_next(
    components: Components, limits: Callable[[int, int], None]
) -> None:
    """A new connection has the number of the one that it replaces."""
    limits(20, 0)
    made = Server(
        AccessLog(say_length, components.counters),
        Admission(components.settings, UploadDisk(components.settings.tmp_dir, 1), lambda _path: (Echo(),)),
        components.settings,
        components.counters,
    )

    def turn() -> None:
        for _ in range(5):
            made._turn(0.05)

    with contextlib.ExitStack() as stack:

        def connect() -> list[socket.socket]:
            address = ("127.0.0.1", made.port)
            return [stack.enter_context(socket.create_connection(address, timeout=60)) for _ in range(20)]

        replaced = connect()
        turn()
        for connection in replaced:  # heard of in the turn in which the others come
            connection.sendall(b"G")
        new = connect()
        turn()
        for connection in new:
            connection.sendall(ASK)
        made.stop()
        made.run()
        assert [answer(connection)[-6:] for connection in new] == [b"read 0"] * 20


def test_pipelined_requests_of_some_leave_their_turn_to_others(serve: Serve) -> None:
    served = serve(say_length)
    many = server.PIPELINED * 5
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(served.connect()) for _ in range(many)]
        for connection in connections:
            connection.sendall(ASK * 50)
            connection.shutdown(socket.SHUT_WR)
        for connection in connections:
            assert rest(connection).count(b"read 0") == 50


def test_a_connection_that_cannot_be_let_in_leaves_the_listener_open(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(say_length)
    with monkeypatch.context() as patch:
        patch.setattr(server, "ip_address", int)
        with served.connect() as strange:
            assert rest(strange) == b""
    with served.connect() as usual:
        usual.sendall(ASK)
        assert answer(usual).endswith(b"read 0")


@pytest.mark.usefixtures("as_if_remote")
def test_one_address_has_its_own_limit_and_replaces_its_own_connections(
    serve: Serve, components: Components
) -> None:
    served = serve(max_connections_per_address=4, trusted_proxies=())
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(served.connect()) for _ in range(10)]
        for connection in connections[:6]:
            assert rest(connection) == b""
        for connection in connections[6:]:
            connection.sendall(GET)
            assert status(connection) == 200
    assert closed(components)["evicted"] == 6


@pytest.mark.usefixtures("as_if_remote")
def test_the_connections_of_a_trusted_proxy_are_exempt_from_it(serve: Serve) -> None:
    served = serve(max_connections_per_address=4, trusted_proxies=(ip_network("127.0.0.0/8"),))
    with contextlib.ExitStack() as stack:
        for connection in [stack.enter_context(served.connect()) for _ in range(10)]:
            connection.sendall(GET)
            assert status(connection) == 200


def check_served(http: OverHttp) -> None:
    assert http.get("/version").status == 200


def test_connections_that_do_nothing_keep_nobody_out(http: OverHttp) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(400):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", http.port), timeout=60))
            connection.sendall(GET[:10])
        check_quick(1, lambda: check_served(http))


# --- The moments in which the loop and a thread, or a thread and the stop, meet ---


def test_a_body_is_asked_for_once_however_often_the_loop_is_woken_meanwhile(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = wasyncore.dispatcher.send
    sending, others_came = threading.Event(), threading.Event()

    def send_late(part: wasyncore.dispatcher, data: bytes, **named: Any) -> int:
        if b"100 Continue" in data:
            sending.set()
            assert others_came.wait(60)
        return int(send(part, data, **named))

    served = serve(say_length)
    with contextlib.ExitStack() as stack:
        asking = stack.enter_context(served.connect())
        asking.sendall(ASK)
        assert answer(asking).endswith(b"read 0")
        monkeypatch.setattr(wasyncore.dispatcher, "send", send_late)
        asking.sendall(
            KEYED.replace(b"/v1/jobs", b"/echo") + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
        assert sending.wait(60)
        for _ in range(3):
            stack.enter_context(served.connect())
            time.sleep(0.05)
        others_came.set()
        time.sleep(0.1)
        assert answer(asking) == b"HTTP/1.1 100 Continue\r\n\r\n"
        asking.sendall(b"hello")
        received = answer(asking)
        assert received.startswith(b"HTTP/1.1 200")
        assert b"100 Continue" not in received
        assert received.endswith(b"read 5")


def test_a_connection_to_be_closed_is_closed_also_if_its_client_reads_late(
    serve: Serve, times: Callable[..., None], wait_until: Callable[..., float]
) -> None:
    times(http_idle_seconds=5)
    size = (
        UNSENT_BYTES * 7 // 8
    )  # so much is sent at once, but nothing can be written after it until half is read

    def say_much(_environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(size))])
        return [b"x" * size]

    served = serve(say_much)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(60)
        slow.connect(("127.0.0.1", served.port))
        slow.sendall(ASK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        wait_until(lambda: "04" in served.states())  # it has ended its side, and the system sends on
        assert rest(slow).count(b"x") >= size


def test_an_answer_that_was_long_in_coming_is_not_taken_for_one_that_nobody_reads(
    serve: Serve, times: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    times(http_idle_seconds=0.3)
    monkeypatch.setattr(server, "EXPIRY_SECONDS", 0.0)  # the loop looks at every turn
    send = wasyncore.dispatcher.send
    sending, others_came = threading.Event(), threading.Event()

    def send_late(part: wasyncore.dispatcher, data: bytes, **named: Any) -> int:
        sending.set()
        assert others_came.wait(60)
        return int(send(part, data, **named))

    def say_late(_environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        time.sleep(0.5)
        start_response("200 OK", [("Content-Length", "200000")])
        yield b"x" * 100_000
        time.sleep(0.1)  # a loop that has decided to close comes to it now
        yield b"x" * 100_000

    monkeypatch.setattr(wasyncore.dispatcher, "send", send_late)
    served = serve(say_late)
    with contextlib.ExitStack() as stack:
        asking = stack.enter_context(served.connect())
        asking.sendall(ASK)
        assert sending.wait(60)
        for _ in range(3):  # each makes the loop look
            stack.enter_context(served.connect())
            time.sleep(0.02)
        others_came.set()
        received = b""
        while received.count(b"x") < 200_000 and (block := asking.recv(65536)):
            received += block
    assert received.count(b"x") == 200_000


def test_requests_that_have_come_by_the_stop_are_answered(serve: Serve) -> None:
    stopping = threading.Event()

    def say_late(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        stopping.set()
        time.sleep(0.6)
        return say_length(environ, start_response)

    served = serve(say_late)
    with served.connect() as asking:
        asking.sendall(ASK * 2)
        assert stopping.wait(60)
        served.stop()
        assert answer(asking).endswith(b"read 0")
        assert answer(asking).endswith(b"read 0")
        served.thread.join(60)
    assert not served.thread.is_alive()


def test_what_came_after_a_last_request_does_not_delay_the_stop(
    serve: Serve, wait_until: Callable[..., float]
) -> None:
    served = serve(say_length)
    with served.connect() as asking:
        asking.sendall(ASK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + ASK)
        assert rest(asking).endswith(b"read 0")
        wait_until(lambda: not any(one.ahead for one in served.channels()))
        started = time.monotonic()
        served.stop()
        served.thread.join(60)
        assert time.monotonic() - started < server.STOP_SECONDS  # at which a connection is given up


def test_a_request_that_comes_after_the_stop_is_answered_while_another_one_is_in_work(serve: Serve) -> None:
    working, go_on = threading.Event(), threading.Event()

    def work(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/long":
            working.set()
            assert go_on.wait(60)
        return say_length(environ, start_response)

    served = serve(work)
    with served.connect() as kept, served.connect() as long:
        kept.sendall(ASK)
        assert answer(kept).endswith(b"read 0")
        long.sendall(ASK.replace(b"/echo", b"/long"))
        assert working.wait(60)
        served.stop()
        time.sleep(0.1)
        kept.sendall(ASK)
        assert answer(kept).endswith(b"read 0")
        go_on.set()
        assert answer(long).endswith(b"read 0")
        served.thread.join(60)
        assert rest(kept) == b""
    assert not served.thread.is_alive()


def test_a_thread_may_wake_the_loop_after_the_stop(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's pipe must still be there: its number could be another connection's."""
    monkeypatch.setattr(server, "STOP_SECONDS", 0.2)
    stopped, woken = threading.Event(), threading.Event()

    def stream(_environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "900000")])
        try:
            yield b"x" * 200_000
            yield b"x" * 150_000
            assert stopped.wait(60)
            yield b"x" * 100_000
        finally:
            raise SystemExit  # wakes the loop, so that it closes the connection

    served = serve(stream)
    listener = served._server._listeners[0]
    wake, pipe = listener.pull_trigger, listener.trigger.trigger
    inode = os.fstat(pipe).st_ino

    def note() -> None:
        wake()
        if stopped.is_set():
            woken.set()

    monkeypatch.setattr(listener, "pull_trigger", note)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", served.port))
        slow.sendall(ASK)
        slow.recv(1, socket.MSG_PEEK)
        time.sleep(0.2)
        served.stop()
        served.thread.join(60)
        assert not served.thread.is_alive()
        stopped.set()
        assert woken.wait(60)
    assert os.fstat(pipe).st_ino == inode


@pytest.mark.parametrize(
    ("fault", "disk_is_full", "most_calls"),
    [(SystemExit, True, 1), (MemoryError, True, 1), (SystemExit, False, 1), (MemoryError, False, 2)],
)
def test_a_request_that_brings_its_thread_down_is_not_tried_for_ever(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    fault: type[BaseException],
    *,
    disk_is_full: bool,
    most_calls: int,
) -> None:
    calls: list[str] = []

    def fall(_environ: dict[str, Any], _start_response: StartResponse) -> Iterable[bytes]:
        calls.append("")
        raise fault

    def fail_to_close(_request: object) -> None:
        raise OSError

    served = serve(fall)
    if disk_is_full:
        monkeypatch.setattr(HTTPRequestParser, "close", fail_to_close)
    with served.connect() as asking:
        asking.sendall(ASK)
        assert asking.recv(65536) == b""
    assert 1 <= len(calls) <= most_calls  # the second call is to answer with a problem


def test_an_application_that_fails_is_answered_for_with_a_problem(serve: Serve) -> None:
    def fail(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["shapbox.refusal"] is None:
            raise RuntimeError
        start_response(f"{environ['shapbox.refusal'].status} Failed", [("Content-Length", "0")])
        return []

    served = serve(fail)
    with served.connect() as asking:
        asking.sendall(ASK)
        assert rest(asking).startswith(b"HTTP/1.1 500 ")
