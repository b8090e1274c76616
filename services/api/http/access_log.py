"""The access log: each request's id, its log line, and its share of the counters."""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from shared import metrics
from shared.appliance.counters import Counters
from shared.jobs.ids import is_job_id
from shared.log import add_to_log_context

#: Where the WSGI environment holds a request's id, the URI template of its route, and the server's reason to refuse it.
REQUEST_ID, ROUTE, REFUSAL = "shapbox.request_id", "shapbox.route", "shapbox.refusal"
#: Where it holds the name of the request's key: that of a setting, or `invalid`. It is absent without a key.
KEY_NAME = "shapbox.key_name"
#: Where it holds a function that says whether the client has closed its connection.
CLIENT_LEFT = "shapbox.client_left"
#: The route's label of requests without one.
UNMATCHED = "unmatched"
#: An answer that is opened as a page may load nothing and be in no frame. The console and /docs have their own policy.
POLICY = "default-src 'none'; frame-ancestors 'none'"

_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: Asked every few seconds by machines: logged only when something is wrong.
_QUIET_ROUTES = frozenset({"/healthz", "/readyz", "/metrics", "/v1/appliance"})
_log = logging.getLogger("shapbox.access")
#: Seconds that the request of this thread has waited because its client asked for it.
_waited: ContextVar[float] = ContextVar("requested_wait_seconds", default=0.0)

type StartResponse = Callable[..., Any]
type WsgiApp = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


@contextlib.contextmanager
def requested_wait() -> Iterator[None]:
    """Count the block as a wait that the client asked for: it is not the api's own time."""
    started = time.perf_counter()
    try:
        yield
    finally:
        _waited.set(_waited.get() + time.perf_counter() - started)


class AccessLog:
    """A WSGI application around another, which needs to know nothing of ids, logs and counters.

    A request's id stays on the thread's log lines until the end of the log_context that the server opens for it.
    """

    def __init__(self, app: WsgiApp, counters: Counters) -> None:
        self._app = app
        self._counters = counters

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        given = environ.get("HTTP_X_REQUEST_ID", "")
        request_id = given if _CLIENT_ID.fullmatch(given) else secrets.token_hex(8)
        environ[REQUEST_ID] = request_id
        answer = _Answer(self._counters, environ)
        _waited.set(0.0)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            answer.begin(status[:3])
            return start_response(status, [*headers, ("X-Request-Id", request_id)], exc_info)

        add_to_log_context(request=request_id)
        answer.body = self._app(environ, start)
        return answer


@dataclass(slots=True)
class _Answer:
    """The body of an answer: what happens while it is made still belongs to the request."""

    counters: Counters
    environ: dict[str, Any]
    body: Iterable[bytes] = ()
    started: float = field(default_factory=time.perf_counter)
    status: str = "500"
    #: Until its head, without requested waits: the rest of a large one is as slow as its reader.
    seconds: float = 0.0
    sent: int = 0
    broken: bool = False

    def begin(self, status: str) -> None:
        self.status = status
        self.seconds = max(0.0, time.perf_counter() - self.started - _waited.get())

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self.body:
                self.sent += len(chunk)
                yield chunk
        except Exception as fault:
            # The status is sent already, so the answer can only be broken off.
            self.broken = True
            _log.warning("the answer breaks off: %s", fault)
            raise

    def close(self) -> None:
        """End the request. The server calls this however the body ended."""
        try:
            if hasattr(self.body, "close"):
                self.body.close()
        finally:
            self._note()

    def _note(self) -> None:
        method = self.environ["REQUEST_METHOD"]
        route = self.environ.get(ROUTE) or UNMATCHED
        label = method if method in _METHODS else "other"
        self.counters.add(metrics.HTTP_REQUESTS, label, route, self.status)
        self.counters.observe(metrics.HTTP_REQUEST_SECONDS, self.seconds, route)
        level = logging.DEBUG if route in _QUIET_ROUTES and self.status == "200" else logging.INFO
        extra = {
            "client": self.environ.get("REMOTE_ADDR"),
            "key": self.environ.get(KEY_NAME, "none"),
            "seconds": round(time.perf_counter() - self.started, 4),
            "bytes": self.sent,
        }
        if self.broken:
            extra["broken"] = True
        path = quote(self.environ.get("PATH_INFO", ""))
        _log.log(level, "%s %s %s", quote(method), path, self.status, extra=extra)


class RouteNote:
    """Falcon middleware: the template for the counters, the job for the log, headers for all."""

    def process_request(self, req: Any, _resp: Any) -> None:
        """Raise the error of a request that the server refused."""
        if refusal := req.env.get(REFUSAL):
            raise refusal

    def process_resource(self, _req: Any, _resp: Any, _resource: Any, params: dict[str, Any]) -> None:
        """Put the requested job on the request's log lines."""
        if is_job_id(job_id := str(params.get("job_id", ""))):
            add_to_log_context(job=job_id)

    def process_response(self, req: Any, resp: Any, _resource: Any, _succeeded: bool) -> None:  # noqa: FBT001  # falcon's
        """Note the template, and set the headers that keep caches and browsers from misuse."""
        req.env[ROUTE] = req.uri_template
        resp.set_header("X-Content-Type-Options", "nosniff")
        resp.set_header("Referrer-Policy", "no-referrer")
        if resp.get_header("Content-Security-Policy") is None:
            resp.set_header("Content-Security-Policy", POLICY)
        if req.path.startswith("/v1"):
            resp.set_header("Cache-Control", "no-store")
