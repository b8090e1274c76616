"""The work: models and jobs with exact values, workers, metrics, memory and latency."""

from __future__ import annotations

import statistics
import time

from ops.lab.memory import MB
from ops.verify.appliance import ADMIN_KEYS, JOBS_KEYS, METRICS_KEYS, REMEDIES, Scrape, said
from ops.verify.report import FailedError, NotCheckedError
from ops.verify.values import served_contract
from ops.verify.visit import Visit
from ops.verify.watch import RESTART_REMEDY, Seen, watched
from shared import metrics as contract
from shared.metrics import METRICS
from shared.models.contract import Contract

#: Rows that each model is asked about in one request, and rows of a job: a whole batch.
ROWS, JOB_ROWS = 8, 500
#: Single rows whose answers are timed, and seconds that half of them, and half of Redis's answers, may take at most.
CALLS, ROW_SECONDS, REDIS_SECONDS = 20, 1.0, 0.1
#: During a soak, seconds between two requests of one row, and rows for each job of a batch and look at health.
PAUSE_SECONDS, ROWS_PER_JOB = 1.0, 5
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
    if missing := visit.until_none(lambda: missing_metrics(visit.appliance.scrape())):
        remedy = "Dashboards and alerts need them: see the monitor's lines in the appliance's log."
        raise FailedError(f"/metrics lacks {', '.join(missing)}.", remedy)
    visit.watch()
    return f"{len(METRICS)} metrics, {len(visit.appliance.scrape())} samples"


def missing_metrics(scrape: Scrape) -> list[str]:
    """Return the names that are not there."""
    told = {key.partition("{")[0].removesuffix("_bucket") for key in scrape}
    return [one.name for one in METRICS if one not in OPTIONAL and one.name not in told]


def workers(visit: Visit) -> str:
    """See that every worker that should run does, and has been heard of."""
    if missing := visit.until_none(visit.appliance.missing_workers):
        raise FailedError(f"A worker is dead: {'; '.join(missing)}.", REMEDIES["workers"])
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
    residual = f"largest residual {visit.jobs.largest_residual:.0e}"
    return f"{len(sent)} jobs of {JOB_ROWS} rows in {took:.1f} s, {exact[-1]}, {residual}"


def latency(visit: Visit) -> str:
    """Take the time of answers for single rows, and of Redis's answers to the api."""
    asked = visit.expect_of_sound(CALLS)[0]
    rows = [visit.jobs.explain(asked.model, asked.rows[at : at + 1])[1] for at in range(CALLS)]
    answers = [visit.appliance.get("/readyz").json() for _ in range(CALLS)]
    row = statistics.median(rows)
    ping = statistics.median(float(answer["probes"]["redis"]["seconds"]) for answer in answers)
    measured = (
        f"1 row p50 {row * 1000:.1f} ms (slowest {max(rows) * 1000:.1f}), Redis p50 {ping * 1000:.1f} ms"
    )
    remedy = "A larger plan or more workers help (see queue_batches, CPU), and so does being nearer to it."
    if row > ROW_SECONDS:
        detail = f"Half of the answers for one row took longer than {ROW_SECONDS:.0f} s."
        raise FailedError(detail, remedy, measured)
    if ping > REDIS_SECONDS:
        detail = (
            f"Redis takes longer than {REDIS_SECONDS * 1000:.0f} ms for a ping: every batch needs several."
        )
        remote = " A remote one must be in the same region, on the private network."
        raise FailedError(detail, remedy + remote, measured)
    return measured


def recycle(visit: Visit) -> str:
    """Request a fresh worker as an admin; jobs sent at that time must complete exactly."""
    expectation = visit.expect_of_sound(JOB_ROWS)[0]
    before, started, jobs = _processes(visit), time.monotonic(), 0
    answer = visit.appliance.call("POST", "/v1/workers/recycle", visit.appliance.take(ADMIN_KEYS))
    if answer.status != 202:
        raise FailedError(f"POST /v1/workers/recycle answers {said(answer)}.", REMEDIES["workers"])
    while True:
        after = _processes(visit)
        gone = before.keys() - after.keys()
        fresh = [name for name in before if name in after and after[name] != before[name]]
        seconds = time.monotonic() - started
        if fresh and not gone:
            pids = f"pid {before[fresh[0]]} → {after[fresh[0]]}"
            return f"{fresh[0]} ({pids}) in {seconds:.1f} s; {jobs} jobs meanwhile, all exact"
        if seconds > visit.options.recycle_seconds:
            what = f"{', '.join(sorted(gone))} left, and nobody came" if gone else "No worker left"
            raise FailedError(f"{what} within {seconds:.0f} s of a recycle request.", REMEDIES["workers"])
        expectation.check(visit.jobs.finish(visit.jobs.submit(expectation.model, expectation.rows)))
        jobs += 1


def _processes(visit: Visit) -> dict[str, int]:
    workers = visit.appliance.read("/v1/workers", ADMIN_KEYS)["workers"]
    return {str(worker["name"]): int(worker["pid"]) for worker in workers}


def memory(visit: Visit) -> str:
    """Check that the working set stayed below its limit and no worker was recycled for it."""
    visit.appliance.take(METRICS_KEYS)
    visit.watching.close()
    return visit.seen.judge_memory()


def soak(visit: Visit) -> str:
    """Send rows and jobs for some minutes: exact values, no restart, memory below its limit."""
    rows, batches = visit.expect_of_sound(1), visit.expect_of_sound(JOB_ROWS)
    seen, started, turn, seconds = Seen(), time.monotonic(), 0, visit.options.soak_minutes * 60
    with watched(visit.appliance, seen):
        while (now := time.monotonic() - started) < seconds:
            one, batch = rows[turn % len(rows)], batches[turn // ROWS_PER_JOB % len(rows)]
            one.check(visit.jobs.explain(one.model, one.rows)[0])
            if turn % ROWS_PER_JOB == 0:
                batch.check(visit.jobs.finish(visit.jobs.submit(batch.model, batch.rows)))
                if visit.appliance.find_faults():  # they are told of with the failure
                    raise FailedError(f"After {now:.0f} s it is not well.", RESTART_REMEDY)
            turn += 1
            visit.options.progress(f"soak: {now:.0f} of {seconds:.0f} s, peak {seen.peak / MB:.0f} MB")
            time.sleep(max(0.0, min(PAUSE_SECONDS, seconds - now)))
    seen.judge_restarts()
    return f"{visit.options.soak_minutes:g} minutes, {turn} single rows and their jobs, {seen.judge_memory()}"


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
    if left := visit.until_none(visit.jobs.clear):
        raise FailedError(
            f"{len(left)} of the jobs made here could not be deleted: {', '.join(left)}.",
            "Delete them (DELETE /v1/jobs/ID), or leave them to RESULT_TTL_HOURS.",
        )
    return f"{visit.jobs.made} jobs made and deleted"
