"""The server's limits in time and number, and which connection gives way to another."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable
from ipaddress import ip_network
from typing import Any

import pytest

from services.api.components import Components
from services.api.http import channel, server
from services.api.http.access_log import AccessLog, StartResponse
from shared.timing import TIMING
from tests.integration.api.api_client import OverHttp
from tests.integration.api.served import (
    ASK,
    BODY,
    GET,
    KEYED,
    LONG,
    Serve,
    Served,
    answer,
    closed,
    connect,
    exchange,
    last,
    rest,
    say_length,
    say_much,
    status,
)

type Times = Callable[..., None]
type Limits = Callable[[int, int], None]
type Wait = Callable[..., float]

#: A body of CSV, and one of JSON, are yet to come.
UPLOAD = KEYED + b"Content-Type: text/csv\r\nContent-Length: 900000\r\n\r\n"
EXPLAIN = KEYED + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
LONG_ASK = ASK.replace(b"/echo", b"/long")


def quiet(served: Served) -> bool:
    """Return whether no thread is at work any more, also not on an answer that has come."""
    return not any(one.requests for one in served.channels)


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


# --- Times ---


def test_a_head_that_takes_too_long_is_answered_with_408(http: OverHttp, times: Times) -> None:
    times(http_head_seconds=0.5)
    with connect(http.port) as connection:
        connection.sendall(GET[:20])
        with contextlib.suppress(ConnectionError):
            for _ in range(8):  # it is no idle connection
                time.sleep(0.1)
                connection.sendall(b"a")
        assert status(connection) == 408
        assert rest(connection) == b""


def test_a_small_body_has_a_deadline_and_a_large_one_must_make_progress(
    http: OverHttp, times: Times, monkeypatch: pytest.MonkeyPatch
) -> None:
    times(http_body_seconds=1.5)
    monkeypatch.setattr(channel, "SLOWEST_BYTES_PER_SECOND", 20_000)
    with connect(http.port) as connection:
        connection.sendall(UPLOAD + b"x")
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


def test_the_times_of_production_are_those_that_the_documentation_promises() -> None:
    seconds = (TIMING.http_head_seconds, TIMING.http_body_seconds, TIMING.http_idle_seconds)
    assert (seconds, TIMING.http_linger_seconds) == ((10, 10, 75), 30)


def test_idle_stalled_and_lingering_connections_are_closed(
    http: OverHttp, times: Times, components: Components, wait_until: Wait
) -> None:
    times(http_idle_seconds=0.3)
    with connect(http.port) as connection:
        assert connection.recv(1) == b""
    assert closed(components) == {"timeout": 1}
    with connect(http.port) as connection:  # more answers than the sockets' buffers hold, and it reads none
        connection.sendall(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * 600)
        wait_until(lambda: closed(components) == {"timeout": 2})
        assert 0 < len(rest(connection)) < 600 * len(http.get("/docs").body)
    times(http_linger_seconds=0.5)
    with connect(http.port) as connection:  # what comes after a refusal is dropped for a time only
        started = time.monotonic()
        connection.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        assert status(connection) == 401
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < started + TIMING.http_linger_seconds:
                connection.sendall(b"x" * 1000)
                time.sleep(0.01)
        assert time.monotonic() - started >= 0.5
    wait_until(lambda: closed(components) == {"timeout": 3})


def test_a_clock_that_is_set_back_keeps_no_connection_open(
    serve: Serve, times: Times, monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    times(http_linger_seconds=0.5, http_idle_seconds=1)
    served = serve(say_length)
    with served.connect() as lingering, served.connect() as idle:
        idle.sendall(ASK)
        assert answer(idle).endswith(b"read 0")
        lingering.sendall(last(ASK))
        assert rest(lingering).endswith(b"read 0")
        wait_until(lambda: sum(one.lingering for one in served.channels) == 1)
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() - 3600)
        wait_until(lambda: not served.channels)


# --- Numbers of connections ---


def test_a_new_connection_replaces_the_one_that_has_been_idle_for_longest(
    serve: Serve, limits: Limits, components: Components, wait_until: Wait
) -> None:
    limits(5, 0)
    served = serve()
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(served.connect()) for _ in range(5)]
        for connection in (*connections, connections[1]):
            connection.sendall(GET)
            assert status(connection) == 200
        wait_until(lambda: quiet(served))
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
    serve: Serve, limits: Limits, wait_until: Wait
) -> None:
    limits(3, 2)
    working = Working()
    served = serve(working)
    with contextlib.ExitStack() as stack:
        body, long = stack.enter_context(served.connect()), stack.enter_context(served.connect())
        body.sendall(KEYED.replace(b"/v1/jobs", b"/echo") + b"Content-Length: 5\r\n\r\nhe")
        long.sendall(LONG_ASK)
        wait_until(lambda: sum(bool(one.request or one.requests) for one in served.channels) == 2)
        others = [stack.enter_context(served.connect()) for _ in range(10)]
        others[-1].sendall(ASK)
        assert answer(others[-1]).endswith(b"read 0")
        body.sendall(b"llo")
        assert answer(body).endswith(b"read 5")
        working.go_on.set()
        assert answer(long).endswith(b"read 0")


@pytest.mark.usefixtures("as_if_remote")
def test_health_checks_are_answered_when_all_connections_are_at_work(
    serve: Serve, limits: Limits, wait_until: Wait
) -> None:
    limits(3, 2)
    working = Working()
    served = serve(working)
    with contextlib.ExitStack() as stack:
        stack.callback(working.go_on.set)
        for _ in range(3):
            stack.enter_context(served.connect()).sendall(LONG_ASK)
        wait_until(lambda: sum(bool(one.requests) for one in served.channels) == 3)
        for path, expected in ((b"/healthz", 200), (b"/echo", 503), (b"/readyz", 200)):
            with served.connect() as connection:
                connection.sendall(ASK.replace(b"/echo", path))
                assert status(connection) == expected
            wait_until(lambda: len(served.channels) == 3)


@pytest.mark.usefixtures("as_if_remote")
def test_a_connection_for_health_checks_serves_everything_once_there_is_room(
    serve: Serve, limits: Limits, wait_until: Wait
) -> None:
    limits(1, 2)
    served = serve()
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(served.connect())
        busy.sendall(EXPLAIN)
        wait_until(lambda: any(one.request for one in served.channels))
        with served.connect() as refused:
            refused.sendall(EXPLAIN)  # and not its body
            received = answer(refused)
            assert received.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 2" in received.lower()
        wait_until(lambda: len(served.channels) == 1)
        health = stack.enter_context(served.connect())
        health.sendall(GET.replace(b"/version", b"/healthz"))
        answer(health)
        busy.sendall(BODY)
        assert status(busy) == 202
        wait_until(lambda: quiet(served))
        for _ in range(2):
            health.sendall(GET)
            assert status(health) == 200


@pytest.mark.usefixtures("as_if_remote")
def test_one_address_has_its_own_limit_unless_it_is_a_trusted_proxy(
    serve: Serve, components: Components
) -> None:
    for proxies, evicted in (((ip_network("127.0.0.0/8"),), 0), ((), 6)):
        served = serve(max_connections_per_address=4, trusted_proxies=proxies)
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(served.connect()) for _ in range(10)]
            for connection in connections[:evicted]:
                assert rest(connection) == b""
            for connection in connections[evicted:]:
                connection.sendall(GET)
                assert status(connection) == 200
        assert closed(components).get("evicted", 0) == evicted


def test_connections_that_do_nothing_keep_nobody_out(http: OverHttp) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(connect(http.port)).sendall(GET[:10])
        assert http.get("/version").status == 200


# --- Slow readers ---


def test_an_answer_that_is_still_being_sent_is_not_cut_off_while_others_are_idle(
    serve: Serve, limits: Limits, wait_until: Wait
) -> None:
    limits(3, 0)
    served = serve(say_much())
    with contextlib.ExitStack() as stack:
        slow = stack.enter_context(served.connect_slow())
        slow.sendall(ASK)
        wait_until(lambda: any(one.total_outbufs_len and not one.requests for one in served.channels))
        idle = [stack.enter_context(served.connect()) for _ in range(2)]
        wait_until(lambda: len(served.channels) == 3)
        time.sleep(server.FRESH_SECONDS)
        for each in idle:
            stack.enter_context(served.connect())
            assert rest(each) == b""
        slow.shutdown(socket.SHUT_WR)  # it still gets all of it
        assert rest(slow).count(b"x") >= LONG


def test_an_answer_whose_client_reads_outlasts_those_who_only_connect(serve: Serve, limits: Limits) -> None:
    limits(10, 0)
    length = 4_000_000
    served = serve(say_much(length))
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
    serve: Serve, limits: Limits, wait_until: Wait
) -> None:
    limits(3, 0)
    served = serve(say_much())
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(served.connect_slow()).sendall(ASK * 2)
        wait_until(lambda: all(one.total_outbufs_len and not one.requests for one in served.channels))
        # The system has taken all that it keeps for those who do not read.
        wait_until(lambda: all(time.monotonic() - one.last_activity > 0.5 for one in served.channels))
        for connection in [stack.enter_context(served.connect()) for _ in range(3)]:
            connection.sendall(ASK)
            assert answer(connection).count(b"x") >= LONG


def test_a_connection_whose_first_request_may_be_on_its_way_is_closed_last(
    serve: Serve, limits: Limits, wait_until: Wait
) -> None:
    limits(3, 0)
    served = serve(say_length)
    with contextlib.ExitStack() as stack:
        new, answered, other = (stack.enter_context(served.connect()) for _ in range(3))
        for connection in (answered, other):
            connection.sendall(ASK)
            assert answer(connection).endswith(b"read 0")
        wait_until(lambda: quiet(served))
        stack.enter_context(served.connect())
        assert rest(answered) == b""
        new.sendall(ASK)
        assert answer(new).endswith(b"read 0")


def test_a_connection_to_be_closed_is_closed_also_if_its_client_reads_late(
    serve: Serve, times: Times, wait_until: Wait
) -> None:
    times(http_idle_seconds=5)
    # So much is sent at once, but nothing can be written after it until half is read.
    size = server.UNSENT_BYTES * 7 // 8
    served = serve(say_much(size))
    with served.connect_slow() as slow:
        slow.sendall(last(ASK))
        wait_until(lambda: "04" in served.states())  # it has ended its side, and the system sends on
        assert rest(slow).count(b"x") >= size
    served = serve(say_much())
    with served.connect_slow() as slow:  # and one that has ended its side gets all of a long last answer
        slow.sendall(last(ASK))
        slow.shutdown(socket.SHUT_WR)
        time.sleep(0.2)
        assert rest(slow).count(b"x") >= LONG


# --- The loop ---


def test_an_event_of_a_connection_that_was_replaced_is_not_taken_for_one_of_the_next(
    components: Components, limits: Limits, serve: Serve
) -> None:
    """A new connection has the number of the one that it replaces."""
    limits(20, 0)
    stopped = serve(say_length).server
    stopped.stop()
    made = server.Server(
        AccessLog(say_length, components.counters),
        stopped.admission,
        components.settings,
        components.counters,
    )
    with contextlib.ExitStack() as stack:

        def connect_twenty() -> list[socket.socket]:
            return [stack.enter_context(connect(made.port)) for _ in range(20)]

        def turn() -> None:
            for _ in range(5):
                made._turn(0.05)

        replaced = connect_twenty()
        turn()
        for connection in replaced:  # heard of in the turn in which the others come
            connection.sendall(b"G")
        new = connect_twenty()
        turn()
        for connection in new:
            connection.sendall(ASK)
        made.stop()
        made.run()
        assert [answer(connection)[-6:] for connection in new] == [b"read 0"] * 20


def test_pipelined_requests_of_some_leave_their_turn_to_others(serve: Serve) -> None:
    served = serve(say_length)
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(served.connect()) for _ in range(server.PIPELINED * 5)]
        for connection in connections:
            connection.sendall(ASK * 50)
            connection.shutdown(socket.SHUT_WR)
        for connection in connections:
            assert rest(connection).count(b"read 0") == 50


def test_many_connections_in_turn_are_all_answered_and_leave_threads_for_others(http: OverHttp) -> None:
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(http.port)) for _ in range(100)]
        for _ in range(3):
            for connection in connections:
                connection.sendall(GET)
            assert http.get("/healthz").status == 200
            for connection in connections:
                assert status(connection) == 200


def test_a_connection_that_cannot_be_let_in_leaves_the_listener_open(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(say_length)
    with monkeypatch.context() as patch:
        patch.setattr(server, "ip_address", int)
        assert exchange(served.port, b"") == b""
    with served.connect() as usual:
        usual.sendall(ASK)
        assert answer(usual).endswith(b"read 0")
