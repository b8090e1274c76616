"""A connection whose thread stays with it for the next request, and meanwhile needs nothing of the server's loop.

To hand a small request from the loop to a thread, and the connection back, takes as long as the answer does. Worse, of a loop
that is awake while the thread writes: it finds bytes to be sent, and their lock taken, and looks again and again; where it has
the thread's processor, it does so until the system's next tick, 4 ms later.
"""

from __future__ import annotations

import contextlib
import select
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from services.api.http.bounded_channel import BoundedChannel

#: Seconds that a thread stays with a connection that it has answered, for the next request on it.
STAY_SECONDS = 0.2


class Attending(threading.local):
    """Which connection the thread that looks stays with."""

    channel: StayingChannel | None = None

    def needs_the_loop(self) -> bool:
        """Tell whether the loop has anything to do for this thread's connection, as it has where the thread stays with none."""
        return self.channel is None or self.channel.needs_the_loop()


class StayingChannel(BoundedChannel):
    """A connection. `attending` tells of threads, `may_stay` whether one may wait for the next request."""

    def __init__(self, *args: Any, attending: Attending, may_stay: Callable[[], bool], **more: Any) -> None:
        self._attending = attending
        self._may_stay = may_stay
        #: Whether a thread stays with it: the loop then does not read it, and no other thread is wanted for it.
        self.attended = False
        self._sending = False
        super().__init__(*args, **more)

    def service(self) -> None:
        """Answer one request, and those that follow it at once."""
        self.attended = True
        self._attending.channel = self
        try:
            self.answer()
            while self._asked_again():
                self.answer()
        except BaseException:
            self._give_up()
            raise
        finally:
            self._attending.channel = None
            self._leave()

    def answer(self) -> None:
        """Answer one request."""
        super().service()

    def readable(self) -> bool:
        """Tell whether the loop reads it."""
        # In this order: a thread may take a request, answer it and stay between the two. Without a request only the loop begins one.
        return bool(super().readable()) and not self.attended

    def writable(self) -> bool:
        """Tell whether the loop sends what waits, or closes: not what a thread is sending right now."""
        return self.needs_the_loop() and not self._sending

    def needs_the_loop(self) -> bool:
        """Tell whether the client has not taken all, or the connection is to be closed."""
        return bool(super().writable())

    def write_soon(self, data: Any) -> int:
        """Send; what the client does not take is left to the loop."""
        if not self.total_outbufs_len:  # nothing has waited for the client until now
            self.last_activity = time.time()
        with self._by_itself():
            return super().write_soon(data)

    def send_continue(self) -> None:
        """Ask the client for the body that it has announced."""
        with self._by_itself():
            super().send_continue()

    @contextlib.contextmanager
    def _by_itself(self) -> Iterator[None]:
        """Keep the loop from what is sent meanwhile."""
        self._sending = True
        try:
            yield
        finally:
            self._sending = False
            if self.connected and self.needs_the_loop():
                self.server.pull_trigger()  # it may have been woken before, and have seen the bytes as this thread's

    def _flush_some(self, *, do_close: bool = True) -> bool:
        """Send what the client takes. Only the loop may close a connection, and only one thread may send at a time.

        Waitress's loop sends without the lock while there is no request: there a thread that stays may send already.
        """
        with self.outbuf_lock:
            return super()._flush_some(do_close=do_close and self._attending.channel is not self)

    def _flush_outbufs_below_high_watermark(self) -> None:
        """Wait, where much is ahead of the client, until the loop has sent some of it."""
        if self.total_outbufs_len > self.adj.outbuf_high_watermark:
            sending, self._sending = self._sending, False
            super()._flush_outbufs_below_high_watermark()
            self._sending = sending

    def _give_up(self) -> None:
        """Have the connection closed: what brought down the thread that answered a request would bring down the next one, too."""
        with self.requests_lock:
            requests, self.requests, self.will_close = self.requests, [], True
        for request in requests:
            with contextlib.suppress(Exception):
                request.close()

    def _leave(self) -> None:
        """Leave the connection to the loop, and what the loop had read before this thread came to another thread."""
        with self.requests_lock:
            self.attended = False
            if self.connected and self.requests:
                self.server.add_task(self)
        if self.connected:
            self.server.pull_trigger()

    def _asked_again(self) -> bool:
        """Wait for a whole next request, if threads are to spare. What has come of one by then is read on by the loop."""
        deadline = time.monotonic() + STAY_SECONDS
        while not self.requests:
            if not (self.connected and super().readable() and self._may_stay()):
                return False
            data = self._wait_for_bytes(deadline)
            if not data:
                return False
            self.last_activity = time.time()
            self.received(data)
        return True

    def _wait_for_bytes(self, deadline: float) -> bytes:
        """Return what comes; nothing if that is late, or the connection's end: only the loop may close it, and it hears the same."""
        connection = self.socket
        if connection is None:  # the server stops, and has closed it
            return b""
        try:
            poll = select.poll()
            poll.register(connection, select.POLLIN)
            if poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return bytes(connection.recv(self.adj.recv_bytes))
        except (OSError, ValueError):  # ValueError: it is closed since
            pass
        return b""
