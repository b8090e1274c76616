"""The network between an appliance and a remote server, which a test may cut."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from types import TracebackType
from typing import Self

from ops.lab.trial_appliance import free_ports

#: Bytes that are passed on at a time.
CHUNK = 65536
#: Seconds between two looks whether the network was cut or mended.
LOOK_SECONDS = 0.05


class Network:
    """Passes on what comes to `port` to a server of this machine, byte by byte and both ways.

    Cut, it loses nothing and says nothing: connections stay open, new ones are taken by the kernel alone, and what
    was sent arrives when it is mended. That is what a machine looks like from which no packet comes. Closed, it
    refuses connections, as a machine does on which no server runs; `port` opens it at the same place again.
    """

    def __init__(self, server_port: int, port: int | None = None) -> None:
        #: Where new connections lead; those that are open stay where they are.
        self.server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", port or free_ports(1)[0]))
        self._whole, self._ended = threading.Event(), threading.Event()
        self._whole.set()
        #: The port that the appliance is told of.
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._listener.close()

    def cut(self) -> None:
        """Let nothing through any more."""
        self._whole.clear()

    def mend(self) -> None:
        """Let everything through, also what has waited."""
        self._whole.set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            self._listener.settimeout(LOOK_SECONDS)
            while not self._ended.is_set():
                if not self._whole.wait(LOOK_SECONDS):
                    continue
                with contextlib.suppress(TimeoutError):
                    client, _ = self._listener.accept()
                    client.setblocking(True)  # the standard library's
                    threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        """Pass on what either side says until one of them has said all."""
        with client, contextlib.suppress(OSError):
            server = socket.create_connection(("127.0.0.1", self.server_port))
            with server, selectors.DefaultSelector() as either:
                either.register(client, selectors.EVENT_READ, server)
                either.register(server, selectors.EVENT_READ, client)
                while not self._ended.is_set():
                    if self._whole.wait(LOOK_SECONDS):
                        for key, _ in either.select(LOOK_SECONDS):
                            if not self._pass_on(key):
                                return

    def _pass_on(self, key: selectors.SelectorKey) -> bool:
        """Pass on what has come; returns whether more may come."""
        assert isinstance(key.fileobj, socket.socket)
        data = key.fileobj.recv(CHUNK)
        self._wait_until_whole()
        key.data.sendall(data)
        return bool(data)

    def _wait_until_whole(self) -> None:
        while not self._whole.wait(LOOK_SECONDS) and not self._ended.is_set():
            pass
