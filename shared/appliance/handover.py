"""Passes the sockets that PORT is served on from one process to another.

Boot listens before it activates models, and a program of its own answers meanwhile (ops/run/starting_answers.py). The api
takes the sockets when it can serve, so no connection is refused in between. An api that is started again finds nobody who
has them, and listens itself.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from pathlib import Path

#: Sockets that one host name may stand for, and seconds for the program that holds them to pass them on.
MOST_SOCKETS, HANDOVER_SECONDS = 16, 5.0


def take_listeners(path: Path) -> list[socket.socket]:
    """Take the sockets from the program that answers at `path`; none if there is none.

    Raises TimeoutError if it hangs.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(HANDOVER_SECONDS)
        try:
            connection.connect(str(path))
            _, descriptors, _, _ = socket.recv_fds(connection, 1, MOST_SOCKETS)
        except (FileNotFoundError, ConnectionError):
            return []
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]


def give_listeners(connection: socket.socket, listeners: Sequence[socket.socket]) -> None:
    """Pass the sockets on, unless the receiver has left, and close the own ones."""
    with connection, contextlib.suppress(OSError):
        socket.send_fds(connection, [b"."], [one.fileno() for one in listeners])
    for one in listeners:
        one.close()
