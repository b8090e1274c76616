"""Fuzz targets of the parser of HTTP, and of parameters and headers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import falcon
import falcon.testing
from waitress.adjustments import Adjustments

from services.api.http.authentication import Access, KeyRing
from services.api.http.channel import RequestParser
from services.api.http.query import Query, read_row_range, read_wait
from services.api.results.negotiation import acceptable, accepts_gzip
from services.api.rows.json_body import OPTIONS
from services.api.rows.readers import choose_reader
from shared.errors import ShapboxError
from shared.jobs.document import Method, Status
from shared.settings import Settings

_ADJUSTMENTS = Adjustments()
_TYPES = ("application/json", "text/csv", "application/x-npy", "image/svg+xml")
_KEYS = KeyRing(Settings(api_key="a" * 43, admin_api_key="b" * 43, metrics_token="c" * 43))
#: Requests of one connection that are looked at.
_MOST_REQUESTS = 4


def http_request(data: bytes) -> None:
    """Read the requests of a connection whole and in pieces, which must make no difference."""
    step, content = 1 + (data[0] if data else 0) % 97, data[1:]
    whole, pieces = _read_requests(content, len(content) or 1), _read_requests(content, step)
    assert whole == pieces, (whole, pieces)


def parameters(data: bytes) -> None:
    """Read a query, and the headers that choose formats and rights."""
    lines = data.decode("latin-1").replace("\r", "").split("\n")
    names = ("Prefer", "Accept", "Accept-Encoding", "Content-Type", "Authorization")
    headers = dict(zip(names, lines[1:], strict=False))
    environ = falcon.testing.create_environ(query_string=lines[0].lstrip("?"))
    request = falcon.Request(environ)
    known = (*OPTIONS, "wait", "offset", "limit", "status")
    query = _refused_or(lambda: Query(request, *known))
    if isinstance(query, Query):
        for name in known:
            _refused_or(lambda name=name: query.text(name))
            _refused_or(lambda name=name: query.flag(name))
        _refused_or(lambda: (query.choice("method", Method), query.choice("status", Status)))
        number = _refused_or(lambda: query.whole("top_pairs", 7, 1, 100))
        assert isinstance(number, ShapboxError) or 1 <= number <= 100, number
        wait = _refused_or(lambda: read_wait(query, headers.get("Prefer")))
        assert isinstance(wait, ShapboxError) or 0 <= wait.seconds <= 50, wait
        rows = _refused_or(lambda: read_row_range(query).of(10))
        assert isinstance(rows, ShapboxError) or (rows.start >= 0 and rows.stop <= 10), rows
    _refused_or(lambda: acceptable(headers.get("Accept"), _TYPES, "A result"))
    assert accepts_gzip(headers.get("Accept-Encoding")) in {True, False}
    _refused_or(lambda: choose_reader(headers.get("Content-Type")))
    for access in Access:
        said = _refused_or(lambda access=access: _KEYS.require(access, headers.get("Authorization"), "/"))
        key = (headers.get("Authorization") or "").strip().partition(" ")[2].strip()
        assert said is not None or access is Access.OPEN or key in {"a" * 43, "b" * 43, "c" * 43}


def _refused_or(function: Any) -> Any:
    """Return what a function returns, or its refusal, which must be one of a request."""
    try:
        return function()
    except ShapboxError as error:
        refusal = error
    assert 400 <= refusal.status < 500, refusal
    str(refusal).encode("utf-8", "surrogatepass")
    return refusal


def _read_requests(content: bytes, step: int) -> list[Any]:
    """Feed a connection's bytes in pieces, as Channel.received does; describe each request."""
    found: list[Any] = []
    request, ahead, at = None, b"", 0
    while len(found) < _MOST_REQUESTS and (ahead or at < len(content)):
        data, at = ahead + content[at : at + step], at + step
        ahead = b""
        while data and len(found) < _MOST_REQUESTS:
            if request is None and not (data := data.lstrip(b"\r\n")):
                break
            request = request or RequestParser(_ADJUSTMENTS)
            taken = request.read(data, _admit)
            assert 0 < taken <= len(data), (taken, len(data))
            data = data[taken:]
            if request.completed:
                found.append(_described(request))
                if request.refusal is not None:
                    return found
                request.close()
                request = None
        ahead = data
    if request is not None:
        request.close()
    return found


def _admit(request: Any) -> Any:
    return None if request.body_rcv is None else SimpleNamespace(take=lambda _size: None)


def _described(request: Any) -> Any:
    refusal = request.refusal
    assert type(refusal) is not ShapboxError, "an unexpected exception, which was logged"
    if refusal is not None:
        return refusal.status
    body = b"" if request.body_rcv is None else request.body_rcv.getfile().read()
    assert int(request.headers.get("CONTENT_LENGTH", len(body))) == len(body)
    return request.command, request.path, request.query, request.version, dict(request.headers), body
