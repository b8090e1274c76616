"""Asks a remote Redis before the start whether it accepts us, to tell errors from outages.

One that is merely away is no reason not to start: the programs wait for it.
"""

from __future__ import annotations

import logging
import os
import ssl
from contextlib import closing

import redis

from ops.run.redis_permissions import missing_permissions
from shared.deadline import within
from shared.errors import BootError
from shared.redis.connection import REDIS_AWAY, Patience, RedisClient, connect
from shared.redis.url import NO_CLUSTER, ONE_PRIMARY, public_address, tls_files
from shared.settings import Durability, Settings

#: Seconds after which nobody is waited for: a name server may take its time.
PROBE_SECONDS = 6.0
#: Why a Redis in one of these modes will not do.
MODES = {
    "sentinel": f"is a Sentinel, not a Redis: {ONE_PRIMARY}.",
    "cluster": f"is a node of a Redis Cluster: {NO_CLUSTER}.",
}

_log = logging.getLogger(__name__)


def check_redis(settings: Settings, url: str) -> None:
    """Raise BootError if REDIS_URL names files that cannot be read, or a Redis that refuses us."""
    for name, path in tls_files(url).items():
        if not os.access(path, os.R_OK):
            raise BootError(f"REDIS_URL: {name} {path} cannot be read: name a file that this user may read.")
    try:
        # A name server cannot be given a time limit. Its thread ends with this program, which becomes another one.
        refusal = within(PROBE_SECONDS, lambda: _ask(settings))
    except Exception as fault:  # noqa: BLE001  # the programs will see for themselves
        if not (refusal := _refusal(fault) or ""):
            _log.warning("Redis does not answer yet, the programs will wait for it: %s", fault)
    if refusal:
        raise BootError(f"REDIS_URL: {public_address(url)} {refusal}")


def _ask(settings: Settings) -> str:
    """Return why this Redis will never do, or an empty text. Raises what the client raises."""
    if refusal := MODES.get(_mode(settings)):
        return refusal
    with closing(_connect(settings)) as connection:
        if missing := missing_permissions(connection):
            return (
                f"does not let this user do all that Shapbox does. It lacks {' '.join(missing)}. Give it these with ACL "
                "SETUSER; docs/scale-out.md has the whole line."
            )
        replication = connection.info("replication")
        if replication.get("role") == "slave":
            primary = f"{replication.get('master_host')}:{replication.get('master_port')}"
            return f"is a read-only replica of {primary}: name that, or {ONE_PRIMARY}."
        syncs = _fsync_policy(connection) if settings.durability is Durability.POWER else "always"
    if syncs != "always":
        return f"has appendfsync {syncs}, and DURABILITY=power needs `always`: set it there, or unset DURABILITY."
    return ""


def _mode(settings: Settings) -> str:
    """Return Redis's mode: standalone, cluster or sentinel; empty if the user may not know.

    A Sentinel has no databases, a cluster has one, and neither may ask for the password that a Redis does. So one that
    refuses us is asked again without them.
    """
    faults: list[redis.RedisError] = []
    for change in ({}, {"db": 0}, {"db": 0, "username": None, "password": None}):
        with closing(_connect(settings)) as connection:
            connection.connection_pool.connection_kwargs.update(change)
            try:
                mode = str(connection.info("server").get("redis_mode"))
            except redis.exceptions.NoPermissionError:
                return ""
            except (redis.exceptions.ResponseError, redis.exceptions.AuthenticationError) as fault:
                faults.append(fault)
            else:
                if not faults or mode in MODES:
                    return mode
    raise faults[0]


def _connect(settings: Settings) -> RedisClient:
    """Return a client without a name, which would take a permission."""
    return connect(settings, Patience.IMPATIENT, name="")


def _fsync_policy(connection: RedisClient) -> str:
    """Return when Redis syncs its file. One that does not tell is believed, with a warning."""
    try:
        found = connection.config_get("append*")
    except redis.exceptions.ResponseError as fault:
        _log.warning("Redis does not say whether it syncs each write, as DURABILITY=power needs: %s", fault)
        return "always"
    return str(found["appendfsync"]) if found.get("appendonly") == "yes" else "no (no append-only file)"


def _refusal(fault: Exception) -> str | None:
    """Return why Redis will never take us as we are, and what to do; None if it may be away."""
    cause: BaseException | None = fault
    while cause is not None:  # the client wraps what the network says
        match cause:
            case redis.exceptions.AuthenticationError():
                return (
                    f"refuses the password ({cause}). Put its own into REDIS_URL, as redis://:PASSWORD@HOST:PORT/0 or "
                    "redis://USER:PASSWORD@HOST:PORT/0, special characters percent-encoded."
                )
            case redis.exceptions.NoPermissionError():
                return f"does not let this user work ({cause}). docs/scale-out.md has the permissions that it needs."
            case ssl.SSLCertVerificationError():
                return (
                    f"shows a certificate that is not trusted ({cause.verify_message}). Name the file of its authority "
                    "with ?ssl_ca_certs=/path/ca.pem, and the host as the certificate does."
                )
            case ssl.SSLError() if not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
                return (
                    f"does not agree on TLS ({cause.reason}). If it speaks none there, write redis:// or name its TLS "
                    "port; if it asks for a certificate, name one with ssl_certfile and ssl_keyfile."
                )
        cause = cause.__cause__ or cause.__context__
    understood = isinstance(fault, REDIS_AWAY) or not isinstance(fault, redis.RedisError)
    return None if understood else f"answers what is not understood: {fault}"
