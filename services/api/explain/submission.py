"""From a request's body to an accepted job: the one way in for POST /v1/jobs and POST /v1/explain.

The rows are stored first, batch by batch as they are read; then one transaction makes the job visible. A
request that fails before that leaves nothing behind. Few rows of a compiled model are explained right here, if the
client waits for them.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any, BinaryIO

from services.api.capacity.disk import require_disk
from services.api.components import Parts
from services.api.explain.inline import DirectRun
from services.api.explain.inline_models import MOST_BODY
from services.api.explain.options import OPTION_PARAMETERS, choose_interactions, read_options
from services.api.explain.plan import Checks, Incoming, Plan, Submitted, Urgency
from services.api.explain.queued import JobEntry
from services.api.http.access_log import REQUEST_ID
from services.api.http.admission import SMALL_BODY
from services.api.http.query import Query
from services.api.rows.json_body import BodyOptions
from services.api.rows.readers import choose_reader
from services.api.rows.request_body import open_request_body
from shared.batch_plan import plan_batch_rows, plan_interaction_rows, plan_interventional_rows
from shared.errors import BadParameterError, MethodRefusedError, UnprocessableError
from shared.jobs.document import Job, Method
from shared.jobs.store import Idempotency
from shared.log import add_to_log_context
from shared.models.activation.records import SHAP, XGBOOST
from shared.models.catalog import ModelVersion
from shared.redis.connection import redis_needed

#: Bytes above which reading a body counts as a long request.
LARGE_BODY = 2**20
#: Characters that an Idempotency-Key has, at most.
MAX_KEY = 255
#: Those of the query parameters that a fingerprint has always held, also where they are not given.
_FIRST_PARAMETERS = ("model", "method")


class Submission:
    """Takes requests in."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._entry = JobEntry(parts)
        self._direct = DirectRun(parts, self._entry)

    def submit(
        self,
        req: Any,
        query: Query,
        urgency: Urgency = Urgency.LATER,
        checks: Checks | None = None,
    ) -> Submitted:
        """Store the request's rows and accept a job for them, or explain them here if they are few and urgent.

        Raises what `checks` raise, any of the errors of a bad request, and BusyError, DrainingError, QueueFullError,
        RedisFullError, RedisUnavailableError, StorageFullError and StorageUnavailableError.
        """
        parts = self._parts
        choose_reader(req.get_header("Content-Type"))
        raw: BinaryIO = req.env["wsgi.input"]
        idempotency = _read_idempotency(req, raw)
        if idempotency and (job := self._known(idempotency)):
            return Submitted(job)
        parts.require_intake()
        if (req.content_length or 0) > MOST_BODY:  # of a small one, accept finds out soon enough
            with redis_needed():
                parts.store.require_room()
        most = parts.settings.max_body_mb * 2**20
        with contextlib.ExitStack() as open_things:
            if (req.content_length or 0) > LARGE_BODY:
                open_things.enter_context(parts.uploads)
            body = open_things.enter_context(
                open_request_body(
                    raw,
                    req.get_header("Content-Type"),
                    req.get_header("Content-Encoding"),
                    most,
                    parts.settings.tmp_dir,
                    max_rows=parts.settings.max_rows,
                )
            )
            incoming = Incoming(req.env[REQUEST_ID], body, idempotency, checks or Checks())
            plan = self._plan(read_options(body, query))
            incoming.checks.interactions(plan.interactions)
            if urgency is not Urgency.LATER and (submitted := self._direct.run(incoming, plan, urgency)):
                return submitted
            if (size := body.size) > SMALL_BODY and (req.content_length or 0) <= MOST_BODY:
                with redis_needed():  # a small one may unpack to much
                    parts.store.require_room()
            require_disk(parts.settings, size)
            return self._entry.queue(incoming, plan)

    def _known(self, idempotency: Idempotency) -> Job | None:
        with redis_needed():
            job = self._parts.store.known(idempotency)
        if job is not None:
            add_to_log_context(job=job.id)
        return job

    def _plan(self, options: BodyOptions) -> Plan:
        model = self._choose_model(options.model)
        method = _choose_method(options.method, model)
        engine = model.method_record(method).engine
        batch_rows = plan_batch_rows(
            len(model.features),
            len(model.outputs),
            self._parts.settings,
            compiled=engine not in {XGBOOST, SHAP},
        )
        if engine == SHAP and model.contract.background:
            background = model.contract.background.rows
            batch_rows = plan_interventional_rows(batch_rows, background, len(model.outputs))
        interactions = choose_interactions(options, method, model)
        if interactions is not None:
            batch_rows = plan_interaction_rows(
                len(model.features), len(model.outputs), self._parts.settings, interactions
            )
        return Plan(model, method, batch_rows, interactions)

    def _choose_model(self, name: str | None) -> ModelVersion:
        catalog = self._parts.catalog
        name = name or self._parts.settings.default_model
        if name is not None:
            return catalog.get(name)
        latest = catalog.latest()
        if len(latest) == 1:
            return latest[0]
        there_are = ", ".join(version.name for version in latest)
        raise UnprocessableError(
            f'No model is named and there is no DEFAULT_MODEL. Name one of: {there_are} ("model" in a JSON '
            "body, else ?model=)."
        )


def _choose_method(name: str | None, model: ModelVersion) -> Method:
    """Return the method that is asked for, if the model can be explained by it. Raises UnprocessableError."""
    wanted = Method.TREE_PATH_DEPENDENT.value if name is None else name
    try:
        method = Method(wanted)
    except ValueError:
        raise UnprocessableError(
            f"There is no method {wanted[:80]!r}. Use one of: {', '.join(Method)}."
        ) from None
    record = model.method_record(method)
    if record.engine is None:
        others = " or ".join(model.methods)
        raise MethodRefusedError(
            f"Model {model.id} cannot be explained by {method}: {record.reason or 'the reason is not known'}"
            + (f"; use {others}." if others else ".")
        )
    return method


def _read_idempotency(req: Any, body: BinaryIO) -> Idempotency | None:
    """Return the request's Idempotency-Key with a fingerprint of all that decides what the job is."""
    key = req.get_header("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
        raise BadParameterError(f"Idempotency-Key must have 1 to {MAX_KEY} printable ASCII characters.")
    digest = hashlib.sha256()
    for name in OPTION_PARAMETERS:
        if name not in _FIRST_PARAMETERS and name not in req.params:
            continue
        digest.update(f"{name}={req.params.get(name, '')}\n".encode())
    for name in ("Content-Type", "Content-Encoding"):
        digest.update(f"{name}: {req.get_header(name) or ''}\n".encode())
    body.seek(0)
    while block := body.read(2**18):
        digest.update(block)
    body.seek(0)
    return Idempotency(key, digest.hexdigest())
