"""Threads that stay with connections: the moments in which thread and loop, or a thread and the stop, meet."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waitress import trigger, wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser

from services.api.components import Components
from services.api.http import server as server_module
from services.api.http import staying_channel
from services.api.http.access_log import Envelope, StartResponse
from services.api.http.channel import Channel
from services.api.http.server import UNSENT_BYTES, Server

type App = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

ASK = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


def say_ok(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    body = b"read %d" % len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


class Served:
    """A real server around an application."""

    def __init__(self, app: App, parts: Components) -> None:
        self._server = Server(Envelope(app, parts.counters), parts.settings)
        self.port = self._server.port
        self.thread = threading.Thread(target=self._server.run)
        self.thread.start()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def stop(self) -> None:
        self._server.stop()

    def states(self) -> list[str]:
        """Return the states of its connections, as the system numbers them."""
        lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
        return [line[3] for line in lines if line[1].endswith(f":{self.port:04X}") and line[3] != "0A"]


@pytest.fixture
def serve(parts: Components) -> Iterator[Callable[[App], Served]]:
    with contextlib.ExitStack() as stack:

        def start(app: App) -> Served:
            served = Served(app, parts)
            stack.callback(served.thread.join)
            stack.callback(served.stop)
            return served

        yield start


def answer(connection: socket.socket) -> bytes:
    received = connection.recv(65536)
    while received and b"read" not in received:
        received += connection.recv(65536)
    return received


def test_a_body_is_asked_for_once_however_often_the_loop_is_woken_meanwhile(
    serve: Callable[[App], Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    send = wasyncore.dispatcher.send
    sending, others_came = threading.Event(), threading.Event()

    def send_late(channel: wasyncore.dispatcher, data: bytes, **named: Any) -> int:
        if b"100 Continue" in data:
            sending.set()
            assert others_came.wait(10)
        return int(send(channel, data, **named))

    served = serve(say_ok)
    with contextlib.ExitStack() as stack:
        asking = stack.enter_context(served.connect())
        asking.sendall(ASK)
        assert answer(asking).endswith(b"read 0")
        monkeypatch.setattr(wasyncore.dispatcher, "send", send_late)
        asking.sendall(ASK.replace(b"Length: 0", b"Length: 5\r\nExpect: 100-continue"))
        assert sending.wait(10)
        for _ in range(3):
            stack.enter_context(served.connect())
            time.sleep(0.05)
        others_came.set()
        time.sleep(0.1)
        asking.sendall(b"hello")
        received = answer(asking)
    assert received.count(b"100 Continue") == 1
    assert received.endswith(b"read 5")


def test_the_loop_does_not_read_what_a_thread_has_begun_to_attend_to_since_it_looked(
    serve: Callable[[App], Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, answered = threading.Event(), threading.Event()
    readable, read_by_channel, service = HTTPChannel.readable, Channel.readable, Channel.service
    seen: list[tuple[bool, bool]] = []

    def look_slowly(channel: Channel) -> bool:
        if threading.current_thread() is served.thread and channel.requests:
            looking.set()
            assert answered.wait(10)
        return bool(readable(channel))

    def note(channel: Channel) -> bool:
        found = read_by_channel(channel)
        if threading.current_thread() is served.thread:
            seen.append((found, channel.attended))
        return found

    def serve_late(channel: Channel) -> None:
        assert looking.wait(10)
        service(channel)

    monkeypatch.setattr(HTTPChannel, "readable", look_slowly)
    monkeypatch.setattr(Channel, "readable", note)
    monkeypatch.setattr(Channel, "service", serve_late)
    served = serve(say_ok)
    with served.connect() as asking:
        asking.sendall(ASK)
        assert answer(asking).endswith(b"read 0")
        time.sleep(0.05)  # the thread has come back from sending, and stays
        answered.set()
        asking.sendall(ASK)
        assert answer(asking).endswith(b"read 0")
    assert seen
    assert (True, True) not in seen


def test_a_connection_to_be_closed_is_closed_also_if_the_system_has_taken_what_its_client_does_not_read(
    serve: Callable[[App], Served], monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., float]
) -> None:
    monkeypatch.setattr(server_module, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(server_module, "LOOK_SECONDS", 0.1)
    size = (
        UNSENT_BYTES * 7 // 8
    )  # so much is sent at once, but nothing can be written after it until half of it is read

    def say_much(_environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(size))])
        return [b"x" * size]

    served = serve(say_much)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(10)
        slow.connect(("127.0.0.1", served.port))
        slow.sendall(ASK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        wait_until(lambda: "04" in served.states())  # it has ended its side, and the system sends on
        received = b""
        while block := slow.recv(65536):
            received += block
    assert received.count(b"x") >= size


def test_an_answer_that_was_long_in_coming_is_not_taken_for_one_that_nobody_reads(
    serve: Callable[[App], Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(server_module, "LOOK_SECONDS", 0.0)
    send = wasyncore.dispatcher.send
    sending, others_came = threading.Event(), threading.Event()

    def send_late(channel: wasyncore.dispatcher, data: bytes, **named: Any) -> int:
        sending.set()
        assert others_came.wait(10)
        return int(send(channel, data, **named))

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
        assert sending.wait(10)
        for _ in range(3):  # each makes the loop look
            stack.enter_context(served.connect())
            time.sleep(0.02)
        others_came.set()
        received = b""
        while received.count(b"x") < 200_000 and (block := asking.recv(65536)):
            received += block
    assert received.count(b"x") == 200_000


def test_a_request_that_comes_to_a_staying_thread_at_the_stop_is_answered(
    serve: Callable[[App], Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staying_channel, "STAY_SECONDS", 1.0)
    stopping = threading.Event()

    def say_ok_late(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        time.sleep(0.6 if stopping.is_set() else 0)  # longer than threads have to leave
        return say_ok(environ, start_response)

    served = serve(say_ok_late)
    with served.connect() as asking:
        for pause in (1.5, 0.0):  # while the server's threads begin, none of them stays
            asking.sendall(ASK)
            assert answer(asking).endswith(b"read 0")
            time.sleep(pause)
        stopping.set()
        served.stop()
        time.sleep(0.05)
        asking.sendall(ASK)
        assert answer(asking).endswith(b"read 0")
        served.thread.join(5)
    assert not served.thread.is_alive()


def test_what_is_written_after_the_stop_wakes_no_loop(
    serve: Callable[[App], Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop's pipe is closed then, and its number may be another connection's."""
    monkeypatch.setattr(server_module, "STOP_SECONDS", 0.2)
    stopped, over = threading.Event(), threading.Event()
    pulled: list[bool] = []
    pull = trigger.trigger._physical_pull  # waitress has no other place to count

    def note(pipe: trigger.trigger) -> None:
        pulled.append(stopped.is_set())
        if not stopped.is_set():
            pull(pipe)

    def stream(_environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "900000")])
        try:
            yield b"x" * 200_000
            yield b"x" * 150_000
            assert stopped.wait(10)
            yield b"x" * 100_000
        finally:
            over.set()

    monkeypatch.setattr(trigger.trigger, "_physical_pull", note)
    served = serve(stream)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", served.port))
        slow.sendall(ASK)
        slow.recv(1, socket.MSG_PEEK)
        time.sleep(0.2)
        served.stop()
        served.thread.join(10)
        stopped.set()
        assert over.wait(10)
        time.sleep(0.1)
    assert pulled
    assert not any(pulled)


@pytest.mark.parametrize("fault", [SystemExit, MemoryError])
def test_a_request_that_brings_its_thread_down_is_not_tried_for_ever(
    serve: Callable[[App], Served], monkeypatch: pytest.MonkeyPatch, fault: type[BaseException]
) -> None:
    calls: list[str] = []

    def fall(_environ: dict[str, Any], _start_response: StartResponse) -> Iterable[bytes]:
        calls.append("")
        raise fault

    def fall_again(_task: object) -> None:
        raise fault

    def disk_is_full(_request: object) -> None:
        raise OSError

    monkeypatch.setattr("services.api.http.channel.ProblemTask.execute", fall_again)
    monkeypatch.setattr(HTTPRequestParser, "close", disk_is_full)
    served = serve(fall)
    with served.connect() as asking:
        asking.sendall(ASK)
        assert asking.recv(65536) == b""
    assert len(calls) == 1
