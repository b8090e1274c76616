"""One connection of the server: what waitress answers by itself is a problem document here, as all else is."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import orjson
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.task import ErrorTask
from waitress.utilities import Error

from services.api.authentication import CHALLENGE
from services.api.envelope import request_id_of
from services.api.intake import Intake
from services.api.problems import MEDIA_TYPE, problem_document
from shared.errors import ShapboxError, StorageFullError
from shared.log import log_context

#: Bytes of a refused body that are read and dropped, so that its client hears the answer instead of a
#: broken connection.
DROPPED_BYTES = 256 * 2**20
#: What is read and dropped before a connection is closed, at most: so many reads of so many bytes.
DROPPED_READS, DROPPED_READ_BYTES = 16, 64 * 1024
_SLUGS = {400: "bad-request", 431: "headers-too-large", 501: "not-implemented"}


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


class ProblemTask(ErrorTask):  # type: ignore[misc]  # waitress has no types
    """Answers a request that does not reach the application."""

    def execute(self) -> None:
        """Write the answer, and close the connection after it."""
        error = self.request.error
        cause = error.cause if isinstance(error, RefusedError) else _problem_of(error)
        request_id = request_id_of(self.request.headers.get("X_REQUEST_ID"))
        body = orjson.dumps(problem_document(cause, request_id))
        reason = HTTPStatus(cause.status).phrase
        self.status = f"{cause.status} {reason}"
        self.response_headers.extend([("Content-Type", MEDIA_TYPE), ("X-Request-Id", request_id)])
        if cause.status == 401:
            self.response_headers.append(("WWW-Authenticate", CHALLENGE))
        if cause.retry_after is not None:
            self.response_headers.append(("Retry-After", str(cause.retry_after)))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.channel.count(getattr(self.request, "command", None), cause.status, request_id)
        self.write(body)


def _problem_of(error: Error) -> ShapboxError:
    """Say as one of our errors what waitress found wrong."""
    problem = ShapboxError(error.body)
    problem.status = error.code
    problem.slug = _SLUGS.get(error.code, "internal")
    problem.title = error.reason
    return problem


class Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """A connection. `count` is told of each request that does not reach the application."""

    error_task_class = ProblemTask
    request: Any

    def __init__(
        self, *args: Any, intake: Intake, count: Callable[[str | None, int, str], None], **more: Any
    ) -> None:
        self.parser_class = functools.partial(GuardedParser, intake=intake)
        self.count = count
        super().__init__(*args, **more)

    def handle_close(self) -> None:
        """Close, after what has come in already is dropped: unread bytes would break the answer off."""
        if self.socket is None:  # of a reset waitress hears twice, by reading and from poll
            return
        with contextlib.suppress(OSError):  # nothing more to read, or no connection any more
            for _ in range(DROPPED_READS):
                if not self.socket.recv(DROPPED_READ_BYTES):
                    break
        super().handle_close()

    def service(self) -> None:
        """Answer one request. Lines about it carry its ids to the end, also those that waitress logs."""
        with log_context():
            super().service()

    def received(self, data: bytes) -> bool:
        """Take bytes off the connection; a disk that is full is the answer, not the end of it."""
        try:
            return bool(super().received(data))
        except OSError as fault:
            with self.requests_lock:
                request, self.request = self.request, None
                if request is None:
                    raise
                request.refuse(StorageFullError(f"The disk takes no more of this body ({fault.strerror})."))
                request.completed = True
                self.requests.append(request)
                if len(self.requests) == 1:
                    self.server.add_task(self)
            return True
