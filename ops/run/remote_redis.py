"""Asks a remote Redis before the start whether it accepts us, to tell errors from outages.

One that is merely away is no reason not to start: the programs wait for it.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
from contextlib import closing

import redis

from shared.errors import BootError
from shared.redis.connection import REDIS_AWAY, Patience, RedisClient, connect
from shared.redis.url import public_address, tls_files
from shared.settings import Durability, Settings

#: Seconds after which nobody is waited for: a name server may take its time.
PROBE_SECONDS = 6.0

_log = logging.getLogger(__name__)


def check_redis(settings: Settings, url: str) -> None:
    """Raise BootError if REDIS_URL names files that cannot be read, or a Redis that refuses us."""
    for name, path in tls_files(url).items():
        if not os.access(path, os.R_OK):
            raise BootError(f"REDIS_URL: {name} {path} cannot be read: name a file that this user may read.")
    found: list[Exception | str] = []
    # A name server cannot be given a time limit. The thread ends with this program, which becomes another one.
    probe = threading.Thread(target=lambda: found.append(_ask(settings)), daemon=True)
    probe.start()
    probe.join(PROBE_SECONDS)
    said = found[0] if found else redis.TimeoutError(f"no answer in {PROBE_SECONDS:.0f} s")
    if refusal := said if isinstance(said, str) else _refusal(said):
        raise BootError(f"REDIS_URL: {public_address(url)} {refusal}")
    if said:
        _log.warning("Redis does not answer yet, the programs will wait for it: %s", said)


def _ask(settings: Settings) -> Exception | str:
    """Call Redis once; return its refusal, the client's error, or an empty text if all is well."""
    with closing(connect(settings, Patience.IMPATIENT, name="boot")) as connection:
        try:
            mode = connection.info("server").get("redis_mode")
            replication = connection.info("replication")
            syncs = _fsync_policy(connection) if settings.durability is Durability.POWER else "always"
        except Exception as fault:  # noqa: BLE001  # the programs will see for themselves
            return fault
    if replication.get("role") == "slave":
        primary = f"{replication.get('master_host')}:{replication.get('master_port')}"
        return (
            f"is a read-only replica of {primary}: name that, or an address that always leads to the primary."
        )
    if syncs != "always":
        return f"has appendfsync {syncs}, and DURABILITY=power needs `always`: set it there, or unset DURABILITY."
    return "is a cluster: name one that is not. All keys must be in one place." if mode == "cluster" else ""


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
                return f"does not let this user work ({cause}). Give it all commands on all keys, or name another one."
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
