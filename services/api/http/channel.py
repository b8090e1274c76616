"""One connection: reads a request at a time within limits, and sends its answer."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from waitress.buffers import OverflowableBuffer, TempfileBasedBuffer
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import WSGITask

from services.api.capacity.disk import DiskReservation
from services.api.http.access_log import CLIENT_LEFT, REFUSAL
from services.api.http.chunked_body import ChunkedBody
from services.api.http.concurrency_limits import BusyError
from services.api.http.proxies import ORIGIN, Outside
from shared.errors import HttpError, ShapboxError, StorageFullError
from shared.log import log_context
from shared.timing import TIMING

if TYPE_CHECKING:
    from services.api.http.server import Server

#: Bytes of a head.
HEAD_BYTES = 32 * 1024
#: The slowest rate at which a body may come: each byte adds to the time that the body has.
SLOWEST_BYTES_PER_SECOND = 1024
#: Bytes of all answers that wait in memory for their clients, beyond which they wait in files.
WAITING_BYTES = 8 * 2**20

_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Z-]+ [!-~\x80-\xff]+ HTTP/1\.[01]\r\n")
#: A head of at most 128 fields that waitress parses in linear time: without long blanks and folded lines.
_HEAD = re.compile(
    _REQUEST_LINE.pattern + rb"(?:[!-9;-~]+:[ \t]{0,64}(?:[!-~\x80-\xff][\t -~\x80-\xff]*)?\r\n){0,128}\r\n"
)
#: A character that no head contains, or the end of a line that is not CRLF.
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])")
#: The first byte of a TLS handshake.
_TLS = b"\x16"
_TRANSFER_CODING = re.compile(rb"\r\ntransfer-encoding:[ \t]*([^\r]*)", re.IGNORECASE)
_log = logging.getLogger("shapbox.http")


class RequestParser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """Reads one request. The application answers it also if it has a `refusal`."""

    body_rcv: Any
    header_plus: bytes
    refusal: ShapboxError | None = None
    outside: Outside | None = None
    #: The attributes of a request that cannot be parsed.
    command, path, request_uri, query, url_scheme, version = "-", "/", "/", "", "http", "1.1"
    _reservation: Any = None
    _line_is_read = False

    def __init__(self, adj: Any) -> None:
        super().__init__(adj)
        self.deadline = time.monotonic() + TIMING.http_head_seconds

    def read(self, data: bytes, admit: Callable[[RequestParser], DiskReservation | None]) -> int:
        """Take bytes off the connection; return how many belong to this request.

        `admit` is asked once, at the end of the head. It returns None if the body is not to be read.
        """
        try:
            return self._read_body(data) if self.headers_finished else self._read_head(data, admit)
        except ShapboxError as error:
            self.refuse(error)
        except (ParsingError, ValueError) as fault:
            self.refuse(HttpError(400, "bad-request", f"The request is not valid HTTP: {fault}."))
        except OSError as fault:
            self.refuse(StorageFullError(f"The body cannot be written to the disk: {fault.strerror}."))
        except Exception:  # noqa: BLE001  # it is logged, and must not end the loop
            _log.exception("a request cannot be read")
            self.refuse(ShapboxError())
        return len(data)

    def refuse(self, error: ShapboxError | None) -> None:
        """Read nothing more. Without an error the application answers as if there were no body."""
        self.close()
        self.refusal, self.body_rcv, self._reservation = error, None, None
        self.completed, self.expect_continue = True, False
        self.headers.pop("CONTENT_LENGTH", None)
        self.headers["CONNECTION"] = "close"

    def _read_head(self, data: bytes, admit: Callable[[RequestParser], DiskReservation | None]) -> int:
        before = len(self.header_plus)
        head, end, _ = (self.header_plus + data).partition(b"\r\n\r\n")
        self.header_plus = head + end
        if len(self.header_plus) > HEAD_BYTES:
            raise HttpError(431, "headers-too-large", f"The head is larger than {HEAD_BYTES // 1024} KB.")
        self._check_begun(before)
        if end:
            self._parse(head + end)
            self._reservation = admit(self)
            if self.body_rcv is None:
                self.completed, self.expect_continue = True, False
            elif self._reservation is None:
                self.refuse(None)
            elif self.chunked:
                self.body_rcv = ChunkedBody(self.body_rcv.getbuf())
            self.deadline = time.monotonic() + TIMING.http_body_seconds
            self.header_plus = b""
        return len(head + end) - before

    def _check_begun(self, before: int) -> None:
        """Raise ParsingError for what cannot become a head: its end, as we read it, may never come."""
        if self.header_plus.startswith(_TLS):
            raise ParsingError("it is a TLS handshake, and this port takes http:// only")
        if _CONTROL.search(self.header_plus, max(0, before - 1)):
            raise ParsingError("the head has a control character, or a line that does not end with CRLF")
        if not self._line_is_read and b"\r\n" in self.header_plus:
            self._line_is_read = True
            if not _REQUEST_LINE.match(self.header_plus):
                raise ParsingError("its first line is not METHOD PATH HTTP/1.1 (or 1.0)")

    def _parse(self, head: bytes) -> None:
        if not _HEAD.fullmatch(head):
            raise ParsingError("the head is malformed or has more than 128 fields")
        codings = [coding.strip().lower() for coding in _TRANSFER_CODING.findall(head)]
        if codings not in ([], [b"chunked"]):
            raise HttpError(
                501, "not-implemented", "The only Transfer-Encoding that is read here is chunked."
            )
        self.headers_finished = True
        self.parse_header(head)
        if codings and self.version == "1.0":
            raise ParsingError("HTTP/1.0 has no Transfer-Encoding")
        if "," in self.headers.get("HOST", "," if self.version == "1.1" else ""):
            raise ParsingError("there must be one Host header")
        if codings and "CONTENT_LENGTH" in self.headers:  # a proxy may see another end of the body
            raise ParsingError("it has both Transfer-Encoding and Content-Length")

    def _read_body(self, data: bytes) -> int:
        taken = int(self.body_rcv.received(data))
        self._reservation.take(taken)
        self.deadline += taken / SLOWEST_BYTES_PER_SECOND
        self.completed = self.body_rcv.completed
        if self.completed:
            self.headers["CONTENT_LENGTH"] = str(len(self.body_rcv))
        return taken


class AnswerTask(WSGITask):  # type: ignore[misc]  # waitress has no types
    """Answers a request by the application, also one that is refused."""

    def get_environment(self) -> dict[str, Any]:
        """Return the WSGI environment, with what proxies tell and the refusal in it."""
        environ: dict[str, Any] = super().get_environment()
        if self.request.error:  # of waitress: the application has failed
            self.request.refuse(ShapboxError())
        outside = self.request.outside or Outside(self.channel.addr[0])  # none of a malformed head
        told = {"SCRIPT_NAME": outside.prefix, "REMOTE_ADDR": outside.client, ORIGIN: outside.origin}
        return environ | told | {REFUSAL: self.request.refusal, CLIENT_LEFT: self.channel.client_left}

    def set_close_on_finish(self) -> None:
        """Close after this answer, but not because it has neither body nor length."""
        closing = self.request.headers.get("CONNECTION", "").lower() == "close"
        if self.has_body or self.version == "1.0" or closing:
            super().set_close_on_finish()

    def finish(self) -> None:
        """Send the end of the answer: all of a small one, at once."""
        super().finish()
        self.channel.end_answer()


class Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """A connection, which the server's loop reads and closes, and threads answer."""

    task_class = error_task_class = AnswerTask
    parser_class = RequestParser
    outbufs: list[Any]
    request: RequestParser | None
    requests: list[RequestParser]
    #: Bytes that came after a request that is not answered yet.
    ahead = b""
    #: Whether it came when there was no room, and whether an answer was made on it.
    health_only = answered = False
    #: Bytes of answers in memory when one of them was last waiting for its client.
    kept_bytes = 0

    def __init__(self, *args: Any, owner: Server, **more: Any) -> None:
        super().__init__(*args, **more)
        self._owner = owner
        self.since = time.monotonic()  # when its last answer was made, or it was opened

    @property
    def last_activity(self) -> float:
        """When bytes last came or went; not a time of day, as waitress assigns: it may be set."""
        return self._last_activity

    @last_activity.setter
    def last_activity(self, _time_of_day: float) -> None:
        self._last_activity = time.monotonic()

    @property
    def lingering(self) -> bool:
        """Whether it has sent its last answer, and drops what its client still sends."""
        return bool(self.close_when_flushed and not self.total_outbufs_len)

    def client_left(self) -> bool:
        """Return whether the client has ended its side, for the thread that answers it."""
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"")
        except BlockingIOError:
            return False
        except (OSError, AttributeError):  # reset or closed
            return True

    def readable(self) -> bool:
        """Return whether the loop reads it, also to drop what comes after the last request."""
        # A client that has ended its side would be taken for gone before it has all of its last answer.
        return self.lingering or bool(super().readable() and not self.ahead)

    def waits_for_its_turn(self) -> bool:
        """Return whether the last request is answered, and the next one has come."""
        return bool(self.ahead and super().readable())

    def writable(self) -> bool:
        """Return whether the loop sends; a thread sends the end of its answer itself."""
        least = self.adj.send_bytes if self.requests else 1
        return bool(self.will_close or self.total_outbufs_len >= least)

    def handle_write(self) -> None:
        """Send what the client takes."""
        self._flush_exception(self._flush_some_if_lockable)
        self._end_sending()
        if self.will_close:
            self.handle_close()

    def received(self, data: bytes) -> None:
        """Take bytes off the connection. A second request waits until the first is answered."""
        with self.requests_lock:
            data, self.ahead = self.ahead + data, b""
            while data and not (self.requests or self.will_close or self.close_when_flushed):
                # Blank lines may stand between requests.
                if self.request is None and not (data := data.lstrip(b"\r\n")):
                    return
                self.request = request = self.request or RequestParser(self.adj)
                data = data[request.read(data, self._admit) :]
                if request.completed:
                    self._answer(request)
                elif request.expect_continue and request.headers_finished:
                    self.send_continue()
            self.ahead = data if self.requests else b""

    def refuse(self, error: ShapboxError) -> None:
        """Answer the request that is being read with an error."""
        with self.requests_lock:
            if self.request is not None:
                self.request.refuse(error)
                self._answer(self.request)

    def _admit(self, request: RequestParser) -> DiskReservation | None:
        request.outside = outside = self._owner.proxies.outside(self.addr[0], request.headers)
        request.path = outside.own_path(request.path)
        if self.health_only and request.path not in {"/healthz", "/readyz"}:
            self._owner.admit(self)  # there may be room by now
            if self.health_only:
                raise BusyError("Too many connections are open. Try again in a moment.")
        return None if request.body_rcv is None else self._owner.admission.admit(request)

    def _answer(self, request: RequestParser) -> None:
        self.request = None
        self.requests.append(request)
        self.server.add_task(self)

    def service(self) -> None:
        """Answer one request, or close the connection if that brings the thread down."""
        try:
            with log_context():
                super().service()
            self._end_sending()
        except BaseException:
            self.requests, self.will_close = [], True
            self.server.pull_trigger()
            raise

    def _end_sending(self) -> None:
        # Closing at once could break the answer off while the client still sends.
        if self.lingering:
            self.since, self.ahead = time.monotonic(), b""
            with contextlib.suppress(OSError, AttributeError):  # it is closed
                self.socket.shutdown(socket.SHUT_WR)

    def write_soon(self, data: Any) -> int:
        """Send, or keep until the client takes it."""
        self.last_activity = time.monotonic()  # only from now on it can stall
        return int(super().write_soon(data))

    def end_answer(self) -> None:
        """Send what the client takes now. The rest waits, in files if all connections keep much."""
        with self.outbuf_lock:
            if not self.connected:  # and the buffers are closed
                return
            # A new buffer frees the one before once that is sent.
            self.outbufs.append(OverflowableBuffer(self.adj.outbuf_overflow))
            self.current_outbuf_count = 0
            self.since, self.answered = time.monotonic(), True
            self._flush_exception(self._flush_some, do_close=False)
            if self.total_outbufs_len:
                self._bound_memory()

    def _bound_memory(self) -> None:
        kept = [outbuf for outbuf in self.outbufs if outbuf.buf is not None and not outbuf.overflowed]
        self.kept_bytes = sum(outbuf.buf.remain + outbuf.buf.file.tell() for outbuf in kept)
        # The last connection to add to the sum sees all of it.
        waiting = sum(one.kept_bytes for one in self._owner.channels if one.total_outbufs_len)
        if waiting <= WAITING_BYTES:
            return
        for outbuf in kept:
            with contextlib.suppress(OSError):  # on a full disk it waits in memory
                file = TempfileBasedBuffer()
                file.append(outbuf.get())
                self.kept_bytes -= outbuf.buf.remain + outbuf.buf.file.tell()
                outbuf.buf, outbuf.overflowed = file, True


def wake(trigger: Any) -> None:
    """Wake the server's loop, unless it is awake or gone."""
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        trigger.pull_trigger()
