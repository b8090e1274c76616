"""The real server: what happens before and around the application."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from waitress import wasyncore

from services.api.components import Components
from services.api.http import server
from shared.build import ROOT
from shared.metrics import HTTP_CONNECTIONS_CLOSED, ClosedConnection
from shared.settings import Settings
from shared.timing import TIMING
from tests.integration.api.api_client import API_KEY, METRICS_TOKEN, OverHttp
from tests.integration.api.api_process import Process
from tests.integration.conftest import Logged
from tests.support.quick import check_quick, check_quick_by_own_clock

#: More answers than the sockets' buffers hold.
REQUESTS = 600
LARGE = b"x" * (3 * 2**20)


def raw(port: int, data: bytes, *, then: Callable[[socket.socket], None] = lambda _s: None) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(data)
        then(connection)
        received = b""
        while block := connection.recv(65536):
            received += block
        return received


@pytest.mark.parametrize(
    "sent", [b"", b"GET /version HTTP/1.1\r\n", b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"]
)
def test_a_client_that_breaks_its_connection_off_does_not_end_the_server(http: OverHttp, sent: bytes) -> None:
    for _ in range(20):
        connection = socket.create_connection(("127.0.0.1", http.port), timeout=60)
        connection.sendall(sent)
        assert http.get("/version").status == 200  # it has been taken
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()  # by a reset
        assert http.get("/version").status == 200


def test_a_body_beyond_the_limit_is_refused_and_its_client_hears_it(
    http: OverHttp, nothing_is_left: Callable[[], None], logged: Logged
) -> None:
    reply = http.post("/v1/jobs?model=diabetes", LARGE, "text/csv")
    assert (reply.status, reply.slug) == (413, "body-too-large")
    nothing_is_left()
    [line] = logged("POST /v1/jobs 413")
    assert f" request={reply.headers['x-request-id']}" in line


def test_a_chunked_body_beyond_the_limit_is_refused(
    http: OverHttp, nothing_is_left: Callable[[], None]
) -> None:
    head = (
        f"POST /v1/jobs?model=diabetes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\n"
        "Content-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"80000\r\n" + b"x" * 0x80000 + b"\r\n"
    answer = raw(http.port, head.encode() + chunk * 6 + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    nothing_is_left()


def test_a_large_body_without_a_key_is_not_taken_in(http: OverHttp, components: Components) -> None:
    reply = http.call("POST", "/v1/jobs", LARGE, {"Content-Type": "text/csv"}, key=None)
    assert (reply.status, reply.slug) == (401, "unauthorized")
    assert http.call("POST", "/v1/jobs", LARGE, {"Content-Type": "text/csv"}, key=METRICS_TOKEN).status == 403
    components.counters.flush()
    assert components.counters.read()["http_requests_total", "POST", "unmatched", "401"] == 1


def test_a_client_that_asks_first_is_refused_before_it_sends(http: OverHttp) -> None:
    head = (
        f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\nContent-Type: text/csv\r\n"
        "Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"
    )
    answer = raw(http.port, head.encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in answer


def test_a_chunked_body_is_read_like_any_other(http: OverHttp) -> None:
    body = json.dumps({"model": "diabetes", "rows": [[1.0] * 10]}).encode()
    head = (
        f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\nConnection: close\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunks = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    assert raw(http.port, head.encode() + chunks).startswith(b"HTTP/1.1 202 ")


def test_a_body_is_read_also_if_the_path_begins_with_more_slashes(http: OverHttp) -> None:
    body = json.dumps({"model": "diabetes", "rows": [[1.0] * 10]}).encode()
    head = (
        f"POST //v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    assert raw(http.port, head.encode() + body).startswith(b"HTTP/1.1 202 ")


def test_a_body_that_is_cut_off_leaves_nothing(http: OverHttp, nothing_is_left: Callable[[], None]) -> None:
    head = (
        f"POST /v1/jobs?model=diabetes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\n"
        "Content-Type: text/csv\r\nContent-Length: 500000\r\n\r\nage,sex\n"
    )
    raw(http.port, head.encode(), then=lambda connection: connection.shutdown(socket.SHUT_WR))
    nothing_is_left()


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 70_000 + b"\r\n\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: br\r\n\r\n", b"501"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 4301 + b"\r\n\r\n", b"400"),
        (b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x, y\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n folded\r\n\r\n", b"400"),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X%d: a\r\n" % n for n in range(200)) + b"\r\n",
            b"400",
        ),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", b"400"),
        (b"GET /\r\n\r\n", b"400"),
    ],
)
def test_a_request_that_is_not_http_is_answered_with_a_problem(
    http: OverHttp, request_head: bytes, status: bytes
) -> None:
    head, _, body = raw(http.port, request_head).partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == status
    assert b"application/problem+json" in head
    assert b"X-Request-Id: " in head
    problem = json.loads(body)
    http.contract.validate({"$ref": "#/components/schemas/Problem"}, problem)


def test_a_method_that_http_does_not_know_is_refused(http: OverHttp) -> None:
    assert http.call("BREW", "/v1/jobs").slug == "bad-request"


def check_healthy(http: OverHttp) -> None:
    assert http.get("/healthz").status == 200


def test_health_is_answered_while_as_many_as_may_wait_do(http: OverHttp) -> None:
    job = http.post_json("/v1/jobs", {"model": "diabetes", "rows": [[1.0] * 10]}).json
    threads = [threading.Thread(target=http.get, args=(f"{job['links']['self']}?wait=3",)) for _ in range(40)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    check_quick(1, lambda: check_healthy(http))
    for thread in threads:
        thread.join()


def test_one_connection_serves_many_requests(http: OverHttp) -> None:
    get = f"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\n"
    data = (get + "\r\n") * 3 + get + "Connection: close\r\n\r\n"
    assert raw(http.port, data.encode()).count(b"HTTP/1.1 200 OK") == 4


@pytest.fixture
def loop_turns(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the server's loop was woken."""
    turns: list[float] = []
    turn = wasyncore.loop

    def count(**named: Any) -> None:
        turn(**named)
        turns.append(time.monotonic())

    monkeypatch.setattr(wasyncore, "loop", count)
    return turns


