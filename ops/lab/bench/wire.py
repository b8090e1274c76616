"""A lean HTTP client for measuring: prepared requests on one connection that is kept open."""

from __future__ import annotations

import select
import socket
from types import TracebackType
from typing import Self

from ops.lab.bench.report import BenchError

#: Seconds that an answer may take.
ANSWER_SECONDS = 120.0


def request_bytes(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """Return a POST as it is sent."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Wire:
    """One connection to the service of that name."""

    def __init__(self, name: str, port: int) -> None:
        self._name, self._port = name, port
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=ANSWER_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb", buffering=1 << 16)

    def renew(self) -> None:
        """Connect again if the service has closed the idle connection, as uvicorn does after 5 s."""
        if select.select([self._socket], [], [], 0)[0]:
            self._close()
            self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, request: bytes) -> bytes:
        """Send a request and return the answer's body. Raises BenchError unless it is a success."""
        self._socket.sendall(request)
        status = self._file.readline()
        if not status:
            raise BenchError(f"{self._name} closed the connection instead of answering")
        length, chunked = 0, False
        while (line := self._file.readline()) not in {b"\r\n", b""}:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            elif name.lower() == b"transfer-encoding":
                chunked = b"chunked" in value
        body = self._chunks() if chunked else self._file.read(length)
        if status[9:12] != b"200":
            raise BenchError(f"{self._name}: {status.decode(errors='replace').strip()}: {body[:300]!r}")
        return body

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self._file.readline(), 16):
            parts.append(self._file.read(size))
            self._file.readline()
        self._file.readline()
        return b"".join(parts)
