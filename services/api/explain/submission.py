"""Takes in the requests with rows: POST /v1/explain and POST /v1/jobs."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from typing import Any

from services.api.capacity.disk import UploadDisk
from services.api.explain.inline import MOST_BODY
from services.api.explain.plan import Executor, Inline, Plan, Queued, Task, Urgency, make_plan
from services.api.http.access_log import REQUEST_ID
from services.api.http.admission import Draining
from services.api.http.concurrency_limits import ConcurrencyLimit
from services.api.http.query import Query, RowRange
from services.api.results.writer import Writer
from services.api.rows.json_body import BodyOptions
from services.api.rows.request_body import RequestBody
from shared.errors import BadParameterError, UnprocessableError
from shared.interactions import MOST_TOP_PAIRS
from shared.jobs.store import Idempotency, JobStore
from shared.log import add_to_log_context
from shared.models.catalog import ModelCatalog
from shared.redis.connection import redis_needed
from shared.settings import Settings

#: The query parameters that say what to do with the rows, in the order of BodyOptions.
OPTION_PARAMETERS = ("model", "method", "interactions", "top_pairs")
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

    def __init__(
        self,
        settings: Settings,
        store: JobStore,
        catalog: ModelCatalog,
        executors: Mapping[Urgency, Executor],
        draining: Draining,
        uploads: ConcurrencyLimit,
        upload_disk: UploadDisk,
    ) -> None:
        """Limit the large bodies that are read at a time by `uploads`."""
        self._store = store
        self._settings = settings
        self._catalog = catalog
        self._plans: dict[BodyOptions, Plan] = {}
        self._executors = executors
        self._draining = draining
        self._uploads = uploads
        self._upload_disk = upload_disk

    def submit(
        self, req: Any, query: Query, urgency: Urgency = Urgency.LATER, writer: Writer | None = None
    ) -> Inline | Queued:
        """Explain the request's rows here if they are few and urgent, or accept a job for them.

        With a writer, what it cannot write is refused before any row is read. Raises the errors of a bad request, and
        BusyError, DrainingError, QueueFullError, RedisFullError, RedisUnavailableError, StorageFullError and
        StorageUnavailableError.
        """
        with contextlib.ExitStack() as opened:
            body = self._open(req, opened)
            idempotency = _read_idempotency(req, body)
            if idempotency:
                with redis_needed():
                    job = self._store.known(idempotency)
                if job is not None:
                    add_to_log_context(job=job.id)
                    return Queued(job)
            self._draining.require_open()
            length = req.content_length or 0
            if length > MOST_BODY:  # a smaller one may be explained inline
                with redis_needed():
                    self._store.require_capacity()
            if length > LARGE_BODY:
                opened.enter_context(self._uploads)
            plan = self._plan(query, body)
            if writer is not None:
                writer.format_for(plan.interactions)
            wanted = RowRange() if writer is None else writer.rows
            return self._executors[urgency].run(
                Task(req.env[REQUEST_ID], plan, body, urgency, wanted, idempotency)
            )

    def _plan(self, query: Query, body: RequestBody) -> Plan:
        """Return the plan for the options in the query and the body. A catalog never changes."""
        options = _read_options(query)
        if body.options_in_body:
            options = _merge(options, body.options)
        plan = self._plans.get(options)
        if plan is None:
            plan = make_plan(options, self._catalog, self._settings)
            if len(self._plans) < MOST_PLANS:
                self._plans[options] = plan
        return plan

    def _open(self, req: Any, opened: contextlib.ExitStack) -> RequestBody:
        return opened.enter_context(
            RequestBody(
                req.env["wsgi.input"],
                req.get_header("Content-Type"),
                req.get_header("Content-Encoding"),
                self._settings.max_body_mb * 2**20,
                self._settings.tmp_dir,
                max_rows=self._settings.max_rows,
                reserve=lambda: opened.enter_context(self._upload_disk.reserve()),
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
