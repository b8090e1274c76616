"""From a request's body to an accepted job: the one way in for POST /v1/jobs and POST /v1/explain.

The rows are stored first, batch by batch as they are read; then one transaction makes the job visible. A
request that fails before that leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from services.api.envelope import REQUEST_ID
from services.api.intake import SMALL_BODY
from services.api.parts import Parts
from services.api.query import Query
from services.api.readers.body import open_body
from services.api.readers.json_rows import BodyOptions, read_json_options
from services.api.readers.media_types import Reader, choose_reader
from services.api.readers.row_spec import RowSpec
from services.api.result_room import result_bytes
from services.api.storage_room import require_disk
from shared.batch_plan import plan_batch_rows, plan_interventional_rows
from shared.engine_record import XGBOOST
from shared.errors import BadParameterError, RedisUnavailableError, ShapboxError, UnprocessableError
from shared.jobs.document import Job, Method
from shared.jobs.ids import new_job_id
from shared.jobs.store import Accepted, Idempotency
from shared.log import add_to_log_context
from shared.model_catalog import ModelVersion
from shared.redis_connection import redis_needed

#: Bytes above which reading a body counts as a long request.
LARGE_BODY = 2**20
#: Characters that an Idempotency-Key has, at most.
MAX_KEY = 255
#: What is known when Redis went away in the accepting transaction.
UNCERTAIN = (
    "It cannot be known whether the job was accepted before that. Send it again in a moment: with an "
    "Idempotency-Key it is never done twice."
)
#: The query parameters that say what to do with the rows.
OPTION_PARAMETERS = ("model", "method")

_log = logging.getLogger("shapbox.submission")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with the rows."""

    model: ModelVersion
    method: Method
    batch_rows: int


