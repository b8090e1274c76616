"""How many connections may be open, how long, and which one is closed for a new one."""

from __future__ import annotations

import time
from ipaddress import ip_address
from typing import Any

from services.api.http.channel import Channel
from shared import metrics
from shared.appliance.counters import Counters
from shared.errors import HttpError
from shared.metrics import ClosedConnection
from shared.settings import Settings
from shared.timing import TIMING

#: Connections at a time, and those beyond that loopback and health checks may open.
CONNECTIONS, RESERVED_CONNECTIONS = 300, 32


class ConnectionLimits:
    """Closes connections that expire or have to make room. `parts` are those of the server's loop."""

    def __init__(self, settings: Settings, counters: Counters, parts: dict[int, Any]) -> None:
        self._per_address = settings.max_connections_per_address
        self._proxies = settings.trusted_proxies
        self._counters = counters
        self._parts = parts

    def channels(self) -> list[Channel]:
        """Return the open connections."""
        return [part for part in list(self._parts.values()) if isinstance(part, Channel)]

    def admit(self, new: Channel) -> None:
        """Make room for a connection. Without room it is for health checks only, or closed."""
        others = [channel for channel in self.channels() if channel is not new]
        address = ip_address(new.addr[0])
        shared = address.is_loopback or any(address in network for network in self._proxies)
        own = [] if shared else [channel for channel in others if channel.addr[0] == new.addr[0]]
        own_full = len(own) >= self._per_address
        if not own_full and len(others) < CONNECTIONS:
            return
        free = [channel for channel in (own if own_full else others) if _is_evictable(channel)]
        if free:
            self._close(min(free, key=lambda channel: channel.since), ClosedConnection.EVICTED)
        elif len(others) < CONNECTIONS + RESERVED_CONNECTIONS:
            new.health_only = not address.is_loopback
        else:
            self._close(new, ClosedConnection.REFUSED)

    def expire(self) -> None:
        """Close what is idle or stalled, and answer what takes too long to arrive."""
        for channel in self.channels():
            if channel.request is not None and time.monotonic() > channel.request.deadline:
                channel.refuse(HttpError(408, "request-timeout", "The request took too long to arrive."))
            elif _is_expired(channel):
                self._close(channel, ClosedConnection.TIMEOUT)

    def _close(self, channel: Channel, reason: ClosedConnection) -> None:
        channel.handle_close()
        self._counters.add(metrics.HTTP_CONNECTIONS_CLOSED, reason)


def _is_evictable(channel: Channel) -> bool:
    """Return whether no request is being answered, and none with a valid key comes in."""
    return not (channel.requests or (channel.request and channel.request.headers_finished))


def _is_expired(channel: Channel) -> bool:
    if channel.requests or channel.request or channel.total_outbufs_len:
        return channel.writable() and time.time() - channel.last_activity > TIMING.http_stall_seconds
    return time.monotonic() - channel.since > (
        TIMING.http_linger_seconds if channel.close_when_flushed else TIMING.http_idle_seconds
    )
