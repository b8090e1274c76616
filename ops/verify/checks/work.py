"""The work: models and jobs with exact values, workers, metrics, memory and latency."""

from __future__ import annotations

import statistics
import time
from itertools import cycle

from ops.lab.memory import MB
from ops.verify.appliance import (
    ADMIN_KEYS,
    JOBS_KEYS,
    METRICS_KEYS,
    REMEDIES,
    Scrape,
    said,
)
from ops.verify.report import FailedError, NotCheckedError
from ops.verify.values import served_contract
from ops.verify.visit import Visit
from ops.verify.watch import RESTART_REMEDY, Seen, watched
from shared import metrics as contract
from shared.metrics import METRICS, MetricKind
from shared.models.contract import Contract

#: Rows that each model is asked about in one request, and rows of a job: a whole batch.
ROWS, JOB_ROWS = 8, 500
#: Single rows whose answers are timed, and seconds that half of them may take at most.
SYNC_CALLS, SYNC_SECONDS = 20, 1.0
#: Looks at Redis's answers, and seconds that half of them may take at most.
REDIS_LOOKS, REDIS_SECONDS = 10, 0.1
#: Seconds that a fresh appliance may take until it has told all metrics, and between two looks.
SETTLE_SECONDS, LOOK_SECONDS = 10.0, 0.5
#: During a soak, seconds between two requests of one row, two jobs of a batch, and two looks at health.
ROW_SECONDS, JOB_SECONDS, HEALTH_SECONDS = 1.0, 10.0, 5.0
#: Metrics that are told only where there is something to measure.
OPTIONAL = {
    contract.STORAGE_BYTES,
    contract.STORAGE_FREE_INODES,
    contract.MEMORY_CONTAINER_LIMIT,
    contract.REDIS_MEMORY_LIMIT,
    contract.LARGEST_RESIDUAL,
    contract.WORKER_MEMORY_LIMIT,
    contract.QUEUE_LIMIT,
}


