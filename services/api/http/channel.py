"""One connection: one request at a time, and answers that take little memory however slowly they are read."""

from __future__ import annotations

import contextlib
import functools
import socket
import time
from typing import TYPE_CHECKING, Any

from waitress.buffers import OverflowableBuffer
from waitress.channel import HTTPChannel
from waitress.task import WSGITask

from services.api.http.admission import Admission
from services.api.http.problems import REFUSAL
from services.api.http.request_parser import RequestParser
from shared.errors import HttpError, ShapboxError
from shared.log import log_context

if TYPE_CHECKING:
    from services.api.http.connection_limits import ConnectionLimits

#: Bytes of all answers that wait in memory for their clients, beyond which they wait in files.
WAITING_BYTES = 8 * 2**20
#: What a connection beyond the limits may ask for.
HEALTH_PATHS = frozenset({"/healthz", "/readyz"})


class AnswerTask(WSGITask):  # type: ignore[misc]  # waitress has no types
    """Answers a request by the application, also one that is refused."""

    def get_environment(self) -> dict[str, Any]:
        """Return the WSGI environment, with the refusal in it."""
        environ: dict[str, Any] = super().get_environment()
        if self.request.refusal or self.request.error:  # waitress's own error: the application failed
            environ[REFUSAL] = self.request.refusal or ShapboxError()
        return environ

    def set_close_on_finish(self) -> None:
        """Close after this answer; not, as waitress, because one without a body has no length."""
        connection = self.request.headers.get("CONNECTION", "").lower()
        if self.has_body or connection == "close" or self.version == "1.0":
            super().set_close_on_finish()

    def finish(self) -> None:
        """Send the end of the answer: all of a small one, at once."""
        super().finish()
        self.channel.flush()


class Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """A connection. The server's loop reads, closes and sends what is left; threads answer and send."""

    task_class = error_task_class = AnswerTask
    outbufs: list[Any]
    request: RequestParser | None
    requests: list[RequestParser]
    #: Whether it came when there was no room.
    health_only = False
    #: Bytes of answers in memory, also those that are sent but not freed.
    kept_bytes = 0

    def __init__(self, *args: Any, admission: Admission, limits: ConnectionLimits, **more: Any) -> None:
        self.parser_class = functools.partial(RequestParser, admission=admission)
        self._limits = limits
        self._ahead = b""
        #: When its last answer was made, or it was opened.
        self.since = time.monotonic()
        super().__init__(*args, **more)
        limits.admit(self)

    def readable(self) -> bool:
        """Return whether the loop reads it, also to drop what comes after the last request."""
        if self._ahead and super().readable():
            self.received(b"")
        return bool(self.close_when_flushed or super().readable())

    def writable(self) -> bool:
        """Return whether the loop sends or closes; the thread of a request sends the end of its answer itself."""
        return bool(
            self.will_close or self.total_outbufs_len >= (self.adj.send_bytes if self.requests else 1)
        )

    def handle_write(self) -> None:
        """Send what the client takes."""
        self._flush_exception(self._flush_some_if_lockable)
        self._end_sending()
        if self.will_close:
            self.handle_close()

    def received(self, data: bytes) -> None:
        """Take bytes off the connection. What follows a request waits until that is answered."""
        with self.requests_lock:
            data, self._ahead = self._ahead + data, b""
            while data and not (self.requests or self.will_close or self.close_when_flushed):
                if self.request is None and not (data := data.lstrip(b"\r\n")):  # blank lines between requests
                    break
                self.request = request = self.request or self.parser_class(self.adj)
                data = data[request.received(data) :]
                if request.completed:
                    self._answer(request)
                elif request.expect_continue and request.headers_finished:
                    self.send_continue()
            self._ahead = data if self.requests else b""

    def _answer(self, request: RequestParser) -> None:
        self.request = None
        if self.health_only and request.path not in HEALTH_PATHS:
            request.refuse(HttpError(503, "busy", "Too many connections are open. Try again in a moment."))
        self.requests.append(request)
        self.server.add_task(self)

    def service(self) -> None:
        """Answer one request. What brings the thread down ends the connection, and is not tried again."""
        try:
            with log_context():
                super().service()
        except BaseException:
            self.requests, self.will_close = [], True
            self.server.pull_trigger()
            raise
        finally:
            self.since = time.monotonic()
            self._end_sending()

    def _end_sending(self) -> None:
        # Closing at once could break the answer off while the client still sends.
        if self.close_when_flushed and not self.total_outbufs_len:
            with contextlib.suppress(OSError, AttributeError):  # it is closed
                self.socket.shutdown(socket.SHUT_WR)

    def write_soon(self, data: Any) -> int:
        """Send, or keep until the client takes it: in memory, or in a file where much is kept for all connections."""
        if not self.total_outbufs_len:
            self.last_activity = time.time()  # from now on it can stall
        written = int(super().write_soon(data))
        if self.total_outbufs_len >= self.adj.send_bytes:
            self._bound_memory()
        return written

    def refuse(self, error: ShapboxError) -> None:
        """Answer the request that is being read with an error."""
        with self.requests_lock:
            if self.request is not None:
                self.request.refuse(error)
                self._answer(self.request)

    def flush(self) -> None:
        """Send what the client takes now."""
        self._flush_exception(self._flush_some, do_close=False)
        if self.total_outbufs_len:
            self._bound_memory()

    def _flush_some(self, *, do_close: bool = True) -> bool:
        with self.outbuf_lock:
            sent = bool(super()._flush_some(do_close=do_close))
            if not self.total_outbufs_len and self.connected and self.outbufs[-1].buf is not None:
                self.outbufs.pop().close()  # waitress would keep what is sent
                self.outbufs.append(OverflowableBuffer(self.adj.outbuf_overflow))
                self.current_outbuf_count = self.kept_bytes = 0
            return sent

    def _bound_memory(self) -> None:
        with self.outbuf_lock:
            kept = [outbuf for outbuf in self.outbufs if outbuf.buf is not None and not outbuf.overflowed]
            self.kept_bytes = sum(outbuf.buf.remain + outbuf.buf.file.tell() for outbuf in kept)
            # The last one to add to the sum sees all of it.
            if sum(channel.kept_bytes for channel in self._limits.channels()) > WAITING_BYTES:
                for outbuf in kept if self.connected else []:
                    sent = outbuf.buf.file.tell()
                    try:
                        outbuf._set_large_buffer()  # noqa: SLF001  # as waitress does where one alone grows too large
                        self.kept_bytes = 0
                    except OSError:  # the disk is full: it waits in memory
                        outbuf.buf.file.seek(sent)
