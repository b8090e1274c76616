"""The HTTP server: waitress with limits on connections, and a bounded stop."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
import time
import weakref
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

from waitress import wasyncore
from waitress.server import BaseWSGIServer, create_server

from services.api.capacity.disk import SMALL_BODY
from services.api.http.access_log import AccessLog
from services.api.http.admission import Admission
from services.api.http.channel import Channel, wake
from services.api.http.concurrency_limits import CONNECTIONS, RESERVED_CONNECTIONS, THREADS
from shared import metrics
from shared.appliance.counters import Counters
from shared.errors import HttpError
from shared.memory import return_free_memory
from shared.metrics import ClosedConnection
from shared.settings import Settings
from shared.timing import TIMING

#: Bytes that are read at a time, and of an answer that are sent at a time.
READ_BYTES, SEND_BYTES = 16 * 1024, 64 * 1024
#: Bytes of an answer that are made ahead of a slow reader, and that one buffer keeps in memory: as many as are made
#: ahead with one block on top, since writing and reading a file costs as much as writing JSON.
AHEAD_BYTES, ANSWER_BYTES = 256 * 1024, 512 * 1024
#: Bytes of an answer that the system keeps for a slow reader: by itself up to 4 MB, and a container pays for them.
UNSENT_BYTES = 128 * 1024
#: Connections after which freed memory is returned to the system, and so many looks with fewer before it: the loop
#: stands still meanwhile.
MANY_CONNECTIONS, CALM_LOOKS = 50, 3
#: Seconds between two searches for expired connections, that requests have to finish at a stop, and then their threads.
EXPIRY_SECONDS, STOP_SECONDS, THREAD_STOP_SECONDS = 1.0, 2.0, 0.3

_log = logging.getLogger("shapbox.http")


class ConnectionLimits:
    """Closes connections that expire or have to make room. `parts`: of the server's loop."""

    def __init__(self, settings: Settings, counters: Counters, parts: dict[int, Any]) -> None:
        self._per_address = settings.max_connections_per_address
        self._proxies = settings.trusted_proxies
        self._counters = counters
        self._parts = parts
        #: Calm looks after which the memory of many connections is returned; 0: none is left to return.
        self._calm_looks = 0

    def channels(self) -> list[Channel]:
        """Return the open connections."""
        return [part for part in list(self._parts.values()) if isinstance(part, Channel)]

    @contextlib.contextmanager
    def guard(self, channel: Channel) -> Iterator[None]:
        """Close a connection on a fault, which would end the loop or its listener."""
        try:
            yield
        except Exception:  # noqa: BLE001  # the others go on
            _log.exception("a connection is closed")
            channel.will_close = True

    def admit(self, new: Channel) -> None:
        """Make room for a connection. Without room it is for health checks only, or closed."""
        with self.guard(new):
            self._admit(new)

    def _admit(self, new: Channel) -> None:
        new.health_only = False
        address = ip_address(new.addr[0])
        shared = address.is_loopback or any(address in network for network in self._proxies)
        others = [channel for channel in self.channels() if channel is not new]
        own = [] if shared else [channel for channel in others if channel.addr[0] == new.addr[0]]
        full = own if len(own) >= self._per_address else others
        if full is others and len(others) < CONNECTIONS:
            return
        # Nobody waits for an answer of these, and no body comes in with a valid key.
        free = [one for one in full if not (one.requests or (one.request and one.request.headers_finished))]
        if free:
            # Last those whose answer is still being sent, or whose next request has come.
            oldest = min(free, key=lambda one: (bool(one.total_outbufs_len or one.ahead), one.since))
            self._close(oldest, ClosedConnection.EVICTED)
        elif len(others) < CONNECTIONS + RESERVED_CONNECTIONS:
            new.health_only = not address.is_loopback
        else:
            self._close(new, ClosedConnection.REFUSED)

    def expire(self) -> None:
        """Close what is idle or stalled, and answer what takes too long to arrive."""
        channels = self.channels()
        if len(channels) > MANY_CONNECTIONS:
            self._calm_looks = CALM_LOOKS
        elif self._calm_looks:
            self._calm_looks -= 1
            if not self._calm_looks:  # what they held lies all over the heap
                return_free_memory()
        for channel in channels:
            with self.guard(channel):
                self._expire(channel)

    def _expire(self, channel: Channel) -> None:
        now = time.monotonic()
        waits_for_client = channel.writable() or not channel.requests
        silence = time.time() - channel.last_activity  # asked last: a thread may just have begun to send
        # All that it still sends is dropped, but only for a time.
        answered = channel.close_when_flushed and not channel.total_outbufs_len
        if channel.request and now > channel.request.deadline:
            channel.refuse(HttpError(408, "request-timeout", "The request took too long to arrive."))
        elif (waits_for_client and silence > TIMING.http_idle_seconds) or (
            answered and now - channel.since > TIMING.http_linger_seconds
        ):
            self._close(channel, ClosedConnection.TIMEOUT)

    def _close(self, channel: Channel, reason: ClosedConnection) -> None:
        self._counters.add(metrics.HTTP_CONNECTIONS_CLOSED, reason)
        channel.handle_close()


