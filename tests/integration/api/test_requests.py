"""Requests that the real server accepts, and its answers before it asks the application."""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from collections.abc import Callable
from unittest.mock import Mock

import pytest
from waitress.buffers import OverflowableBuffer

from services.api.components import Components
from services.api.http import channel
from services.api.http.admission import Admission
from services.api.http.chunked_body import ChunkedBody
from tests.integration.api.api_client import CSV, METRICS_TOKEN
from tests.integration.api.served import BODY, GET, KEYED, Serve, Served, last, statuses
from tests.integration.conftest import Logged
from tests.support.openapi_contract import contract

JSON_HEAD = KEYED + b"Content-Type: application/json\r\n"
CHUNKED = JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
FORM = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
ROOT = b"GET / HTTP/1.1\r\n"
HOST = ROOT + b"Host: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
#: Each ends its connection, or it would be waited for.
LAST = last(GET)
LARGE = b"x" * (3 * 2**20)

#: The statuses that a client gets, and the bytes that it sends.
EXCHANGES: list[tuple[list[int], bytes]] = [
    # Chunked bodies that are wrong, or mostly framing
    *(
        ([400], CHUNKED + body)
        for body in (
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
        )
    ),
    # Requests that are not HTTP
    *(
        ([400], head + b"\r\n\r\n")
        for head in (
            *(ROOT + b"Bad Header: x", b"nonsense", POST + b"Content-Length: -5", b"GET /", ROOT[:-2]),
            *(POST + b"Content-Length: " + b"9" * 4301, b"GET http://[::1 HTTP/1.1\r\nHost: x"),
            *(ROOT + b"Host: x\r\nHost: x", ROOT + b"Host: x, y", HOST + b"X: a\r\n folded"),
            *(HOST + b"\r\n".join(b"X%d: a" % n for n in range(200)), b"GET / HTTP/2.0\r\nHost: x"),
            *(HOST + b"X:" + b" " * 30_000 + b"a", b"GET a://" + b"0" * 30_000 + b" x HTTP/1.1\r\nHost: x"),
            *(HOST + b"X: a" + b"\r\n b" * 8_000, b"\r\n" * 30_000 + b"x"),
        )
    ),
    ([431], ROOT + b"X-Long: " + b"x" * 70_000 + b"\r\n\r\n"),
    ([501], POST + b"Transfer-Encoding: br\r\n\r\n"),
    *(
        ([404], target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        for target in (b"OPTIONS *", b"CONNECT host:443", b"GET /%00")
    ),
    # Usual ones, also in unusual forms
    *(
        ([200], last(head + b"\r\n\r\n"))
        for head in (
            b"OPTIONS /version HTTP/1.1\r\nHost: x",
            GET[:-4] + b"\r\nX: a" * 120,
            GET[:-4] + b"\r\nX:\t a  b \t\r\nY:",
            b"\r\n\r\n" + GET[:-4],
        )
    ),
    ([200], b"GET /version HTTP/1.0\r\n\r\n"),
    ([200, 200], b"GET /version HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /version HTTP/1.0\r\n\r\n"),
    ([200] * 4, GET * 3 + LAST),
    ([202], last(KEYED.replace(b"/v1", b"//v1") + FORM) + BODY),
    ([202], last(CHUNKED) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
    # A GET with a body needs no Content-Type.
    ([200] * 3, (KEYED.replace(b"POST", b"GET") + b"Content-Length: 2\r\n\r\n{}") * 2 + LAST),
    # No part of a request is taken for another one, and the end of a body is not ambiguous.
    ([400], CHUNKED.replace(b"Transfer", b"Content-Length: 4\r\nTransfer") + b"0\r\n\r\n" + LAST),
    *(
        ([400], KEYED + fields + b"\r\n\r\nabcd" + LAST)
        for fields in (
            *(b"Content-Length: 4\r\nContent-Length: 4", b"Content-Length: +4", b"Content-Length: 4, 4"),
            *(b"Transfer-Encoding : chunked", b"Transfer-Encoding: \x0bchunked"),
        )
    ),
    *(
        ([501], KEYED + b"Transfer-Encoding: chunked" + more + b"\r\n\r\n0\r\n\r\n" + LAST)
        for more in (b", chunked", b"\r\nTransfer-Encoding: identity")
    ),
    ([400], CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n" + LAST),
    # Without a key the body is not read: it must not become a request.
    *(
        ([refused], request + b"Content-Length: %d\r\n\r\n" % len(LAST) + LAST)
        for refused, request in (
            (401, b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\n"),
            (200, GET[:-2]),
            (404, b"POST /nowhere HTTP/1.1\r\nHost: x\r\n"),
        )
    ),
    ([200, 200], GET[:-2] + b"Expect: 100-continue\r\n\r\n" + LAST),
    # A client that asks first is refused before it sends.
    ([413], KEYED + b"Content-Type: text/csv\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"),
    ([413], CHUNKED + (b"80000\r\n" + b"x" * 0x80000 + b"\r\n") * 6 + b"0\r\n\r\n"),
]


def test_each_request_gets_the_answers_that_are_its_own(served: Served) -> None:
    for wanted, sent in EXCHANGES:
        started = time.process_time()
        received = served.connect().rest(sent)
        # Of the processor; a head that is parsed in quadratic time takes many seconds.
        assert time.process_time() - started < 2, sent[:200]
        assert statuses(received) == wanted, (sent[:200], received[:500])
        if wanted[-1] >= 400:
            head, _, body = received.partition(b"\r\n\r\n")
            request_id = re.search(rb"X-Request-Id: (\S+)", head)
            assert b"application/problem+json" in head
            assert request_id
            contract().check_problem(wanted[-1], request_id[1].decode(), json.loads(body))
    assert served.http.call("BREW", "/v1/jobs").slug == "bad-request"


#: The begin of a TLS handshake with a server's name (RFC 8446).
TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(32)) + b"\x00\x00\x04\x13\x01\x13\x02"


def test_what_can_become_no_head_is_answered_at_once_counted_and_no_error_of_ours(
    serve: Serve, components: Components, logged: Logged
) -> None:
    serve.times(http_head_seconds=3600)  # nothing waits for the end of a head
    served = serve()
    begun = (
        *(TLS_HELLO, GET.replace(b"\r\n", b"\n"), GET[:-4] + b"\n", GET[:-2] + b"X: a\n", b"GET /\r\n"),
        *(b"GET / HTTP/2.0\r\n", b"PRI * HTTP/2.0\r\n", GET[:8] + b"\x00", GET[:-2] + b"X: \x00", b"GET /\n"),
        *(GET[:-2] + b"X: a\rY", b"*1\r\n$4\r\nPING\r\n", b"SSH-2.0-OpenSSH_9.9\r\n"),
    )
    for sent in begun:
        received = served.connect().rest(sent)
        assert statuses(received) == [400], sent
        assert b"application/problem+json" in received
    assert b"TLS handshake" in served.connect().rest(TLS_HELLO)
    slow = served.connect()
    for byte in GET[:-3] + b"X":  # the CR and what follows it arrive apart
        slow.sendall(bytes([byte]))
        time.sleep(0.001)
    assert slow.status() == 400
    components.counters.flush()
    assert components.counters.read()["http_requests_total", "other", "unmatched", "400"] == len(begun) + 2
    assert logged("Traceback") == logged("ERROR") == []


@pytest.mark.parametrize("extension", [b"", b";name=value"])
def test_chunks_of_any_size_with_extensions_and_a_trailer_are_read(served: Served, extension: bytes) -> None:
    connection = served.connect()
    for size in (1, 7, 1000):
        chunks = [BODY[at : at + size] for at in range(0, len(BODY), size)]
        framed = [b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks]
        sent = CHUNKED + b"".join(framed) + b"0\r\nX: y\r\n\r\n"
        for at in range(0, len(sent), 333):
            connection.sendall(sent[at : at + 333])
        assert connection.status() == 202
        assert connection.status(GET) == 200


def test_tiny_chunks_are_read_many_at_a_time_however_they_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[bytes] = []
    read_line = ChunkedBody._read_line

    def note(body: ChunkedBody, line: bytes) -> None:
        lines.append(line)
        read_line(body, line)

    monkeypatch.setattr(ChunkedBody, "_read_line", note)
    sent = b"1\r\n\n\r\n2\r\n\r\n\r\n" * 200 + b"0\r\n\r\nGET"
    for cut in (1, 2, 3, 20, 1000):
        body, at = ChunkedBody(OverflowableBuffer(65536)), 0
        lines.clear()
        while not body.completed:
            at += body.received(sent[at : at + cut])
        assert body.getbuf().get(-1) == b"\n\r\n" * 200
        assert sent[at:] == b"GET"
    assert len(lines) < 20


def test_a_request_that_is_refused_anyway_is_answered_before_its_body(served: Served) -> None:
    for expected, head in (
        (401, b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\n"),
        (404, KEYED.replace(b"/v1/jobs", b"/v1/nowhere")),
        (405, KEYED.replace(b"POST", b"PUT")),
        (403, KEYED.replace(b"/v1/jobs", b"/v1/workers/recycle")),
        (415, KEYED + b"Content-Type: image/png\r\n"),
        (415, KEYED + b"Content-Type: text/csv; charset*=x; charset*0*=y\r\n"),
    ):
        for length in (b"Content-Length: 50000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
            connection = served.connect()
            assert connection.status(head + length) == expected
            assert connection.rest(b"x" * 100_000) == b""  # it is still dropped, so that the answer arrives


def test_a_large_body_is_refused_its_client_hears_it_and_nothing_is_left(
    served: Served, components: Components, nothing_is_left: Callable[[], None], logged: Logged
) -> None:
    reply = served.http.post("/v1/jobs?model=diabetes", LARGE, CSV)
    assert reply.refusal == (413, "body-too-large")
    [line] = logged("POST /v1/jobs 413")
    assert f" request={reply.headers['x-request-id']}" in line
    for key, refusal in ((None, (401, "unauthorized")), (METRICS_TOKEN, (403, "forbidden"))):
        reply = served.http.call("POST", "/v1/jobs", LARGE, {"Content-Type": CSV}, key=key)
        assert reply.refusal == refusal
    components.counters.flush()
    assert components.counters.read()["http_requests_total", "POST", "unmatched", "401"] == 1
    cut_off = served.connect()
    cut_off.sendall(KEYED + b"Content-Type: text/csv\r\nContent-Length: 500000\r\n\r\nage,sex\n")
    cut_off.shutdown(socket.SHUT_WR)
    cut_off.rest()
    nothing_is_left()


def test_a_client_that_breaks_its_connection_off_does_not_end_the_server(served: Served) -> None:
    for sent in (b"", GET[:25], GET) * 3:
        connection = served.connect()
        connection.sendall(sent)
        assert served.http.get("/version").status == 200  # it has been taken
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()  # by a reset
        assert served.http.get("/version").status == 200


@pytest.mark.parametrize("first", [b"", GET])
def test_a_fault_of_ours_ends_only_the_connection_that_meets_it(
    served: Served, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    asking = KEYED + b"Content-Type: text/csv\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    with monkeypatch.context() as patch:
        patch.setattr(channel.Channel, "send_continue", Mock(side_effect=RuntimeError))
        assert statuses(served.connect().rest(first + asking)) == [200] * bool(first)
    monkeypatch.setattr(Admission, "admit", Mock(side_effect=TypeError))
    received = served.connect().rest(first + KEYED + b"Content-Length: 2\r\n\r\n")
    assert statuses(received) == [200] * bool(first) + [500]
    assert b"application/problem+json" in received
    assert served.http.get("/version").status == 200


def test_a_small_answer_is_sent_in_one_go_and_one_without_a_body_keeps_the_connection(served: Served) -> None:
    connection = served.connect()
    for _ in range(60):
        connection.sendall(GET)
        head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
        # A head that came alone would wake the client for nothing.
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert json.loads(body)["version"]
    tag = re.search(rb"Etag: ([^\r]+)", connection.answer(HOST + b"\r\n"), re.IGNORECASE)
    assert tag
    for _ in range(3):
        head = connection.answer(HOST + b"If-None-Match: %b\r\n\r\n" % tag[1])
        assert head.startswith(b"HTTP/1.1 304 ")
        assert b"Connection: close" not in head


def test_no_request_is_forgotten_between_the_loop_and_the_threads(served: Served) -> None:
    connection = served.connect()
    data = GET * 100 + LAST
    for at in range(0, len(data), 31):  # cut at another place of each request
        connection.sendall(data[at : at + 31])
        time.sleep(0.0003)
    assert statuses(connection.rest()) == [200] * 101
    connection = served.connect()
    for piece in (GET, GET[:20], GET[20:] + LAST[:30], LAST[30:-2], LAST[-2:]):
        connection.sendall(piece)
        time.sleep(0.05)
    assert statuses(connection.rest()) == [200] * 3
