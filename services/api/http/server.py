"""The HTTP server: waitress, with problem documents of its own, guarded uploads and a bounded stop."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from waitress import wasyncore
from waitress.server import BaseWSGIServer, create_server

from services.api.http.access_log import Envelope
from services.api.http.admission import Intake
from services.api.http.channel import Channel
from services.api.http.concurrency_limits import THREADS
from services.api.http.staying_channel import STAY_SECONDS, Attending
from shared.settings import Settings

#: Bytes of a body that wait in memory, per connection; beyond that they wait in a file.
BUFFER_BYTES = 256 * 1024
#: Bytes of an answer made ahead of a slow reader, and of those that wait in memory: more than are made ahead with one block
#: on top, since a file that is written for each of them and read back costs as much as the writing of JSON.
AHEAD_BYTES, ANSWER_BYTES = 256 * 1024, 512 * 1024
#: Bytes of an answer that the system takes ahead of a slow reader's line: by itself it takes up to 4 MB of each, and a container pays
#: for them.
UNSENT_BYTES = 128 * 1024
#: Bytes of all answers that wait in memory, beyond which they wait in files: 300 slow readers would fill a container otherwise.
ANSWERS_BYTES = 8 * 2**20
#: Bytes of all of a request's headers.
HEADER_BYTES = 64 * 1024
#: Connections at a time; the others wait in the system's queue.
CONNECTIONS = 300
#: Seconds after which a connection without a request is closed, and one whose client takes no more bytes.
IDLE_SECONDS, STALL_SECONDS = 75, 60
#: Seconds between two looks for stalled connections.
LOOK_SECONDS = 5.0
#: Seconds that requests under way have to finish when the process is told to stop.
STOP_SECONDS = 2.0


class Server:
    """Listens from the moment it is made; serves while `run` runs."""

    def __init__(self, app: Envelope, settings: Settings) -> None:
        self._map: dict[int, Any] = {}
        self._stopping = False  # no Event: its lock could not be taken again by a signal handler
        first = create_server(
            app,
            map=self._map,
            host=settings.host,
            port=settings.port,
            threads=THREADS,
            ident="",
            expose_tracebacks=False,
            log_socket_errors=False,
            recv_bytes=64 * 1024,
            inbuf_overflow=BUFFER_BYTES,
            outbuf_overflow=ANSWER_BYTES,
            outbuf_high_watermark=AHEAD_BYTES,
            max_request_header_size=HEADER_BYTES,
            max_request_body_size=2**62,  # Intake bounds it
            connection_limit=CONNECTIONS,
            channel_timeout=IDLE_SECONDS,
            cleanup_interval=10,
        )
        self._dispatcher = first.task_dispatcher
        self._attending = Attending()
        self._listeners = [part for part in self._map.values() if isinstance(part, BaseWSGIServer)]
        make_channel = functools.partial(
            Channel,
            intake=Intake(settings),
            count=app.count_refused,
            attending=self._attending,
            may_stay=self._may_stay,
            most_kept=ANSWERS_BYTES,
        )
        for listener in self._listeners:
            # Connections have what the socket has that they are accepted from.
            listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
            listener.channel_class = make_channel
            listener.add_task = self._add_task
            listener.pull_trigger = functools.partial(self._wake, listener.trigger.pull_trigger)
            # A full pipe wakes the loop already: nobody should wait for room in it, least of all with the lock.
            os.set_blocking(listener.trigger.trigger, False)
        self._next_look = 0.0
        #: Held to write to the loop's pipes, and to set `_closed`. Reentrant: a signal handler may interrupt its own thread.
        self._pipes = threading.RLock()
        self._closed = False

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._listeners[0].effective_port)

    def stop(self) -> None:
        """Make `run` return, soon. May be called from a signal handler or another thread, also after `run` has returned."""
        self._stopping = True
        self._listeners[0].pull_trigger()

    def run(self, on_stop: Callable[[], None] = lambda: None) -> None:
        """Serve until `stop` is called; then call `on_stop` and finish what is under way, for a bounded time."""
        while not self._stopping:
            self._turn(1.0)
        self._turn(0.0)  # connections that were made before now are still heard
        on_stop()
        for listener in self._listeners:
            wasyncore.dispatcher.close(listener)
        deadline = time.monotonic() + STOP_SECONDS
        while self._busy() and time.monotonic() < deadline:
            self._turn(0.02)
        with self._pipes:  # a thread that is writing to a pipe finishes first
            self._closed = True
        self._dispatcher.shutdown(timeout=STAY_SECONDS + 0.1)
        wasyncore.close_all(self._map)  # connections, and the pipes that wake the loop

    def _add_task(self, channel: Channel) -> None:
        """Find a thread for a channel's request, unless one stays with it."""
        if not channel.attended:
            self._dispatcher.add_task(channel)

    def _wake(self, pull: Callable[[], None]) -> None:
        """Wake the loop, if there is anything to do: waitress does after each answer, also where a thread stays.

        A closed pipe is not written to: its number may be another file's by then.
        """
        if not self._attending.needs_the_loop():
            return
        with self._pipes, contextlib.suppress(BlockingIOError):
            if not self._closed:
                pull()

    def _may_stay(self) -> bool:
        """Tell whether there are threads for others while one waits for a connection's next request."""
        return self._dispatcher.active_count <= THREADS // 2 and not self._stopping

    def _turn(self, timeout: float) -> None:
        wasyncore.loop(timeout=timeout, use_poll=True, map=self._map, count=1)
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._close_stalled(time.time() - STALL_SECONDS)

    def _channels(self) -> list[Channel]:
        return [part for part in self._map.values() if isinstance(part, Channel)]

    def _busy(self) -> bool:
        return any(
            channel.attended or channel.requests or channel.total_outbufs_len for channel in self._channels()
        )

    def _close_stalled(self, before: float) -> None:
        """Close what takes no bytes any more: its request would keep a thread for ever.

        Also what is to be closed: waitress waits until it can be written to, which it cannot while the system holds UNSENT_BYTES.
        """
        for channel in self._channels():
            if channel.needs_the_loop() and channel.last_activity < before:
                channel.handle_close()