class Submission:
    """Takes requests in."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def submit(self, req: Any, query: Query, check_rows: Callable[[int], object] | None = None) -> Accepted:
        """Store the request's rows and accept a job for them.

        `check_rows` may refuse the number of rows by raising. Raises any of the errors of a bad request, and
        BusyError, DrainingError, QueueFullError, RedisFullError, RedisUnavailableError, StorageFullError
        and StorageUnavailableError.
        """
        parts = self._parts
        reader = choose_reader(req.get_header("Content-Type"))
        raw: BinaryIO = req.env["wsgi.input"]
        idempotency = _read_idempotency(req, raw)
        if idempotency and (job := self._known(idempotency)):
            return Accepted(job, created=False)
        parts.require_intake()
        if (req.content_length or 0) > SMALL_BODY:  # of a small one, accept finds out soon enough
            with redis_needed():
                parts.store.require_room()
        size = parts.settings.max_body_mb * 2**20
        with contextlib.ExitStack() as open_things:
            if (req.content_length or 0) > LARGE_BODY:
                open_things.enter_context(parts.uploads)
            body = open_body(raw, req.get_header("Content-Encoding"), size, parts.settings.tmp_dir)
            if body is not raw:
                open_things.callback(body.close)
            require_disk(parts.settings, _size(body))
            plan = self._plan(_read_options(reader, body, query, parts.settings.max_rows))
            return self._accept(req.env[REQUEST_ID], reader, body, plan, idempotency, check_rows)

    def _known(self, idempotency: Idempotency) -> Job | None:
        with redis_needed():
            job = self._parts.store.known(idempotency)
        if job is not None:
            add_to_log_context(job=job.id)
        return job

    def _plan(self, options: BodyOptions) -> Plan:
        model = self._choose_model(options.model)
        method = _choose_method(options.method, model)
        compiled = method is Method.TREE_PATH_DEPENDENT and self._parts.engines.of(model.id) != XGBOOST
        batch_rows = plan_batch_rows(
            len(model.features), len(model.outputs), self._parts.settings, compiled=compiled
        )
        if method is Method.INTERVENTIONAL and model.manifest.background:
            background = model.manifest.background.rows
            batch_rows = plan_interventional_rows(batch_rows, background, len(model.outputs))
        return Plan(model, method, batch_rows)

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

    def _accept(
        self,
        request_id: str,
        reader: Reader,
        body: BinaryIO,
        plan: Plan,
        idempotency: Idempotency | None,
        check_rows: Callable[[int], object] | None,
    ) -> Accepted:
        job_id = new_job_id()
        with self._stored_or_removed(job_id):
            rows = self._store_rows(job_id, reader, body, plan)
            if check_rows:
                check_rows(rows)
            job = _new_job(job_id, rows, plan, request_id)
            with redis_needed(UNCERTAIN):
                accepted = self._parts.store.accept(job, idempotency)
        add_to_log_context(job=accepted.job.id)
        if not accepted.created:  # another request with the same key was faster
            self._remove(job_id)
        else:
            _log.info("job accepted", extra={"rows": rows, "model": job.model})
        return accepted

    def _store_rows(self, job_id: str, reader: Reader, body: BinaryIO, plan: Plan) -> int:
        spec = RowSpec(plan.model.features, plan.batch_rows, self._parts.settings.max_rows)
        rows = 0
        for batch, chunk in enumerate(reader.read(body, spec)):
            each = result_bytes(len(chunk), len(plan.model.features), len(plan.model.outputs))
            self._parts.results.promise(job_id, each)
            self._parts.payloads.put(job_id, "input", batch, chunk)
            rows += len(chunk)
        return rows

    @contextlib.contextmanager
    def _stored_or_removed(self, job_id: str) -> Iterator[None]:
        try:
            yield
        except RedisUnavailableError:
            # Whether the transaction was carried out cannot be known, and an accepted job must keep its
            # rows. If it was not, the sweeper finds rows without a job.
            self._parts.results.settle(job_id)
            raise
        except BaseException:
            self._remove(job_id)
            raise
        else:
            self._parts.results.settle(job_id)

    def _remove(self, job_id: str) -> None:
        self._parts.results.release(job_id)
        try:
            self._parts.payloads.delete_job(job_id)
        except ShapboxError as fault:  # the sweeper comes round
            _log.warning(
                "rows of a refused job stay behind for the sweeper: %s", fault, extra={"job": job_id}
            )


def _new_job(job_id: str, rows: int, plan: Plan, request_id: str) -> Job:
    return Job(
        id=job_id,
        model=plan.model.id,
        method=plan.method,
        rows=rows,
        batch_rows=plan.batch_rows,
        features=len(plan.model.features),
        outputs=len(plan.model.outputs),
        fallback=plan.model.fallback,
        created_at=time.time(),
        request=request_id,
    )


def _read_options(reader: Reader, body: BinaryIO, query: Query, max_rows: int) -> BodyOptions:
    """Return the options of the query, and of a JSON body; the two must not contradict each other."""
    asked = BodyOptions(query.text("model"), query.text("method"))
    if not reader.options_in_body:
        return asked
    said = read_json_options(body, max_rows)
    body.seek(0)
    for name, in_query, in_body in (
        ("model", asked.model, said.model),
        ("method", asked.method, said.method),
    ):
        if in_query is not None and in_body is not None and in_query != in_body:
            raise UnprocessableError(
                f"The query says {name}={in_query[:80]!r} and the body {in_body[:80]!r}: say it once."
            )
    return BodyOptions(
        asked.model if said.model is None else said.model,
        asked.method if said.method is None else said.method,
    )


def _choose_method(name: str | None, model: ModelVersion) -> Method:
    if name is None:
        return Method.TREE_PATH_DEPENDENT
    try:
        method = Method(name)
    except ValueError:
        raise UnprocessableError(
            f"There is no method {name[:80]!r}. Use one of: {', '.join(Method)}."
        ) from None
    if method is Method.INTERVENTIONAL and model.background_path is None:
        raise UnprocessableError(
            f"Model {model.id} has no background rows, which interventional values are measured against. "
            f"Use {Method.TREE_PATH_DEPENDENT}, or add them with `python -m ops.models add --background`."
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
        digest.update(f"{name}={req.params.get(name, '')}\n".encode())
    for name in ("Content-Type", "Content-Encoding"):
        digest.update(f"{name}: {req.get_header(name) or ''}\n".encode())
    body.seek(0)
    while block := body.read(2**18):
        digest.update(block)
    body.seek(0)
    return Idempotency(key, digest.hexdigest())


def _size(body: BinaryIO) -> int:
    size = body.seek(0, os.SEEK_END)
    body.seek(0)
    return size
