"""Work: a job with exact values, and how fast single answers are."""

from __future__ import annotations

import statistics
import time

from ops.verify.expectation import Expectation
from ops.verify.outcome import FailedError, NotCheckedError
from ops.verify.plausible_rows import plausible_rows
from ops.verify.served import ServedModel
from ops.verify.visit import Visit

#: Rows of the job: a whole batch.
JOB_ROWS = 500
#: Single rows whose answers are timed, and seconds that half of them may take at most.
SYNC_CALLS, SYNC_SECONDS = 20, 1.0
#: Looks at Redis's answers, and seconds that half of them may take at most.
REDIS_LOOKS, REDIS_SECONDS = 10, 0.1


def sound_models(visit: Visit) -> list[ServedModel]:
    """Return the models that have answered exactly. Raises NotCheckedError if none has."""
    if not visit.sound:
        raise NotCheckedError("not checked because no model answers exactly.")
    return visit.sound


def job(visit: Visit) -> str:
    """Run a job of 500 rows of each sound model, all at once, and check all values."""
    expected = [Expectation.of(model, visit.local, JOB_ROWS) for model in sound_models(visit)]
    seconds = visit.options.answer_seconds
    started = time.monotonic()
    sent = [(visit.jobs.submit(one.model, one.rows, seconds), one) for one in expected]
    results = [(visit.jobs.finish(job_id, seconds * len(sent)), one) for job_id, one in sent]
    took = time.monotonic() - started
    exact = [one.check(result) for result, one in results]
    worst = max(exact, key=lambda one: (one.difference or 0.0, one.residual))
    jobs = f"{len(sent)} jobs of" if len(sent) > 1 else "a job of"
    residual = visit.jobs.largest_residual
    told = "no residual told" if residual is None else f"largest residual {residual:.0e}"
    return f"{jobs} {JOB_ROWS} rows in {took:.1f} s, {worst}, {told}"


def sync_call(visit: Visit) -> str:
    """Have single rows explained, and take the time."""
    model = sound_models(visit)[0]
    rows = plausible_rows(model.columns, visit.local.twin(model), SYNC_CALLS)
    took = [
        visit.jobs.explain(model, rows[number : number + 1], visit.options.answer_seconds)[1]
        for number in range(SYNC_CALLS)
    ]
    measured = f"1 row: p50 {statistics.median(took) * 1000:.0f} ms, slowest of {SYNC_CALLS} {max(took) * 1000:.0f} ms"
    if statistics.median(took) > SYNC_SECONDS:
        raise FailedError(
            f"Half of the answers for one row took longer than {SYNC_SECONDS:.0f} s.",
            "See what else it works at (queue_batches, CPU): a larger plan or more workers help, and so does being "
            "nearer to it.",
            measured,
        )
    return measured


def redis_latency(visit: Visit) -> str:
    """Take the time that Redis needs to answer the api."""
    took = [
        float(visit.target.get("/readyz").json()["probes"]["redis"]["seconds"]) for _ in range(REDIS_LOOKS)
    ]
    measured = f"ping: p50 {statistics.median(took) * 1000:.1f} ms, slowest of {REDIS_LOOKS} {max(took) * 1000:.1f} ms"
    if statistics.median(took) > REDIS_SECONDS:
        raise FailedError(
            f"Redis takes longer than {REDIS_SECONDS * 1000:.0f} ms for a ping: every batch needs several.",
            "Its own Redis shares the CPU with all else: a larger plan helps. A remote one must be in the same "
            "region, on the private network.",
            measured,
        )
    return measured
