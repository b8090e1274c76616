"""Takes in the requests with rows: POST /v1/explain and POST /v1/jobs."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING, Any

from services.api.explain.inline import MOST_BODY, InlineExecutor
from services.api.explain.plan import Executor, Inline, Plan, Task, make_plan
from services.api.explain.queued import QueuedExecutor
from services.api.http.access_log import REQUEST_ID
from services.api.http.query import Query, RowRange
from services.api.results.writer import Writer
from services.api.rows.json_body import OPTIONS, BodyOptions
from services.api.rows.request_body import RequestBody
from shared.errors import BadParameterError, UnprocessableError
from shared.interactions import MOST_TOP_PAIRS
from shared.jobs.document import Job
from shared.jobs.store import Idempotency
from shared.log import add_to_log_context

if TYPE_CHECKING:
    from services.api.components import Components

#: The query parameters that say what to do with the rows, in the order of BodyOptions.
OPTION_PARAMETERS = tuple(OPTIONS)
#: Plans that are kept, for the options of earlier requests.
MOST_PLANS = 256
#: Bytes above which reading a body counts as a long request.
LARGE_BODY = 2**20
#: Characters of an Idempotency-Key, at most.
MAX_KEY = 255
#: Those of the query parameters that a fingerprint has always held, also if they are missing.
_FIRST_PARAMETERS = ("model", "method")


class Submission:
    """Opens the body of a request, finds the plan for its options, and runs an executor."""

    def __init__(self, components: Components) -> None:
        self._components = components
        self._queued = QueuedExecutor(
            components.settings, components.store, components.payloads, components.result_reservations
        )
        self._inline = InlineExecutor(components.inline_models, self._queued, components.counters)
        self._folder = components.settings.tmp_dir
        self._plans: dict[BodyOptions, Plan] = {}

    def submit(self, req: Any, query: Query, *, waits: bool, writer: Writer | None = None) -> Inline | Job:
        """Explain the request's rows, or accept a job for them.

        Rows are explained here if they are few and the client waits. With a writer, the client wants the values: what it
        cannot write is refused before any row is read, and a job is kept only for an Idempotency-Key.

        Raises the errors of a bad request, and BusyError, DrainingError, QueueFullError, RedisFullError,
        RedisUnavailableError, StorageFullError and StorageUnavailableError.
        """
        store = self._components.store
        with contextlib.ExitStack() as opened:
            body = self._open(req, opened)
            idempotency = _read_idempotency(req, body)
            if idempotency:
                job = store.known(idempotency)
                if job is not None:
                    self._queued.sync()  # the request that made it may still wait for the disk
                    add_to_log_context(job=job.id)
                    return job
            self._components.draining.require_open()
            length = req.content_length or 0
            if length > MOST_BODY:  # a smaller one may be explained inline
                store.require_capacity()
            if length > LARGE_BODY:
                opened.enter_context(self._components.uploads)
            plan = self._plan(query, body)
            if writer is not None:
                writer.format_for(plan.interactions)
            wanted = RowRange() if writer is None else writer.rows
            keeps_job = writer is None or idempotency is not None
            task = Task(req.env[REQUEST_ID], plan, body, wanted, keeps_job, idempotency)
            executor: Executor = self._inline if waits else self._queued
            return executor.run(task)

    def _plan(self, query: Query, body: RequestBody) -> Plan:
        """Return the plan for the options in the query and the body. A catalog never changes."""
        options = _merge(_read_options(query), body.options)
        plan = self._plans.get(options)
        if plan is None:
            plan = make_plan(options, self._components.catalog, self._components.settings)
            if len(self._plans) < MOST_PLANS:
                self._plans[options] = plan
        return plan

    def _open(self, req: Any, opened: contextlib.ExitStack) -> RequestBody:
        settings = self._components.settings
        return opened.enter_context(
            RequestBody(
                req.env["wsgi.input"],
                req.get_header("Content-Type"),
                req.get_header("Content-Encoding"),
                settings.max_body_mb * 2**20,
                self._folder,
                max_rows=settings.max_rows,
                reserve=lambda: opened.enter_context(self._components.upload_disk.reserve()),
            )
        )


def _read_idempotency(req: Any, body: RequestBody) -> Idempotency | None:
    """Return the Idempotency-Key with a fingerprint of everything that determines the job."""
    key = req.get_header("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
        raise BadParameterError(f"Idempotency-Key must have 1 to {MAX_KEY} printable ASCII characters.")
    fingerprint = hashlib.sha256()
    for name in OPTION_PARAMETERS:
        if name in _FIRST_PARAMETERS or name in req.params:
            fingerprint.update(f"{name}={req.params.get(name, '')}\n".encode())
    for name in ("Content-Type", "Content-Encoding"):
        fingerprint.update(f"{name}: {req.get_header(name) or ''}\n".encode())
    body.update_digest(fingerprint)
    return Idempotency(key, fingerprint.hexdigest())


def _read_options(query: Query) -> BodyOptions:
    top_pairs = None
    try:
        interactions = query.flag("interactions")
        if query.text("top_pairs") is not None:
            top_pairs = query.whole("top_pairs", 0, 1, MOST_TOP_PAIRS)
    except BadParameterError as fault:
        raise UnprocessableError(str(fault)) from fault  # the same status as for options in a body
    return BodyOptions(query.text("model"), query.text("method"), interactions, top_pairs)


def _merge(in_query: BodyOptions, in_body: BodyOptions) -> BodyOptions:
    """Return the options of both. Raises UnprocessableError if they contradict each other."""

    def merge(name: str) -> Any:
        one, other = getattr(in_query, name), getattr(in_body, name)
        if one is not None and other is not None and one != other:
            raise UnprocessableError(
                f"The query has {name}={_shorten(one)} and the body {name}={_shorten(other)}. Send it once."
            )
        return one if other is None else other

    return BodyOptions(*map(merge, OPTION_PARAMETERS))


def _shorten(value: str | int) -> str:
    return repr(value[:80]) if isinstance(value, str) else str(value).lower()
