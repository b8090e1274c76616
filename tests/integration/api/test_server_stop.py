"""Stopping the server: its loop may end, and close its pipes, at any moment of a `stop`."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

import pytest
from waitress import trigger

from services.api.app import create_server
from services.api.components import Components

#: Seconds that the loop has to end while a `stop` is held up. It takes some 0.2 s, and must not do so.
HELD_SECONDS = 1.5


class Running:
    """A real server in a thread, and a `stop` that is delayed at the loop's pipe."""

    def __init__(self, components: Components, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = create_server(components)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        self._pull = trigger.trigger._physical_pull  # waitress has no other place to hold it up
        self._patch = monkeypatch

    def hold_up(self, meanwhile: Callable[[], object]) -> None:
        def pull(pipe: trigger.trigger) -> None:
            self._patch.undo()
            self._pull(pipe)  # the loop wakes, and sees that it is to stop
            meanwhile()
            self._pull(pipe)

        self._patch.setattr(trigger.trigger, "_physical_pull", pull)


@pytest.fixture
def running(components: Components, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    made = Running(components, monkeypatch)
    yield made
    made.server.stop()
    made.thread.join(10)
    assert not made.thread.is_alive()


def test_the_loop_keeps_its_pipe_open_while_a_stop_writes_to_it(running: Running) -> None:
    running.hold_up(meanwhile=lambda: running.thread.join(HELD_SECONDS))
    running.server.stop()  # with the pipe closed: EBADF, or a byte in another file


def test_a_signal_handler_may_stop_it_in_the_middle_of_a_stop(running: Running) -> None:
    running.hold_up(meanwhile=running.server.stop)
    stopping = threading.Thread(target=running.server.stop, daemon=True)
    stopping.start()
    stopping.join(10)
    assert not stopping.is_alive()


def test_a_stop_after_the_end_writes_nothing_anywhere(running: Running) -> None:
    running.server.stop()
    running.thread.join(10)
    read, write = os.pipe()  # it may have the number that the loop's pipe had
    os.set_blocking(read, False)
    running.server.stop()
    with pytest.raises(BlockingIOError):
        os.read(read, 1)
    os.close(read)
    os.close(write)


def test_a_full_pipe_holds_nobody_up(running: Running) -> None:
    listener = running.server._listeners[0]
    running.hold_up(meanwhile=lambda: fill(listener.trigger.trigger))
    running.server.stop()


def fill(pipe: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.write(pipe, b"x" * 4096):
            pass