class Server:
    """Listens from the moment it is made; serves while `run` runs."""

    def __init__(self, app: AccessLog, admission: Admission, settings: Settings, counters: Counters) -> None:
        self._parts: dict[int, Any] = {}
        self._limits = ConnectionLimits(settings, counters, self._parts)
        self._stopping = False  # no Event: a signal handler could not take its lock again
        self._next_expiry = 0.0
        first = create_server(
            app,
            map=self._parts,
            host=settings.host,
            port=settings.port,
            threads=THREADS,
            ident="",
            log_socket_errors=False,
            recv_bytes=READ_BYTES,
            inbuf_overflow=SMALL_BODY,
            outbuf_overflow=ANSWER_BYTES,
            outbuf_high_watermark=AHEAD_BYTES,
            connection_limit=2**31,  # ConnectionLimits has its own limits and times
            channel_timeout=2**31,
        )
        self._dispatcher = first.task_dispatcher
        self._listeners = [part for part in self._parts.values() if isinstance(part, BaseWSGIServer)]
        for listener in self._listeners:
            listener.adj.send_bytes = SEND_BYTES  # as an argument it warns of a future release
            # Accepted sockets inherit the listener's options.
            listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
            listener.channel_class = functools.partial(Channel, admission=admission, limits=self._limits)
            pipe = listener.trigger
            os.set_blocking(pipe.trigger, False)  # a full pipe wakes the loop, too
            listener.pull_trigger = functools.partial(wake, pipe)
            # Closed only when no thread can write to it any more: its number may be another file's afterwards.
            pipe._fds = pipe._fds[:1]  # noqa: SLF001  # what waitress closes
            weakref.finalize(listener, os.close, pipe.trigger)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._listeners[0].effective_port)

    def stop(self) -> None:
        """Make `run` return soon. Any thread or signal handler may call it, at any time."""
        self._stopping = True
        self._listeners[0].pull_trigger()

    def run(self, on_stop: Callable[[], None] = lambda: None) -> None:
        """Serve until `stop` is called; then call `on_stop` and finish within a bounded time."""
        while not self._stopping:
            self._turn(EXPIRY_SECONDS)
        self._turn(0.0)  # connections that were made before now are still heard
        on_stop()
        for listener in self._listeners:
            wasyncore.dispatcher.close(listener)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and any(
            one.requests or one.ahead or one.total_outbufs_len for one in self._limits.channels()
        ):
            self._turn(0.02)
        self._dispatcher.shutdown(timeout=THREAD_STOP_SECONDS)
        wasyncore.close_all(self._parts)

    def _turn(self, timeout: float) -> None:
        wasyncore.loop(timeout=timeout, use_poll=True, map=self._parts, count=1)
        if time.monotonic() >= self._next_expiry:
            self._next_expiry = time.monotonic() + EXPIRY_SECONDS
            self._limits.expire()
