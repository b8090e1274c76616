"""The HTTP server: waitress with limits on connections, and a bounded stop."""

from __future__ import annotations

import contextlib
import functools
import heapq
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
from services.api.http.concurrency_limits import WORKING_THREADS
from services.api.http.proxies import Proxies
from shared import metrics
from shared.appliance.counters import Counters
from shared.appliance.handover import take_listeners
from shared.errors import HttpError
from shared.metrics import ClosedConnection
from shared.network import client_address, listen
from shared.settings import RESERVED_CONNECTIONS, Settings
from shared.timing import TIMING

#: Bytes that are read at a time, and of an answer that are sent at a time.
READ_BYTES, SEND_BYTES = 16 * 1024, 64 * 1024
#: Bytes of an answer that are made ahead of a slow reader, and that one buffer keeps in memory: as many as are made
#: ahead with one block on top, since writing and reading a file costs as much as writing JSON.
AHEAD_BYTES, ANSWER_BYTES = 256 * 1024, 512 * 1024
#: Bytes of an answer that the system keeps for a slow reader: by itself up to 4 MB, and a container pays for them.
UNSENT_BYTES = 128 * 1024
#: In each turn of the loop: new connections that are accepted, and pipelined requests that are begun. A turn is long
#: while threads are busy, and new requests of others must not wait for many turns.
ACCEPTED, PIPELINED = 64, 4
#: Seconds after its opening, or its last progress, in which a connection has not been idle for long.
FRESH_SECONDS = 2.0
#: Seconds between two searches for expired connections, that requests have to finish at a stop, and then their threads.
EXPIRY_SECONDS, STOP_SECONDS, THREAD_STOP_SECONDS = 1.0, 2.0, 0.3

_log = logging.getLogger("shapbox.http")


class Server:
    """Listens from the moment it is made; serves while `run` runs."""

    def __init__(self, app: AccessLog, admission: Admission, settings: Settings, counters: Counters) -> None:
        self.admission = admission
        self.proxies = Proxies(settings)
        self._settings = settings
        self._counters = counters
        self._parts: dict[int, Any] = {}
        self._stopping = False  # no Event: a signal handler could not take its lock again
        self._next_expiry = 0.0
        self._ready: list[Any] = []  # listeners on which connections wait
        first = create_server(
            app,
            map=self._parts,
            sockets=take_listeners(settings.starting_socket) or listen(settings.host, settings.port),
            threads=WORKING_THREADS + settings.max_waiting_requests,
            ident="",
            log_socket_errors=False,
            recv_bytes=READ_BYTES,
            inbuf_overflow=SMALL_BODY,
            outbuf_overflow=ANSWER_BYTES,
            outbuf_high_watermark=AHEAD_BYTES,
            connection_limit=2**31,  # there are limits and times of our own
            channel_timeout=2**31,
        )
        self._dispatcher = first.task_dispatcher
        self._listeners = [part for part in self._parts.values() if isinstance(part, BaseWSGIServer)]
        for listener in self._listeners:
            listener.adj.send_bytes = SEND_BYTES  # as an argument it warns of a future release
            # Accepted sockets inherit the listener's options.
            listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
            listener.handle_accept = functools.partial(self._ready.append, listener)
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

    @property
    def channels(self) -> list[Channel]:
        """The open connections."""
        return [part for part in list(self._parts.values()) if isinstance(part, Channel)]

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
            one.requests or one.ahead or one.total_outbufs_len for one in self.channels
        ):
            self._turn(0.02)
        self._dispatcher.shutdown(timeout=THREAD_STOP_SECONDS)
        wasyncore.close_all(self._parts)

    def admit(self, new: Channel) -> None:
        """Make room for a connection. Without room it is for health checks only, or closed."""
        new.health_only = False
        address = ip_address(new.addr[0])
        shared = address.is_loopback or self.proxies.trusts(address)
        others = [channel for channel in self.channels if channel is not new]
        own = [] if shared else [channel for channel in others if channel.addr[0] == new.addr[0]]
        full = own if len(own) >= self._settings.max_connections_per_address else others
        most = self._settings.max_connections
        if full is others and len(others) < most:
            return
        # Nobody waits for an answer of these, and no body comes in with a valid key.
        free = [one for one in full if not (one.requests or (one.request and one.request.headers_finished))]
        if free:
            self._close(min(free, key=_usefulness), ClosedConnection.EVICTED)
        elif len(others) < most + RESERVED_CONNECTIONS:
            new.health_only = not address.is_loopback
        else:
            self._close(new, ClosedConnection.REFUSED)

    def _turn(self, timeout: float) -> None:
        waiting = [one for one in self.channels if one.waits_for_its_turn()]
        for channel in heapq.nsmallest(PIPELINED, waiting, key=lambda one: one.since):
            with _closed_on_fault(channel):
                channel.received(b"")
        more = len(waiting) > PIPELINED
        wasyncore.loop(timeout=0.0 if more else timeout, use_poll=True, map=self._parts, count=1)
        # Not in the loop: its next event may be of one that is closed for a new one, which then has its number.
        while self._ready:
            self._accept(self._ready.pop())
        if time.monotonic() >= self._next_expiry:
            self._next_expiry = time.monotonic() + EXPIRY_SECONDS
            for channel in self.channels:
                with _closed_on_fault(channel):
                    self._expire(channel)

    def _accept(self, listener: Any) -> None:
        for _ in range(ACCEPTED):
            try:
                if (accepted := listener.accept()) is None:
                    return
                listener.set_socket_options(accepted[0])
            except OSError:  # the client has left meanwhile
                return
            connection, address = accepted[0], client_address(accepted[1])
            channel = Channel(listener, connection, address, listener.adj, map=self._parts, owner=self)
            with _closed_on_fault(channel):
                self.admit(channel)

    def _expire(self, channel: Channel) -> None:
        """Close it if it is idle or stalled, or answer a request that takes too long to arrive."""
        now = time.monotonic()
        waits_for_client = channel.writable() or not channel.requests
        silence = now - channel.last_activity  # asked last: a thread may just have begun to send
        if channel.request and now > channel.request.deadline:
            channel.refuse(HttpError(408, "request-timeout", "The request took too long to arrive."))
        elif (waits_for_client and silence > self._settings.idle_timeout_seconds) or (
            channel.lingering and now - channel.since > TIMING.http_linger_seconds
        ):
            self._close(channel, ClosedConnection.TIMEOUT)

    def _close(self, channel: Channel, reason: ClosedConnection) -> None:
        self._counters.add(metrics.HTTP_CONNECTIONS_CLOSED, reason)
        channel.handle_close()


def _usefulness(channel: Channel) -> tuple[int, float]:
    """Return its rank, and its last progress: the oldest of the lowest rank is closed.

    2: its client has just come, or just taken a part of an answer; 1: it was just answered, or does not read; 0: idle.
    """
    answering = bool(channel.total_outbufs_len or channel.ahead)
    since = channel.last_activity if answering else channel.since
    fresh = time.monotonic() - since < FRESH_SECONDS
    if fresh and (answering or not channel.answered):
        return 2, since
    return int(fresh or answering), since


@contextlib.contextmanager
def _closed_on_fault(channel: Channel) -> Iterator[None]:
    """Close a connection on a fault, which would end the loop or its listener."""
    try:
        yield
    except Exception:  # noqa: BLE001  # the others go on
        _log.exception("a connection is closed")
        channel.will_close = True
