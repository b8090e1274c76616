"""The moments in which the loop and a thread, or a thread and the stop, meet."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from waitress import trigger, wasyncore
from waitress.parser import HTTPRequestParser

from services.api.http import server
from services.api.http.access_log import StartResponse
from tests.integration.api.served import ASK, KEYED, Serve, Served, answer, last, rest, say_length

#: Seconds that the loop has to end while a `stop` is held up. It takes some 0.2 s, and must not do so.
HELD_SECONDS = 1.5


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

    def let_others_come(self, served: Served, stack: contextlib.ExitStack, count: int = 3) -> None:
        """Wake the loop some times, and then send."""
        assert self.sending.wait(60)
        for _ in range(count):
            stack.enter_context(served.connect())
            time.sleep(0.05)
        self.others_came.set()


def test_a_body_is_asked_for_once_however_often_the_loop_is_woken_meanwhile(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(say_length)
    with contextlib.ExitStack() as stack:
        asking = stack.enter_context(served.connect())
        asking.sendall(ASK)
        assert answer(asking).endswith(b"read 0")
        late = LateSend(monkeypatch, b"100 Continue")
        body = b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        asking.sendall(KEYED.replace(b"/v1/jobs", b"/echo") + body)
        late.let_others_come(served, stack)
        time.sleep(0.1)
        assert answer(asking) == b"HTTP/1.1 100 Continue\r\n\r\n"
        asking.sendall(b"hello")
        received = answer(asking)
        assert received.startswith(b"HTTP/1.1 200")
        assert b"100 Continue" not in received
        assert received.endswith(b"read 5")


def test_the_loop_does_not_turn_round_and_round_while_a_thread_sends(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[float] = []
    turn = wasyncore.loop

    def count_turn(**named: Any) -> None:
        turn(**named)
        turns.append(time.monotonic())

    monkeypatch.setattr(wasyncore, "loop", count_turn)
    late = LateSend(monkeypatch)
    served = serve(say_length)
    with contextlib.ExitStack() as stack:
        asking = stack.enter_context(served.connect())
        asking.sendall(ASK)
        assert late.sending.wait(60)
        before = len(turns)
        late.let_others_come(
            served, stack, 5
        )  # each wakes the loop, which then sees bytes that are not sent yet
        count = len(turns) - before
        assert answer(asking).endswith(b"read 0")
    assert 1 <= count < 100  # the seconds of a busy machine take some, and a busy loop thousands


def test_an_answer_that_was_long_in_coming_is_not_taken_for_one_that_nobody_reads(
    serve: Serve, times: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    times(http_idle_seconds=0.3)
    monkeypatch.setattr(server, "EXPIRY_SECONDS", 0.0)  # the loop looks at every turn

    def say_late(_environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        time.sleep(0.5)
        start_response("200 OK", [("Content-Length", "200000")])
        yield b"x" * 100_000
        time.sleep(0.1)  # a loop that has decided to close comes to it now
        yield b"x" * 100_000

    late = LateSend(monkeypatch)
    served = serve(say_late)
    with contextlib.ExitStack() as stack:
        asking = stack.enter_context(served.connect())
        asking.sendall(last(ASK))
        late.let_others_come(served, stack)
        assert rest(asking).count(b"x") == 200_000


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

    with serve(fail).connect() as asking:
        asking.sendall(ASK)
        assert rest(asking).startswith(b"HTTP/1.1 500 ")


# --- The stop ---


def test_requests_that_have_come_by_the_stop_or_during_it_are_answered(serve: Serve) -> None:
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
        long.sendall(ASK.replace(b"/echo", b"/long") + ASK)
        assert working.wait(60)
        served.stop()
        time.sleep(0.1)
        kept.sendall(ASK)
        assert answer(kept).endswith(b"read 0")
        go_on.set()
        assert answer(long).endswith(b"read 0")
        assert answer(long).endswith(b"read 0")
        served.thread.join(60)
        assert rest(kept) == b""
    assert not served.thread.is_alive()


def test_what_came_after_a_last_request_does_not_delay_the_stop(
    serve: Serve, wait_until: Callable[..., float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "STOP_SECONDS", 600)  # at which a connection is given up
    served = serve(say_length)
    with served.connect() as asking:
        asking.sendall(last(ASK) + ASK)
        assert rest(asking).endswith(b"read 0")
        wait_until(lambda: not any(one.ahead for one in served.channels))
        served.stop()
        served.thread.join(60)
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
    listener = served.server._listeners[0]
    wake, pipe = listener.pull_trigger, listener.trigger.trigger
    inode = os.fstat(pipe).st_ino

    def note() -> None:
        wake()
        if stopped.is_set():
            woken.set()

    monkeypatch.setattr(listener, "pull_trigger", note)
    with served.connect_slow() as slow:
        slow.sendall(ASK)
        slow.recv(1)
        time.sleep(0.2)
        served.stop()
        served.thread.join(60)
        assert not served.thread.is_alive()
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


def test_the_loop_keeps_its_pipe_open_while_a_stop_writes_to_it(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(say_length)
    hold_up(monkeypatch, lambda: served.thread.join(HELD_SECONDS))
    served.stop()  # with the pipe closed: EBADF, or a byte in another file
    served.thread.join(60)
    assert not served.thread.is_alive()


def test_a_stop_may_come_in_the_middle_of_a_stop_with_a_full_pipe_and_after_the_end(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(say_length)
    hold_up(monkeypatch, served.stop)  # as a signal handler does
    stopping = threading.Thread(target=served.stop, daemon=True)
    stopping.start()
    stopping.join(60)
    assert not stopping.is_alive()
    served.thread.join(60)
    read, write = os.pipe()  # it may have the number that the loop's pipe had
    os.set_blocking(read, False)
    served.stop()
    with pytest.raises(BlockingIOError):
        os.read(read, 1)
    os.close(read)
    os.close(write)

    full = serve(say_length)
    hold_up(monkeypatch, lambda: fill(full.server._listeners[0].trigger.trigger))
    full.stop()
    full.thread.join(60)
    assert not full.thread.is_alive()
