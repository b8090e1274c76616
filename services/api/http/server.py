"""The HTTP server: waitress with limits, and a bounded stop."""

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

from services.api.capacity.disk import SMALL_BODY
from services.api.http.access_log import AccessLog
from services.api.http.admission import Admission
from services.api.http.channel import Channel
from services.api.http.concurrency_limits import THREADS
from services.api.http.connection_limits import ConnectionLimits
from shared.appliance.counters import Counters
from shared.settings import Settings

#: Bytes that are read at a time, of which those after a request wait for its answer, and of a body that waits in memory.
READ_BYTES, BODY_BYTES = 16 * 1024, SMALL_BODY
#: Bytes of an answer that are sent at a time, that are made ahead of a slow reader, and that one buffer keeps in memory:
#: as many as are made ahead with one block on top, since writing and reading a file costs as much as writing JSON.
SEND_BYTES, AHEAD_BYTES, ANSWER_BYTES = 64 * 1024, 256 * 1024, 512 * 1024
#: Bytes of an answer that the system keeps for a slow reader: by itself up to 4 MB, and a container pays for them.
UNSENT_BYTES = 128 * 1024
#: Seconds between two searches for expired connections, that requests have to finish at a stop, and then their threads.
EXPIRY_SECONDS, STOP_SECONDS, THREAD_STOP_SECONDS = 1.0, 2.0, 0.3


class Server:
    """Listens from the moment it is made; serves while `run` runs."""

    def __init__(self, app: AccessLog, admission: Admission, settings: Settings, counters: Counters) -> None:
        self._map: dict[int, Any] = {}
        self._limits = ConnectionLimits(settings, counters, self._map)
        self._stopping = False  # no Event: a signal handler could not take its lock again
        self._next_expiry = 0.0
        #: Held to write to the loop's pipes, and to set `_closed`. Reentrant: a signal handler may interrupt its thread.
        self._pipes = threading.RLock()
        self._closed = False
        first = create_server(
            app,
            map=self._map,
            host=settings.host,
            port=settings.port,
            threads=THREADS,
            ident="",
            log_socket_errors=False,
            recv_bytes=READ_BYTES,
            inbuf_overflow=BODY_BYTES,
            outbuf_overflow=ANSWER_BYTES,
            outbuf_high_watermark=AHEAD_BYTES,
            connection_limit=2**31,  # ConnectionLimits has its own
            channel_timeout=2**31,
        )
        self._dispatcher = first.task_dispatcher
        self._listeners = [part for part in self._map.values() if isinstance(part, BaseWSGIServer)]
        for listener in self._listeners:
            # Accepted sockets inherit the listener's options.
            listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
            listener.adj.send_bytes = SEND_BYTES  # as an argument it warns of a future release
            listener.channel_class = functools.partial(Channel, admission=admission, limits=self._limits)
            listener.pull_trigger = functools.partial(self._wake, listener.trigger.pull_trigger)
            os.set_blocking(listener.trigger.trigger, False)  # a full pipe wakes the loop, too

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._listeners[0].effective_port)

    def stop(self) -> None:
        """Make `run` return soon. Any thread and a signal handler may call it, also after `run` has returned."""
        self._stopping = True
        self._listeners[0].pull_trigger()

    def run(self, on_stop: Callable[[], None] = lambda: None) -> None:
        """Serve until `stop` is called; then call `on_stop` and finish what is under way, for a bounded time."""
        while not self._stopping:
            self._turn(EXPIRY_SECONDS)
        self._turn(0.0)  # connections that were made before now are still heard
        on_stop()
        for listener in self._listeners:
            wasyncore.dispatcher.close(listener)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and any(
            channel.requests or channel.total_outbufs_len for channel in self._limits.channels()
        ):
            self._turn(0.02)
        with self._pipes:
            self._closed = True
        self._dispatcher.shutdown(timeout=THREAD_STOP_SECONDS)
        wasyncore.close_all(self._map)  # connections, and the pipes that wake the loop

    def _wake(self, pull: Callable[[], None]) -> None:
        """Wake the loop. A closed pipe is not written to: its number may be another file's by then."""
        with self._pipes, contextlib.suppress(BlockingIOError):
            if not self._closed:
                pull()

    def _turn(self, timeout: float) -> None:
        wasyncore.loop(timeout=timeout, use_poll=True, map=self._map, count=1)
        if time.monotonic() >= self._next_expiry:
            self._next_expiry = time.monotonic() + EXPIRY_SECONDS
            self._limits.expire()
