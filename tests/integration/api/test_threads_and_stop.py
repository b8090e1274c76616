"""The moments in which the loop and a thread, or a thread and the stop, meet."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from waitress import trigger, wasyncore
from waitress.parser import HTTPRequestParser

from services.api.http import server
from services.api.http.access_log import StartResponse
from tests.integration.api.served import ASK, ECHO, LONG_ASK, Serve, Served, Working, last, say_length

#: Seconds that the loop has to end while a `stop` is held up. It takes some 0.2 s, and must not do so.
HELD_SECONDS = 1.0


class LateSend:
    """Holds up what threads and the loop send until others have come."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, words: bytes = b"") -> None:
        self.sending, self.others_came = threading.Event(), threading.Event()
        send = wasyncore.dispatcher.send

        def send_late(part: wasyncore.dispatcher, data: bytes, **named: Any) -> int:
            if words in bytes(data):
                self.sending.set()
                assert self.others_came.wait(60)
            return int(send(part, data, **named))

        monkeypatch.setattr(wasyncore.dispatcher, "send", send_late)

    def let_others_come(self, served: Served) -> None:
        """Wake the loop some times, and then send."""
        assert self.sending.wait(60)
        for _ in range(3):
            served.connect()
            time.sleep(0.05)
        self.others_came.set()


def test_a_body_is_asked_for_once_if_the_loop_wakes(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serve(say_length)
    asking = served.connect()
    assert asking.answer(ASK).endswith(b"read 0")
    late = LateSend(monkeypatch, b"100 Continue")
    asking.sendall(ECHO + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    late.let_others_come(served)
    time.sleep(0.1)
    assert asking.answer() == b"HTTP/1.1 100 Continue\r\n\r\n"
    received = asking.answer(b"hello")
    assert received.startswith(b"HTTP/1.1 200")
    assert b"100 Continue" not in received
    assert received.endswith(b"read 5")


def test_the_loop_does_not_spin_while_a_thread_sends(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[None] = []
    turn = wasyncore.loop

    def count_turn(**named: Any) -> None:
        turn(**named)
        turns.append(None)

    monkeypatch.setattr(wasyncore, "loop", count_turn)
    late = LateSend(monkeypatch)
    served = serve(say_length)
    asking = served.connect()
    asking.sendall(ASK)
    assert late.sending.wait(60)
    before = len(turns)
    late.let_others_come(served)  # each wakes the loop, which then sees bytes that are not sent yet
    count = len(turns) - before
    assert asking.answer().endswith(b"read 0")
    assert 1 <= count < 100  # the seconds of a busy machine take some, and a busy loop thousands


def test_a_late_answer_is_not_one_that_nobody_reads(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    serve.times()
    monkeypatch.setattr(server, "EXPIRY_SECONDS", 0.0)  # the loop looks at every turn

    def say_late(_environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        time.sleep(0.6)
        start_response("200 OK", [("Content-Length", "200000")])
        yield b"x" * 100_000
        time.sleep(0.1)  # a loop that has decided to close comes to it now
        yield b"x" * 100_000

    late = LateSend(monkeypatch)
    served = serve(say_late, idle_timeout_seconds=0.5)
    asking = served.connect()
    asking.sendall(last(ASK))
    late.let_others_come(served)
    assert asking.rest().count(b"x") == 200_000


@pytest.mark.parametrize("disk_is_full", [True, False])
def test_a_request_that_brings_its_thread_down_is_not_tried_for_ever(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, *, disk_is_full: bool
) -> None:
    def fail_to_close(_request: object) -> None:
        raise OSError

    if disk_is_full:
        monkeypatch.setattr(HTTPRequestParser, "close", fail_to_close)
    for fault, most_calls in (
        (SystemExit, 1),
        (MemoryError, 1 if disk_is_full else 2),
    ):  # to answer with a problem
        app = Mock(side_effect=fault)
        assert serve(app).connect().rest(ASK) == b""
        assert 1 <= app.call_count <= most_calls


def test_an_application_that_fails_is_answered_for_with_a_problem(serve: Serve) -> None:
    def fail(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["shapbox.refusal"] is None:
            raise RuntimeError
        return Working()(environ, start_response)

    assert serve(fail).connect().rest(ASK).startswith(b"HTTP/1.1 500 ")


# --- The stop ---


def test_requests_that_have_come_by_the_stop_or_during_it_are_answered(serve: Serve) -> None:
    working = Working()
    served = serve(working)
    kept, long = served.connect(), served.connect()
    assert kept.answer(ASK).endswith(b"read 0")
    long.sendall(LONG_ASK + ASK)
    served.wait_until(1, lambda one: one.ahead)
    served.server.stop()
    time.sleep(0.1)
    assert kept.answer(ASK).endswith(b"read 0")
    working.go_on.set()
    served.stop()
    assert long.rest().count(b"read 0") == 2
    assert kept.rest() == b""


def test_what_follows_a_last_request_delays_no_stop(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STOP_SECONDS", 600)  # at which a connection is given up
    served = serve(say_length)
    assert served.connect().rest(last(ASK) + ASK).endswith(b"read 0")
    served.wait_until(0, lambda one: one.ahead)
    served.stop()


def test_a_thread_may_wake_the_loop_after_the_stop(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's pipe must still be there: its number could be another connection's."""
    monkeypatch.setattr(server, "STOP_SECONDS", 0.1)
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
    listener = served.server._listeners[0]
    wake, pipe = listener.pull_trigger, listener.trigger.trigger
    inode = os.fstat(pipe).st_ino

    def note() -> None:
        wake()
        if stopped.is_set():
            woken.set()

    monkeypatch.setattr(listener, "pull_trigger", note)
    slow = served.connect(slow=True)
    slow.sendall(ASK)
    slow.recv(1)
    time.sleep(0.2)
    served.stop()
    stopped.set()
    assert woken.wait(60)
    assert os.fstat(pipe).st_ino == inode


def hold_up(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
    """Delay the next `stop` at the loop's pipe."""
    physical_pull = trigger.trigger._physical_pull  # waitress has no other place to hold it up

    def pull(pipe: trigger.trigger) -> None:
        monkeypatch.undo()
        physical_pull(pipe)  # the loop wakes, and sees that it is to stop
        meanwhile()
        physical_pull(pipe)

    monkeypatch.setattr(trigger.trigger, "_physical_pull", pull)


def fill(pipe: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.write(pipe, b"x" * 4096):
            pass


def test_a_stop_may_be_slow_or_meet_another_or_a_full_pipe(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, again, full = (serve(say_length) for _ in range(3))
    hold_up(monkeypatch, lambda: slow.thread.join(HELD_SECONDS))
    slow.stop()  # with the pipe closed: EBADF, or a byte in another file
    hold_up(monkeypatch, again.server.stop)  # as a signal handler does
    stopping = threading.Thread(target=again.stop, daemon=True)
    stopping.start()
    stopping.join(60)
    assert not stopping.is_alive()
    hold_up(monkeypatch, lambda: fill(full.server._listeners[0].trigger.trigger))
    full.stop()


def test_a_stop_after_the_end_writes_into_no_other_file(serve: Serve) -> None:
    served = serve(say_length)
    served.stop()
    read, write = os.pipe()  # it may have the number that the loop's pipe had
    os.set_blocking(read, False)
    served.server.stop()
    with pytest.raises(BlockingIOError):
        os.read(read, 1)
    os.close(read)
    os.close(write)
