"""A small request explained on the spot: read, explained, and kept as a job where somebody may ask for it later.

It counts as a job of one batch does that a worker runs.
"""

from __future__ import annotations

import functools
import time
from dataclasses import replace

from services.api.capacity.disk import require_disk
from services.api.components import Parts
from services.api.explain.inline_models import MOST_BODY, DirectModel
from services.api.explain.plan import Incoming, Matrix, Plan, Submitted, Urgency
from services.api.explain.queued import JobEntry
from shared.engines.engine import EngineCalls
from shared.errors import EngineFaultError
from shared.jobs.document import Job, Status
from shared.log import add_to_log_context


class DirectRun:
    """Runs what the direct lane takes."""

    def __init__(self, parts: Parts, entry: JobEntry) -> None:
        self._parts = parts
        self._entry = entry

    def run(self, incoming: Incoming, plan: Plan, urgency: Urgency) -> Submitted | None:
        """Explain the rows here; None if they are the workers': the body is then as it was.

        Raises what is wrong with the rows; EngineFaultError if the engine breaks or its sums are off, and then nothing is kept;
        and, where the job is kept, as JobEntry does.
        """
        started = time.monotonic()
        model = self._parts.direct.model(plan.model, plan.method)
        if model is None or plan.interactions is not None:
            return None
        rows = self._read(incoming, plan, model)
        if rows is None:
            return None
        job = plan.job("", len(rows), incoming.request)
        began = time.time()
        values, residual = self._explain(plan, model, rows)
        job = replace(
            job,
            status=Status.COMPLETED,
            started_at=began,
            finished_at=time.time(),
            largest_residual=residual,
        )
        if urgency is Urgency.VALUES and incoming.idempotency is None:
            self._count_job(job)
            submitted = Submitted(job, values)
        else:
            require_disk(self._parts.settings, rows.nbytes)
            submitted = self._entry.keep(incoming, job, rows, values)
        if submitted.values is not None:
            self._count_batch(time.monotonic() - started)
            self._parts.counters.most("largest_residual", residual, job.model)
        return submitted

    def _explain(self, plan: Plan, model: DirectModel, rows: Matrix) -> tuple[Matrix, float]:
        """Return the rows' values and their largest residual. Raises EngineFaultError."""
        calls = EngineCalls(plan.model.method_record(plan.method).engine or "unknown", plan.model.id)
        try:
            values = calls.explain(functools.partial(self._parts.direct.explain, model), rows)
        except EngineFaultError:
            self._parts.counters.add("engine_faults_total", plan.model.id)
            raise
        return values.array, calls.largest_residual

    def _read(self, incoming: Incoming, plan: Plan, model: DirectModel) -> Matrix | None:
        if incoming.body.size > MOST_BODY:
            return None
        chunks = incoming.chunks(plan.spec(self._parts.settings.max_rows))
        rows = next(chunks)
        if len(rows) > model.rows or next(chunks, None) is not None:
            return None
        incoming.checks.rows(len(rows))
        return rows

    def _count_job(self, job: Job) -> None:
        """Count what Redis counts by itself where it keeps the job."""
        add_to_log_context(model=job.model, rows=job.rows)
        self._parts.counters.add("jobs_total", job.status.value)
        self._parts.counters.add("rows_explained_total", job.model, amount=job.rows)

    def _count_batch(self, seconds: float) -> None:
        self._parts.counters.observe("batch_seconds", seconds)
        self._parts.counters.observe("job_seconds", seconds)
