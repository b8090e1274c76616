"""One connection of the server: what waitress answers by itself is a problem document here, as all else is."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

import orjson
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import Error

from services.api.http.access_log import request_id_of
from services.api.http.admission import Intake
from services.api.http.authentication import CHALLENGE
from services.api.http.guarded_parser import GuardedParser, RefusedError
from services.api.http.problems import MEDIA_TYPE, problem_document
from services.api.http.staying_channel import StayingChannel
from shared.errors import ShapboxError, StorageFullError
from shared.log import log_context

#: What is read and dropped before a connection is closed, at most: so many reads of so many bytes.
DROPPED_READS, DROPPED_READ_BYTES = 16, 64 * 1024
#: Bytes of an answer's first part, at most, that are sent in one go with its head.
ONE_GO_BYTES = 64 * 1024
_SLUGS = {400: "bad-request", 431: "headers-too-large", 501: "not-implemented"}


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


class AnswerTask(WSGITask):  # type: ignore[misc]  # waitress has no types
    """Answers a request by the application; a short answer in one go, and not its head first: each wakes the client."""

    def write(self, data: bytes) -> None:
        """Send the next part of the answer."""
        if self.wrote_header or len(data) > ONE_GO_BYTES:
            super().write(data)
            return
        with self.channel.in_one_go():
            super().write(data)


class Channel(StayingChannel):
    """A connection. `count` is told of each request that does not reach the application."""

    error_task_class = ProblemTask
    task_class = AnswerTask
    request: Any

    def __init__(
        self, *args: Any, intake: Intake, count: Callable[[str | None, int, str], None], **more: Any
    ) -> None:
        self.parser_class = functools.partial(GuardedParser, intake=intake)
        self.count = count
        self._held: list[bytes] | None = None
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

    def answer(self) -> None:
        """Answer one request. Lines about it carry its ids to the end, also those that waitress logs."""
        with log_context():
            super().answer()

    @contextlib.contextmanager
    def in_one_go(self) -> Iterator[None]:
        """Send what is written meanwhile together."""
        self._held = []
        try:
            yield
        finally:
            held, self._held = self._held, None
            super().write_soon(b"".join(held))

    def write_soon(self, data: Any) -> int:
        """Send bytes, or a file, as soon as the client takes them; returns how many bytes."""
        if self._held is None or not isinstance(data, bytes):
            return super().write_soon(data)
        self._held.append(data)
        return len(data)

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
