"""Reads requests off a connection, and asks about each body before it is taken in."""

from __future__ import annotations

from typing import Any

from waitress.parser import HTTPRequestParser
from waitress.utilities import Error

from services.api.http.admission import Intake
from shared.errors import ShapboxError

#: Bytes of a refused body that are read and dropped, so that its client hears the answer instead of a
#: broken connection.
DROPPED_BYTES = 256 * 2**20


class RefusedError(Error):  # type: ignore[misc]  # waitress has no types
    """A refusal of ours, in the shape of waitress's errors."""

    def __init__(self, cause: ShapboxError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _Nothing:
    """A buffer that keeps nothing."""

    def append(self, data: bytes) -> None:
        """Drop the bytes."""

    def close(self) -> None:
        """There is nothing to close."""

    def __len__(self) -> int:
        return 0


class GuardedParser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """Reads one request; asks the intake about its body as soon as its head is there."""

    error: Any
    body_rcv: Any
    expect_continue: bool

    def __init__(self, adj: Any, intake: Intake) -> None:
        super().__init__(adj)
        self._intake = intake
        self._asked = False

    def received(self, data: bytes) -> int:
        """Take bytes off the connection; returns how many."""
        consumed: int = super().received(data)
        if self.headers_finished and not self._asked:
            self._asked = True
            self._ask()
        elif not isinstance(self.error, RefusedError) and self.body_bytes_received > self._intake.max_bytes:
            self.refuse(self._intake.too_large())
        if isinstance(self.error, RefusedError) and self.body_bytes_received > DROPPED_BYTES:
            self.completed = True
        return consumed

    def refuse(self, cause: ShapboxError) -> None:
        """Keep nothing of the body from now on, and answer with the error when it is over."""
        self.error = RefusedError(cause)
        self.body_rcv.getbuf().close()
        self.body_rcv.buf = _Nothing()
        if self.expect_continue:  # the client asks before it sends
            self.expect_continue = False
            self.completed = True

    def _ask(self) -> None:
        if self.error is not None:
            self.expect_continue = False
        elif self.body_rcv is not None:
            length = None if self.chunked else self.content_length
            cause = self._intake.refusal(self.headers, length)
            if cause is not None:
                self.refuse(cause)
