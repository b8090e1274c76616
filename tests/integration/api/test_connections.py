"""The server's limits in time and number, and which connection gives way to another."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from collections.abc import Iterable
from ipaddress import ip_network
from typing import Any

import pytest

from services.api.components import Components
from services.api.http import channel, server
from services.api.http.access_log import AccessLog, StartResponse
from shared.setting_values import networks
from shared.settings import Settings
from shared.timing import TIMING
from tests.integration.api.served import (
    ASK,
    BODY,
    ECHO,
    GET,
    KEYED,
    LONG,
    LONG_ASK,
    Connection,
    Serve,
    Working,
    last,
    say_length,
    say_much,
)
from tests.support.redis_server import until

#: Bodies that are yet to come.
UPLOAD = KEYED + b"Content-Type: text/csv\r\nContent-Length: 900000\r\n\r\n"
EXPLAIN = KEYED + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)


# --- Times ---


def test_a_head_has_a_deadline_however_often_a_byte_comes(serve: Serve) -> None:
    serve.times(http_head_seconds=0.3)
    connection = serve().connect()
    connection.sendall(GET[:20])
    with contextlib.suppress(ConnectionError):
        for _ in range(6):
            time.sleep(0.1)
            connection.sendall(b"a")
    assert connection.status() == 408
    assert connection.rest() == b""


def test_a_body_has_a_deadline_that_progress_defers(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    serve.times(http_body_seconds=0.5)
    monkeypatch.setattr(channel, "SLOWEST_BYTES_PER_SECOND", 100_000)
    connection = serve().connect()
    connection.sendall(UPLOAD + b"x")
    started, sent = time.monotonic(), 0
    while sent < 120_000:
        time.sleep(0.05)
        due = int(200_000 * (time.monotonic() - started))  # twice as fast as it must be
        connection.sendall(b"x" * (due - sent))
        sent = due
    connection.settimeout(0.01)
    with pytest.raises(TimeoutError):
        connection.recv(1)
    connection.settimeout(60)
    assert connection.status() == 408


def test_the_times_of_production_are_those_that_the_documentation_promises() -> None:
    seconds = (TIMING.http_head_seconds, TIMING.http_body_seconds, Settings().idle_timeout_seconds)
    assert (seconds, TIMING.http_linger_seconds) == ((10, 10, 75), 30)


def test_idle_stalled_lingering_close_on_any_clock(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(time.time(), -10)
    monkeypatch.setattr(time, "time", lambda: next(clock))
    serve.times()
    served = serve(idle_timeout_seconds=0.2)
    idle = served.connect()
    assert idle.status(GET) == 200
    assert idle.rest() == b""
    assert serve.closed() == {"timeout": 1}
    stalled = served.connect()  # more answers than the sockets' buffers hold, and it reads none
    stalled.sendall(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * 600)
    until(lambda: serve.closed() == {"timeout": 2})
    assert 0 < len(stalled.rest()) < 600 * len(served.http.get("/docs").body)
    serve.times(http_linger_seconds=0.3)
    lingering, started = served.connect(), time.monotonic()
    refused = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
    assert lingering.status(refused) == 401
    with contextlib.suppress(ConnectionError):  # what comes after a refusal is dropped for a time only
        while time.monotonic() < started + TIMING.http_linger_seconds:
            lingering.sendall(b"x" * 1000)
            time.sleep(0.01)
    assert time.monotonic() - started >= 0.3
    until(lambda: serve.closed() == {"timeout": 3})


# --- Numbers of connections ---


def test_a_new_connection_replaces_the_one_that_has_been_idle_for_longest(serve: Serve) -> None:
    serve.limits(6, fresh_seconds=60)
    served = serve()
    unheard, *connections = served.connect_many(6)  # the first request of one may be on its way
    for connection in (*connections, connections[1]):
        assert connection.status(GET) == 200
    served.wait_until_quiet()
    served.connect().sendall(GET)
    assert connections[0].rest() == b""
    assert served.connect().status(GET) == 200
    assert connections[2].rest() == b""  # the second one has had a request meanwhile
    assert connections[1].status(GET) == unheard.status(GET) == 200
    assert serve.closed()["evicted"] == 2


def test_a_body_with_a_key_and_a_request_in_work_are_not_closed_for_others(serve: Serve) -> None:
    serve.limits(3, reserved=2)
    working = Working()
    served = serve(working)
    body, long = served.connect(), served.connect()
    body.sendall(ECHO + b"Content-Length: 5\r\n\r\nhe")
    long.sendall(LONG_ASK)
    served.wait_until(2, lambda one: one.request or one.requests)
    assert served.connect_many(10)[-1].answer(ASK).endswith(b"read 0")
    assert body.answer(b"llo").endswith(b"read 5")
    working.go_on.set()
    assert long.answer().endswith(b"read 0")


def test_health_checks_are_answered_when_all_connections_are_at_work(serve: Serve) -> None:
    serve.limits(3, reserved=2, remote=True)
    working = Working()
    served = serve(working)
    for connection in served.connect_many(3):
        connection.sendall(LONG_ASK)
    served.wait_until(3, lambda one: one.requests)
    for path, expected in ((b"/healthz", 200), (b"/echo", 503), (b"/readyz", 200)):
        with Connection(served.port) as checking:
            assert checking.status(ASK.replace(b"/echo", path)) == expected
        served.wait_until(3, lambda _one: True)
    working.go_on.set()


def test_a_connection_for_health_checks_serves_everything_once_there_is_room(serve: Serve) -> None:
    serve.limits(1, reserved=2, remote=True)
    served = serve()
    busy = served.connect()
    busy.sendall(EXPLAIN)
    served.wait_until(1, lambda one: one.request)
    with Connection(served.port) as refused:
        received = refused.answer(EXPLAIN)  # its body has not come
        assert received.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 2" in received.lower()
    served.wait_until(1, lambda _one: True)
    health = served.connect()
    health.answer(GET.replace(b"/version", b"/healthz"))
    assert busy.status(BODY) == 202
    served.wait_until_quiet()
    assert [health.status(GET) for _ in range(2)] == [200, 200]


def test_one_address_has_its_own_limit_unless_it_is_a_trusted_proxy(serve: Serve) -> None:
    serve.limits(100, remote=True)
    for proxies, evicted in (((ip_network("127.0.0.0/8"),), 0), ((), 6)):
        served = serve(max_connections_per_address=4, trusted_proxies=proxies)
        connections = served.connect_many(10)
        assert [connection.rest() for connection in connections[:evicted]] == [b""] * evicted
        assert {connection.status(GET) for connection in connections[evicted:]} == {200}
        assert serve.closed().get("evicted", 0) == evicted


def test_every_address_is_served_in_both_families_and_an_ipv4_client_has_its_ipv4_address(
    serve: Serve,
) -> None:
    seen: list[str] = []

    def note(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        seen.append(environ["REMOTE_ADDR"])
        return say_length(environ, start_response)

    serve.limits(100, remote=True)
    served = serve(note, host="::", max_connections_per_address=4, trusted_proxies=networks("none"))
    with socket.create_connection(("::1", served.port)) as six:
        six.sendall(ASK)
        assert six.recv(1000).endswith(b"read 0")
    connections = served.connect_many(5)
    assert connections[-1].answer(ASK).endswith(b"read 0")
    assert seen == ["::1", "127.0.0.1"]
    assert connections[0].rest() == b""  # the limit of an address
    trusted = serve(
        host="::", max_connections_per_address=4, trusted_proxies=networks("::ffff:127.0.0.0/104")
    )
    assert {connection.status(GET) for connection in trusted.connect_many(6)} == {200}


def test_connections_that_do_nothing_keep_nobody_out(serve: Serve) -> None:
    served = serve()
    for connection in served.connect_many(Settings().max_connections + 100):
        connection.sendall(GET[:10])
    assert served.http.get("/version").status == 200


# --- Slow readers ---


def test_an_answer_that_is_still_being_sent_is_not_cut_off_while_others_are_idle(serve: Serve) -> None:
    serve.limits(3, fresh_seconds=0.2)
    served = serve(say_much())
    slow = served.connect(slow=True)
    slow.sendall(ASK)
    served.wait_until(1, lambda one: one.total_outbufs_len and not one.requests)
    idle = served.connect_many(2)
    served.wait_until(3, lambda _one: True)
    time.sleep(0.2)
    for each in idle:
        served.connect()
        assert each.rest() == b""
    slow.shutdown(socket.SHUT_WR)  # it still gets all of it
    assert slow.rest().count(b"x") >= LONG


def test_an_answer_whose_client_reads_outlasts_those_who_only_connect(serve: Serve) -> None:
    serve.limits(20)  # more than it opens between two parts that the system takes
    length = 4_000_000
    served = serve(say_much(length))
    reading = served.connect(slow=True)
    reading.sendall(ASK)
    taken = 0
    while taken < length and (block := reading.recv(4096)):
        taken += block.count(b"x")
        if taken // 100_000 > (taken - len(block)) // 100_000:  # the server sends on meanwhile
            served.connect()
    assert taken >= length


def test_a_connection_that_was_just_opened_is_not_closed_for_answers_that_nobody_reads(serve: Serve) -> None:
    serve.limits(3)
    served = serve(say_much())
    for connection in served.connect_many(3, slow=True):
        connection.sendall(ASK * 2)
    served.wait_until(3, lambda one: one.total_outbufs_len and not one.requests)
    # The system has taken all that it keeps for those who do not read.
    served.wait_until(3, lambda one: time.monotonic() - one.last_activity > 0.3)
    for connection in served.connect_many(3):
        assert connection.answer(ASK).count(b"x") >= LONG


def test_a_connection_to_be_closed_is_closed_also_if_its_client_reads_late(serve: Serve) -> None:
    serve.times()
    # So much is sent at once, but nothing can be written after it until half is read.
    size = server.UNSENT_BYTES * 7 // 8
    served = serve(say_much(size))
    slow = served.connect(slow=True)
    slow.sendall(last(ASK))
    served.wait_until(1, lambda one: one.lingering)  # and the system sends on
    assert slow.rest().count(b"x") >= size
    ended = serve(say_much()).connect(slow=True)  # one that has ended its side gets all of a long last answer
    ended.sendall(last(ASK))
    ended.shutdown(socket.SHUT_WR)
    time.sleep(0.2)
    assert ended.rest().count(b"x") >= LONG


# --- The loop ---


def test_an_event_of_a_replaced_one_is_not_the_next_ones(components: Components, serve: Serve) -> None:
    """A new connection has the number of the one that it replaces."""
    serve.limits(20)
    stopped = serve(say_length)
    stopped.stop()
    app = AccessLog(say_length, components.counters)
    made = server.Server(app, stopped.server.admission, components.settings, components.counters)

    def connect_and_turn() -> list[Connection]:
        connections = [stack.enter_context(Connection(made.port)) for _ in range(20)]
        for _ in range(5):
            made._turn(0.05)
        return connections

    with contextlib.ExitStack() as stack:
        for replaced in connect_and_turn():  # heard of in the turn in which the others come
            replaced.sendall(b"G")
        new = connect_and_turn()
        for connection in new:
            connection.sendall(ASK)
        made.stop()
        made.run()
        assert [connection.answer()[-6:] for connection in new] == [b"read 0"] * 20


def test_pipelined_requests_of_some_leave_their_turn_to_others(serve: Serve) -> None:
    connections = serve(say_length).connect_many(server.PIPELINED * 5)
    for connection in connections:
        connection.sendall(ASK * 20)
        connection.shutdown(socket.SHUT_WR)
    for connection in connections:
        assert connection.rest().count(b"read 0") == 20


def test_one_that_cannot_be_let_in_leaves_others_open(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serve(say_length)
    with monkeypatch.context() as patch:
        patch.setattr(server, "ip_address", int)
        assert served.connect().rest() == b""
    assert served.connect().answer(ASK).endswith(b"read 0")
