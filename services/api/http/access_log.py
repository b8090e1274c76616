"""What surrounds every request: its id, its line in the log, its place in the counters."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from services.api.http import requested_waits as waits
from shared import metrics
from shared.appliance.counters import Counters
from shared.jobs.ids import is_job_id
from shared.log import add_to_log_context, log_context

#: Where the WSGI environment holds the request's id, and the URI template it was routed to.
REQUEST_ID, ROUTE = "shapbox.request_id", "shapbox.route"
#: The route's label for requests that no template fits.
UNMATCHED = "unmatched"

_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: Asked for every few seconds by machines: logged only when something is wrong.
_QUIET_ROUTES = frozenset({"/healthz", "/readyz", "/metrics", "/v1/appliance"})
_log = logging.getLogger("shapbox.access")

type StartResponse = Callable[..., Any]
type WsgiApp = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


def request_id_of(given: str | None) -> str:
    """Take the client's id if it is a plain word, else make one."""
    return given if given and _CLIENT_ID.fullmatch(given) else secrets.token_hex(8)


class Envelope:
    """A WSGI application around another: nothing inside needs to know of ids, logs or counters.

    The ids stay on the thread's lines to the end of the log_context that the server opens for each request.
    """

    def __init__(self, app: WsgiApp, counters: Counters) -> None:
        self._app = app
        self._counters = counters

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        request_id = request_id_of(environ.get("HTTP_X_REQUEST_ID"))
        environ[REQUEST_ID] = request_id
        exchange = _Exchange(self._counters, environ)
        waits.begin()

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            exchange.answer(status[:3])
            return start_response(status, [*headers, ("X-Request-Id", request_id)], exc_info)

        add_to_log_context(request=request_id)
        return _Body(self._app(environ, start), exchange)

    def count_refused(self, method: str | None, status: int, request_id: str) -> None:
        """Count and log a request that the server answered before it came here."""
        label = method if method in _METHODS else "other"
        self._counters.add(metrics.HTTP_REQUESTS, label, UNMATCHED, str(status))
        with log_context(request=request_id):
            _log.info("a request was refused at its head: %s", status)


@dataclass(slots=True)
class _Exchange:
    counters: Counters
    environ: dict[str, Any]
    started: float = field(default_factory=time.perf_counter)
    status: str = "500"
    sent: int = 0
    broken: bool = False
    #: Seconds until the answer's head was there, without those that the client wanted to wait: of a large result
    #: the rest is as slow as its reader.
    answer_seconds: float | None = None

    def answer(self, status: str) -> None:
        self.status = status
        self.answer_seconds = self._seconds() - waits.waited()

    def end(self) -> None:
        seconds = self._seconds()
        method = self.environ["REQUEST_METHOD"]
        route = self.environ.get(ROUTE) or UNMATCHED
        label = method if method in _METHODS else "other"
        self.counters.add(metrics.HTTP_REQUESTS, label, route, self.status)
        own = seconds if self.answer_seconds is None else self.answer_seconds
        self.counters.observe(metrics.HTTP_REQUEST_SECONDS, max(0.0, own), route)
        quiet = route in _QUIET_ROUTES and self.status == "200"
        _log.log(
            logging.DEBUG if quiet else logging.INFO,
            "%s %s %s",
            quote(method),
            quote(self.environ.get("PATH_INFO", "")),
            self.status,
            extra={
                "seconds": round(seconds, 4),
                "bytes": self.sent,
                **({"broken": True} if self.broken else {}),
            },
        )

    def _seconds(self) -> float:
        return time.perf_counter() - self.started


class _Body:
    """The answer's body: what happens while it is made still belongs to the request."""

    def __init__(self, body: Iterable[bytes], exchange: _Exchange) -> None:
        self._body = body
        self._exchange = exchange

    def __iter__(self) -> Iterator[bytes]:
        chunks = iter(self._body)
        while True:
            try:
                chunk = next(chunks, None)
            except Exception as fault:
                # The status is sent already: breaking off is the only honest answer left.
                self._exchange.broken = True
                _log.warning("the answer breaks off: %s", fault)
                raise
            if chunk is None:
                return
            self._exchange.sent += len(chunk)
            yield chunk

    def close(self) -> None:
        """End the request: called by the server, however the body ended."""
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            self._exchange.end()


class RouteNote:
    """Falcon middleware: notes the URI template, for the envelope's counters, and the job, for the log."""

    def process_resource(self, _req: Any, _resp: Any, _resource: Any, params: dict[str, Any]) -> None:
        """Put the job that is asked for on the lines about this request."""
        if is_job_id(job_id := str(params.get("job_id", ""))):  # what else a client writes there is none
            add_to_log_context(job=job_id)

    def process_response(self, req: Any, resp: Any, _resource: Any, _succeeded: bool) -> None:  # noqa: FBT001  # falcon's
        """Note the template, and keep answers about jobs out of every cache."""
        req.env[ROUTE] = req.uri_template
        if req.path.startswith("/v1"):
            resp.set_header("Cache-Control", "no-store")
