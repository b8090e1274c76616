"""Builds Redis clients.

Every client has time limits, health checks and retries with exponential backoff and jitter, so that a Redis that is slow,
stopped or restarting causes a bounded wait. (redis-py sets TCP keepalive itself.)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from shared.errors import RedisReadOnlyError, RedisUnavailableError
from shared.settings import Settings

#: A client as `connect` builds it. Other modules name this type: ruff bans redis.Redis there.
type RedisClient = redis.Redis

#: Seconds after which an idle connection is checked before it is used.
HEALTH_CHECK_INTERVAL = 15
#: Seconds: the first and the longest pause between two tries.
BACKOFF_BASE, BACKOFF_CAP = 0.02, 1.0
#: The answers of a replica. After a failover behind one address only a new connection leads to the new primary.
REPLICA_ANSWERS = (redis.exceptions.ReadOnlyError, redis.exceptions.MasterDownError)
#: The exceptions after which a command is sent again on a new connection.
RETRIED = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, *REPLICA_ANSWERS)
#: The exceptions of a client whose Redis is away, stopped, loading, or refuses writes.
REDIS_AWAY = (
    *RETRIED,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.BusyLoadingError,
)
#: How the same errors begin where the client has no exception for them: full memory, a full disk, a replica, a primary
#: with too few replicas, one that was demoted while a command waited, one that runs another client's endless script.
REFUSALS = ("OOM", "MISCONF", "READONLY", "MASTERDOWN", "LOADING", "NOREPLICAS", "UNBLOCKED", "BUSY ")


class Patience(Enum):
    """A caller's patience: seconds for a connection, seconds for a reply, and retries."""

    #: A person or a health check waits: all attempts together take at most 2 s.
    IMPATIENT = (0.5, 0.5, 2)
    #: For background loops, which repeat anyway.
    STEADY = (1.0, 5.0, 5)
    #: For BLPOP: longer than RQ's dequeue timeout.
    BLOCKING = (1.0, 30.0, 5)


def connect(settings: Settings, patience: Patience, *, name: str) -> RedisClient:
    """Build a client that speaks bytes (as RQ needs). It connects when first used.

    `name` appears in `CLIENT LIST`. Any command may raise the exceptions in REDIS_AWAY.
    """
    connect_timeout, read_timeout, tries = patience.value
    options: dict[str, Any] = {
        "socket_timeout": read_timeout,
        "socket_connect_timeout": connect_timeout,
        "retry": retry(tries),
        "client_name": name,
    }
    if settings.redis_url is None:
        # An idle connection cannot die unnoticed on a socket, and on a full disk Redis answers PING with an error.
        return redis.Redis(unix_socket_path=str(settings.redis_socket), **options)
    # An impatient caller has no time for a check before the command, which finds a dead connection as well.
    if patience is not Patience.IMPATIENT:
        options["health_check_interval"] = HEALTH_CHECK_INTERVAL
    return redis.Redis.from_url(settings.redis_url, **options)


def retry(tries: int) -> Retry:
    """Return the rule to send a command again at most so often, each time on a new connection."""
    backoff = ExponentialWithJitterBackoff(base=BACKOFF_BASE, cap=BACKOFF_CAP)
    return Retry(backoff, tries, RETRIED)


def texts(reply: Iterable[Any]) -> list[str]:
    """Decode a reply of names, which our clients receive as bytes."""
    return [name.decode() for name in reply]


def writes_refused(fault: BaseException) -> bool:
    """Return whether Redis refuses writes, see REFUSALS."""
    said = _said(fault)
    return isinstance(fault, redis.exceptions.ResponseError) and (
        said.startswith(REFUSALS) or "OOM command" in said
    )


def _said(fault: BaseException) -> str:
    """Return Redis's own words, without those of redis-py and Lua around them."""
    return str(fault).rpartition("caused error: ")[2].partition(" script: ")[0]


def is_outage(fault: BaseException) -> bool:
    """Return whether Redis is away or refuses writes."""
    return isinstance(fault, REDIS_AWAY) or writes_refused(fault)


@contextlib.contextmanager
def redis_needed(consequence: str = "Nothing was changed; try again in a moment.") -> Iterator[None]:
    """Turn an absent Redis into RedisUnavailableError, with its consequence."""
    try:
        yield
    except REPLICA_ANSWERS as fault:
        raise RedisReadOnlyError(
            f"Redis is a read-only replica, as during a failover. {consequence} If it stays one, REDIS_URL must lead to "
            "the primary."
        ) from fault
    except REDIS_AWAY as fault:
        raise RedisUnavailableError(f"Redis does not answer. {consequence}") from fault
    except redis.exceptions.ResponseError as fault:
        if not writes_refused(fault):
            raise
        raise RedisUnavailableError(
            f"Redis refuses writes and says: {_said(fault).rstrip('.')}. Nothing was changed. Try again when that is over: a full disk "
            "or memory has room again, or the replicas that it waits for are back."
        ) from fault
