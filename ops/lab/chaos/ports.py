"""Ports for an appliance that comes and goes."""

from __future__ import annotations

import contextlib
import random
import socket

#: Ports below those that Linux gives to connections (32768 to 60999). While the appliance is away, a client's
#: own connection could otherwise be given its port, and the appliance could not start again.
LEAST, MOST = 20_000, 32_000


def quiet_ports(count: int) -> list[int]:
    """Return ports that nothing listens on now, and that no connection will be given."""
    found: list[int] = []
    while len(found) < count:
        port = random.randint(LEAST, MOST)  # noqa: S311  # two runs at a time should not meet
        with contextlib.suppress(OSError), socket.socket() as one:
            one.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found
