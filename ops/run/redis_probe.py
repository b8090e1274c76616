"""`python -m ops.run.redis_probe`: calls REDIS_URL once, and prints a permanent error."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Iterator

import redis

from ops.run.redis_check import AWAY, REFUSED
from shared.redis.connection import REDIS_AWAY, Patience, connect
from shared.settings import Settings


def main() -> int:
    """Print what is wrong; return 0, REFUSED or AWAY."""
    settings = Settings.from_environment(os.environ)
    connection = connect(settings, Patience.IMPATIENT, name="boot")
    try:
        mode = connection.info("server").get("redis_mode", "standalone")
    except redis.RedisError as fault:
        said = refusal(fault)
        if said is None and not isinstance(fault, REDIS_AWAY):
            said = f"answers what is not understood: {fault}"
        print(said or fault)
        return AWAY if said is None else REFUSED
    finally:
        connection.close()
    if mode == "cluster":
        print(
            "is a cluster. Shapbox's scripts need all keys in one place: name a Redis that is not a cluster."
        )
        return REFUSED
    return 0


def refusal(fault: BaseException) -> str | None:
    """Return why Redis will never take us as we are, and what to do; None if it may be away."""
    for cause in _causes(fault):
        if isinstance(cause, redis.exceptions.AuthenticationError):
            return (
                f"refuses the password ({cause}). Put its own into REDIS_URL, as redis://:PASSWORD@HOST:PORT/0 or "
                "redis://USER:PASSWORD@HOST:PORT/0, special characters percent-encoded."
            )
        if isinstance(cause, redis.exceptions.NoPermissionError):
            return f"does not let this user work ({cause}). Give it all commands on all keys, or name another one."
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"shows a certificate that is not trusted ({cause.verify_message}). Name the file of its authority "
                "with ?ssl_ca_certs=/path/ca.pem, and the host as the certificate does."
            )
        if isinstance(cause, ssl.SSLError) and not isinstance(
            cause, ssl.SSLEOFError | ssl.SSLZeroReturnError
        ):
            return (
                f"does not agree on TLS ({cause.reason}). If it speaks none there, write redis:// or name its TLS port; "
                "if it asks for a certificate, name one with ssl_certfile and ssl_keyfile."
            )
    return None


def _causes(fault: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it: the client wraps what the network says."""
    cause: BaseException | None = fault
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


if __name__ == "__main__":
    sys.exit(main())