def test_a_small_answer_is_sent_in_one_go(http: OverHttp) -> None:
    with socket.create_connection(("127.0.0.1", http.port), timeout=60) as connection:
        for _ in range(60):
            connection.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
            # A head that came alone would wake the client for nothing.
            assert head.startswith(b"HTTP/1.1 200 OK")
            assert json.loads(body)["version"]


def test_the_loop_does_not_turn_round_and_round_while_a_thread_sends(
    http: OverHttp, loop_turns: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    send = wasyncore.dispatcher.send
    sending, others_came = threading.Event(), threading.Event()

    def send_late(channel: wasyncore.dispatcher, *args: Any, **named: Any) -> int:
        sending.set()
        assert others_came.wait(60)
        return int(send(channel, *args, **named))

    monkeypatch.setattr(wasyncore.dispatcher, "send", send_late)
    with contextlib.ExitStack() as open_connections:

        def connect() -> socket.socket:
            return open_connections.enter_context(
                socket.create_connection(("127.0.0.1", http.port), timeout=60)
            )

        asking = connect()
        asking.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sending.wait(60)
        before = len(loop_turns)
        for _ in range(5):  # each wakes the loop, which then sees bytes that are not sent yet
            connect()
            time.sleep(0.05)
        turns = len(loop_turns) - before
        others_came.set()
        assert asking.recv(65536).startswith(b"HTTP/1.1 200 OK")
    assert 1 <= turns < 100  # the seconds of a busy machine take some, and a busy loop thousands


@pytest.mark.parametrize("pause", [0.0, 0.3])
def test_a_request_that_comes_in_pieces_after_another_is_answered(http: OverHttp, pause: float) -> None:
    request = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
    last = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

    def send_the_rest(connection: socket.socket) -> None:
        for piece in (request[:20], request[20:] + last[:30], last[30:-2], last[-2:]):
            time.sleep(pause)
            connection.sendall(piece)

    assert raw(http.port, request, then=send_the_rest).count(b"HTTP/1.1 200 OK") == 3


def test_no_request_is_forgotten_between_the_loop_and_the_threads(http: OverHttp) -> None:
    request = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
    chance = random.Random(7)
    cuts = [0, *sorted(chance.sample(range(400 * len(request)), 300)), 400 * len(request)]

    def send_in_pieces(connection: socket.socket) -> None:
        data = request * 400
        for start, stop in itertools.pairwise(cuts):
            connection.sendall(data[start:stop])
            time.sleep(chance.choice((0.0, 0.0, 0.0005, 0.001)))
        connection.shutdown(socket.SHUT_WR)

    assert raw(http.port, b"", then=send_in_pieces).count(b"HTTP/1.1 200 OK") == 400


def test_many_connections_in_turn_leave_threads_for_others(http: OverHttp) -> None:
    with contextlib.ExitStack() as open_connections:
        connections = [
            open_connections.enter_context(socket.create_connection(("127.0.0.1", http.port), timeout=60))
            for _ in range(100)
        ]
        seconds = []
        for _ in range(5):
            for connection in connections:
                connection.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
            started = time.monotonic()
            assert http.get("/healthz").status == 200
            seconds.append(time.monotonic() - started)
            for connection in connections:
                assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
    assert statistics.median(seconds) < 1  # a machine may be busy at once


def timeouts(components: Components) -> float:
    components.counters.flush()
    return components.counters.read().get((HTTP_CONNECTIONS_CLOSED.name, ClosedConnection.TIMEOUT), 0)


def test_a_client_that_takes_no_bytes_is_let_go(
    http: OverHttp, components: Components, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., float]
) -> None:
    monkeypatch.setattr(server, "TIMING", replace(TIMING, http_idle_seconds=0.5))
    with socket.create_connection(("127.0.0.1", http.port), timeout=60) as connection:
        connection.sendall(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * REQUESTS)  # and reads nothing
        wait_until(lambda: timeouts(components) == 1)
        received = 0
        with contextlib.suppress(ConnectionError):
            while block := connection.recv(65536):
                received += len(block)
    assert 0 < received < REQUESTS * len(http.get("/docs").body)