def metrics(visit: Visit) -> str:
    """Check that a scrape has every metric of the contract, and watch them from now on."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        started = time.monotonic()
        scrape = visit.appliance.scrape()
        seconds = time.monotonic() - started
        missing = missing_metrics(scrape)
        if not missing:
            visit.watch()
            return f"{len(METRICS)} metrics, {len(scrape.samples)} samples in {seconds * 1000:.0f} ms"
        if time.monotonic() > deadline:
            remedy = "Dashboards and alerts need them: see the monitor's lines in the appliance's log."
            raise FailedError(f"/metrics lacks {', '.join(missing)}.", remedy)
        time.sleep(LOOK_SECONDS)


def missing_metrics(scrape: Scrape) -> list[str]:
    """Return the names that are not there, or not with their labels."""
    told = {(name, frozenset(dict(labels)) - {"le"}) for name, labels in scrape.samples}
    wanted = [one for one in METRICS if one not in OPTIONAL]
    suffix = {MetricKind.HISTOGRAM: "_bucket"}
    return [
        one.name for one in wanted if (one.name + suffix.get(one.kind, ""), frozenset(one.labels)) not in told
    ]


def workers(visit: Visit) -> str:
    """See that every worker that should run does, and has been heard of."""
    deadline = time.monotonic() + visit.options.ready_seconds
    while missing := visit.appliance.missing_workers():
        if time.monotonic() > deadline:
            raise FailedError(f"A worker is dead: {'; '.join(missing)}.", REMEDIES["workers"])
        time.sleep(LOOK_SECONDS)
    doing = visit.appliance.scrape().by("workers", "state")
    return ", ".join(f"{count:.0f} {state}" for state, count in sorted(doing.items()))


def models(visit: Visit) -> str:
    """See that there are models."""
    documents = visit.appliance.read("/v1/models", JOBS_KEYS)["models"]
    refused = [document for document in documents if document.get("state") == "refused"]
    visit.served = [served_contract(document) for document in documents if document not in refused]
    if not visit.served:
        raise FailedError("No model is served.", "Add one with `python -m ops.models add`, and deploy again.")
    served = ", ".join(model.id for model in visit.served)
    reasons = "; ".join(f"{one['name']}@{one['version']}: {one['reason']}" for one in refused)
    return f"{served}; {len(refused)} refused ({reasons})" if refused else served


def model(asked: Contract, visit: Visit) -> str:
    """Have a model explain some rows, and see that its values are exact."""
    if asked.fallback:
        raise FailedError(
            f"{asked.id} is a fallback: a placeholder whose values explain nothing, since the model's own files could "
            "not be used.",
            "Restore the model's files and deploy again (`python -m ops.models verify` names what is wrong). Unset "
            "ALLOW_FALLBACK_MODEL, and such a deploy does not start.",
        )
    expectation = visit.expect(asked, ROWS)
    result, seconds = visit.jobs.explain(asked, expectation.rows)
    exact = expectation.check(result)
    visit.sound.append(asked)
    return f"{ROWS} rows in {seconds * 1000:.0f} ms, {exact}"


def job(visit: Visit) -> str:
    """Run a job of 500 rows of each sound model, all at once, and check all values."""
    expected = visit.expect_of_sound(JOB_ROWS)
    started = time.monotonic()
    sent = [(visit.jobs.submit(one.model, one.rows), one) for one in expected]
    results = [(visit.jobs.finish(job_id, len(sent)), one) for job_id, one in sent]
    took = time.monotonic() - started
    exact = [one.check(result) for result, one in results]
    return (
        f"{len(sent)} jobs of {JOB_ROWS} rows in {took:.1f} s, {exact[-1]}, largest residual "
        f"{visit.jobs.largest_residual:.0e}"
    )


def sync_call(visit: Visit) -> str:
    """Have single rows explained, and take the time."""
    asked = visit.expect_of_sound(SYNC_CALLS)[0]
    rows = [asked.rows[number : number + 1] for number in range(SYNC_CALLS)]
    took = [visit.jobs.explain(asked.model, row)[1] for row in rows]
    return _judge_median(
        f"1 row: {_median(took)}",
        took,
        SYNC_SECONDS,
        f"Half of the answers for one row took longer than {SYNC_SECONDS:.0f} s.",
        "See what else it works at (queue_batches, CPU): a larger plan or more workers help, and so does being nearer "
        "to it.",
    )


def redis_latency(visit: Visit) -> str:
    """Take the time that Redis needs to answer the api."""
    answers = [visit.appliance.get("/readyz").json() for _ in range(REDIS_LOOKS)]
    took = [float(answer["probes"]["redis"]["seconds"]) for answer in answers]
    return _judge_median(
        f"ping: {_median(took)}",
        took,
        REDIS_SECONDS,
        f"Redis takes longer than {REDIS_SECONDS * 1000:.0f} ms for a ping: every batch needs several.",
        "Its own Redis shares the CPU with all else: a larger plan helps. A remote one must be in the same region, on "
        "the private network.",
    )


def _median(took: list[float]) -> str:
    half, slowest = statistics.median(took) * 1000, max(took) * 1000
    return f"p50 {half:.1f} ms, slowest of {len(took)} {slowest:.1f} ms"


def _judge_median(measured: str, took: list[float], most: float, detail: str, remedy: str) -> str:
    if statistics.median(took) > most:
        raise FailedError(detail, remedy, measured)
    return measured


def recycle(visit: Visit) -> str:
    """Request a fresh worker as an admin; jobs sent at that time must complete exactly."""
    expectation = visit.expect_of_sound(JOB_ROWS)[0]
    before, recycles = _processes(visit), _recycles(visit)
    started = time.monotonic()
    answer = visit.appliance.call("POST", "/v1/workers/recycle", visit.appliance.take(ADMIN_KEYS))
    if answer.status != 202:
        raise FailedError(f"POST /v1/workers/recycle answers {said(answer)}.", REMEDIES["workers"])
    jobs = 0
    while True:
        after, taken = _processes(visit), _recycles(visit) > recycles
        gone = sorted(before.keys() - after.keys())
        fresh = next((name for name in before if not gone and after[name] != before[name]), None)
        if fresh and taken:
            pids = f"pid {before[fresh]} → {after[fresh]}"
            return f"{fresh} ({pids}) in {time.monotonic() - started:.1f} s; {jobs} jobs meanwhile, all exact"
        if time.monotonic() - started > visit.options.recycle_seconds:
            raise _never_came(f"{visit.options.recycle_seconds:.0f} s", gone, taken=taken)
        expectation.check(visit.jobs.finish(visit.jobs.submit(expectation.model, expectation.rows)))
        jobs += 1


def _processes(visit: Visit) -> dict[str, int]:
    workers = visit.appliance.read("/v1/workers", ADMIN_KEYS)["workers"]
    return {str(worker["name"]): int(worker["pid"]) for worker in workers}


def _recycles(visit: Visit) -> float:
    return visit.appliance.scrape().value("worker_recycles_total", reason="admin") or 0.0


def _never_came(seconds: str, gone: list[str], *, taken: bool) -> FailedError:
    if gone:
        what = f"{', '.join(gone)} left, and no process has taken over for {seconds}"
    elif taken:
        what = f"A worker was asked to leave and goes on after {seconds}: it is stopped, or its batch hangs"
    else:
        what = f"No monitor has taken the recycle request for {seconds}"
    return FailedError(f"{what}.", REMEDIES["workers" if taken else "monitor"])


def memory(visit: Visit) -> str:
    """Check that the working set stayed below its limit and no worker was recycled for it."""
    visit.appliance.take(METRICS_KEYS)
    visit.watching.close()
    return visit.seen.judge_memory()


def soak(visit: Visit) -> str:
    """Send rows and jobs for some minutes: exact values, no restart, memory below its limit."""
    seen = Seen()
    with watched(visit.appliance, seen):
        calls = _load(visit, seen)
    seen.judge_restarts()
    return f"{visit.options.soak_minutes:g} minutes, {calls} requests, {seen.judge_memory()}"


def _load(visit: Visit, seen: Seen) -> int:
    """Keep a light load up; return how many requests there were."""
    rows, batches = cycle(visit.expect_of_sound(1)), cycle(visit.expect_of_sound(JOB_ROWS))
    started, seconds = time.monotonic(), visit.options.soak_minutes * 60
    calls, job_due, health_due = 0, 0.0, 0.0
    while (now := time.monotonic() - started) < seconds:
        one = next(rows)
        one.check(visit.jobs.explain(one.model, one.rows)[0])
        calls += 1
        if now >= job_due:
            job_due, one = now + JOB_SECONDS, next(batches)
            one.check(visit.jobs.finish(visit.jobs.submit(one.model, one.rows)))
            calls += 1
        if now >= health_due:
            health_due = now + HEALTH_SECONDS
            if visit.appliance.find_faults():  # they are told of with the failure
                raise FailedError(f"After {now:.0f} s it is not well.", RESTART_REMEDY)
            peak = f"peak {seen.peak / MB:.0f} MB"
            visit.options.progress(f"soak: {now:.0f} of {seconds:.0f} s, {calls} requests, {peak}")
        time.sleep(max(0.0, min(ROW_SECONDS, seconds - now)))
    return calls


def failed_events(visit: Visit) -> str:
    """See that the platform has reported no failure of the service since the visit began."""
    ask = visit.options.failed_events
    if ask is None:
        remedy = "Set RENDER_API_KEY, and use make deploy."
        raise NotCheckedError("not checked: Render's events take its key.", remedy)
    try:
        events = ask(visit.started_at)
    except Exception as fault:  # the client's faults say nothing of the service
        raise NotCheckedError(f"not checked: the events cannot be read ({fault}).", "Try again.") from fault
    if events:
        raise FailedError(f"Render tells of failures: {'; '.join(events)}.", RESTART_REMEDY)
    return f"no failure since {visit.started_at:%H:%M:%S} UTC"


def leftovers(visit: Visit) -> str:
    """Delete every job of the visit, with patience after a restart of the appliance."""
    deadline = time.monotonic() + visit.options.ready_seconds
    while (left := visit.jobs.clear()) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    if left:
        raise FailedError(
            f"{len(left)} of the jobs made here could not be deleted: {', '.join(left)}.",
            "Delete them (DELETE /v1/jobs/ID), or leave them to RESULT_TTL_HOURS.",
        )
    return f"{visit.jobs.made} jobs made and deleted"
