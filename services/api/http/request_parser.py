"""Reads one request within limits, and refuses it at its head where its body need not be read."""

from __future__ import annotations

import re
import time
from typing import Any

from waitress.parser import HTTPRequestParser, ParsingError, TransferEncodingNotImplemented
from waitress.receiver import ChunkedReceiver

from services.api.http.admission import Admission
from shared.errors import HttpError, ShapboxError, StorageFullError
from shared.timing import TIMING

#: Bytes of a request's head; of a chunk's line; of extensions and trailer, and as many for each byte of content.
HEAD_BYTES, CHUNK_LINE_BYTES, FRAMING_BYTES, FRAMING_PER_BYTE = 64 * 1024, 1024, 16 * 1024, 8
#: The slowest rate at which a body may come: each byte adds to the time that the body has.
SLOWEST_BYTES_PER_SECOND = 1024

#: A head with at most 128 fields that waitress's expressions read in linear time: no long blanks, no folded lines.
_HEAD = re.compile(
    rb"[!#$%&'*+.^_`|~0-9A-Z-]+ [!-~\x80-\xff]+ HTTP/1\.[01]\r\n"
    rb"(?:[!-9;-~]+:[ \t]{0,64}(?:[!-~\x80-\xff][\t -~\x80-\xff]*)?\r\n){0,128}\r\n"
)
_TRANSFER_CODING = re.compile(rb"\r\ntransfer-encoding:[ \t]*([^\r]*)", re.IGNORECASE)


class RequestParser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """Reads one request. The application answers all of them, also one that has a `refusal`."""

    body_rcv: Any
    refusal: ShapboxError | None = None
    #: What the application is told of a request that cannot be parsed.
    command, path, request_uri, query, url_scheme, version = "-", "/", "/", "", "http", "1.1"

    def __init__(self, adj: Any, admission: Admission) -> None:
        super().__init__(adj)
        self._admission = admission
        self._head = bytearray()
        self._reservation: Any = None
        self.deadline = time.monotonic() + TIMING.http_head_seconds

    def received(self, data: bytes) -> int:
        """Take bytes off the connection; return how many belong to this request."""
        try:
            return self._read_body(data) if self.headers_finished else self._read_head(data)
        except ShapboxError as error:
            self.refuse(error)
        except TransferEncodingNotImplemented as fault:
            self.refuse(HttpError(501, "not-implemented", str(fault)))
        except (ParsingError, ValueError) as fault:
            self.refuse(HttpError(400, "bad-request", f"The request is not valid HTTP: {fault}."))
        except OSError as fault:
            self.refuse(StorageFullError(f"The body cannot be written to the disk: {fault.strerror}."))
        return len(data)

    def refuse(self, error: ShapboxError | None) -> None:
        """Read nothing more: have the error answered, or what the application says without the body."""
        self.refusal = error
        self.close()
        self.body_rcv = self._reservation = None
        self.completed, self.expect_continue = True, False
        self.headers.pop("CONTENT_LENGTH", None)
        self.headers["CONNECTION"] = "close"

    def _read_head(self, data: bytes) -> int:
        before = len(self._head)
        self._head += data
        end = self._head.find(b"\r\n\r\n", max(0, before - 3)) + 4
        size = end if end > 3 else len(self._head)
        if size > HEAD_BYTES:
            raise HttpError(431, "headers-too-large", f"The head is larger than {HEAD_BYTES // 1024} KB.")
        if end > 3:
            self.headers_finished = True
            self._parse(bytes(self._head[:end]))
            self._head = bytearray()
        return size - before

    def _parse(self, head: bytes) -> None:
        if not _HEAD.fullmatch(head):
            raise ParsingError("the head is malformed or has more than 128 fields")
        self.parse_header(head)
        self._check_framing([coding.strip().lower() for coding in _TRANSFER_CODING.findall(head)])
        if self.body_rcv is None:
            self.completed, self.expect_continue = True, False
        else:
            self._reservation = self._admission.admit(self, None if self.chunked else self.content_length)
            if self._reservation is None:
                self.refuse(None)
            elif self.chunked:
                self.body_rcv = ChunkedBody(self.body_rcv.getbuf())
            self.deadline = time.monotonic() + TIMING.http_body_seconds

    def _check_framing(self, codings: list[bytes]) -> None:
        """Refuse what a proxy may understand otherwise."""
        if codings and (codings != [b"chunked"] or self.version == "1.0"):
            raise ParsingError("the transfer coding is ambiguous")
        hosts = self.headers.get("HOST", "," if self.version == "1.1" else "")
        if "," in hosts:
            raise ParsingError("there must be one Host header")
        if codings and self.headers.pop("CONTENT_LENGTH", None):
            self.headers["CONNECTION"] = "close"

    def _read_body(self, data: bytes) -> int:
        taken = int(self.body_rcv.received(data))
        self._reservation.take(taken)
        self.deadline += taken / SLOWEST_BYTES_PER_SECOND
        self.completed = self.body_rcv.completed
        if self.completed:
            self.headers["CONTENT_LENGTH"] = str(len(self.body_rcv))
        return taken


class ChunkedBody(ChunkedReceiver):  # type: ignore[misc]  # waitress has no types
    """Reads a chunked body; waitress bounds neither the lines between chunks nor the trailer."""

    _framing = 0

    def received(self, data: bytes) -> int:
        """Take bytes; return how many belong to the body. Raises ParsingError."""
        position, buf, pieces = 0, self.buf, []
        self.buf = pieces  # a file would take many calls for each of them
        try:
            while position < len(data) and not self.completed:
                end = position + (self.chunk_remainder or CHUNK_LINE_BYTES // 2)
                position += super().received(data[position:end])
                if self.error or len(self.control_line) > CHUNK_LINE_BYTES // 2:
                    raise ParsingError(self.error.body if self.error else "a line with a chunk's size is too long")
        finally:
            self.buf = buf
        content = b"".join(pieces)
        buf.append(content)
        self._framing += position - len(content)
        if self._framing > FRAMING_BYTES + FRAMING_PER_BYTE * len(buf):
            raise ParsingError("the chunk extensions or the trailer are too long")
        return position