def test_the_process_starts_without_redis_and_serves_when_it_comes(
    start: Callable[[], Process], server: Any, wait_until: Callable[..., float]
) -> None:
    server.kill()
    process = start()
    assert process.http.get("/v1/jobs").status == 503
    server.start()
    wait_until(lambda: process.http.get("/v1/jobs").status == 200)


@pytest.mark.usefixtures("server")
def test_sigterm_lets_who_waits_go_and_ends_the_process(
    start: Callable[[], Process], wait_until: Callable[..., float]
) -> None:
    body = {"model": "diabetes", "rows": [[1.0] * 10]}

    def stop_one() -> float:
        process = start()
        accepted = len(process.http.get("/v1/jobs").json["jobs"])
        replies: list[Any] = []
        waiting = threading.Thread(target=lambda: replies.append(process.http.post_json("/v1/explain", body)))
        waiting.start()
        wait_until(lambda: len(process.http.get("/v1/jobs").json["jobs"]) > accepted)
        seconds = stop(process)
        waiting.join()
        assert replies[0].status == 202
        assert "Traceback" not in process.log.read_text()
        return seconds

    check_quick_by_own_clock(3, stop_one)


def stop(process: Process) -> float:
    """Return the seconds that a process takes to end after SIGTERM."""
    started = time.monotonic()
    process.process.send_signal(signal.SIGTERM)
    assert process.process.wait(60) == 0
    return time.monotonic() - started


def test_sigterm_ends_the_process_also_while_redis_hangs(start: Callable[[], Process], server: Any) -> None:
    def stop_one() -> float:
        process = start()
        process.http.get("/v1/jobs")
        server.signal(signal.SIGSTOP)
        seconds = stop(process)
        server.signal(signal.SIGCONT)
        return seconds

    check_quick_by_own_clock(5, stop_one)


def test_a_process_that_cannot_start_says_why_in_one_line(settings: Settings) -> None:
    environment = {**os.environ, "DATA_DIR": str(settings.data_dir), "PORT": "70000"}
    done = subprocess.run(
        [sys.executable, "-m", "services.api"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "PORT" in done.stderr
    assert "Traceback" not in done.stderr
