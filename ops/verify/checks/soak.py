"""Some minutes of a light load, and what becomes of the appliance meanwhile."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import cycle

from ops.verify.checks.memory import judge
from ops.verify.checks.work import JOB_ROWS, sound_models
from ops.verify.diagnosis import find_faults
from ops.verify.expectation import Expectation
from ops.verify.outcome import FailedError, NotCheckedError
from ops.verify.visit import Visit
from ops.verify.watch import MB, Watch, Watched

#: Seconds between two requests of one row, and between two jobs of a batch.
ROW_SECONDS, JOB_SECONDS = 1.0, 10.0
#: Seconds between two looks at health.
HEALTH_SECONDS = 5.0
#: Why batches run again that says that a worker did not leave in order.
DEATHS = ("worker_died", "hung", "lease")
_REMEDY = "The appliance's log of that time says why; on Render also the dashboard's Events and Metrics."


def soak(visit: Visit) -> str:
    """Send rows and jobs for some minutes: exact values, no restart, memory below its limit."""
    models = sound_models(visit)
    single = [Expectation.of(model, visit.local, 1) for model in models]
    batches = [Expectation.of(model, visit.local, JOB_ROWS) for model in models]
    watch = Watch(visit.target)
    watch.start()
    try:
        calls = _load(visit, watch, single, batches)
    finally:
        watch.stop()
    seen = watch.seen()
    complain_of_restarts(seen)
    return f"{visit.options.soak_minutes:g} minutes, {calls} requests, {judge(seen)}"


def _load(visit: Visit, watch: Watch, single: Sequence[Expectation], batches: Sequence[Expectation]) -> int:
    """Keep a light load up; return how many requests there were."""
    started = time.monotonic()
    seconds = visit.options.soak_minutes * 60
    rows, jobs, patience = cycle(single), cycle(batches), visit.options.answer_seconds
    job_due = health_due = calls = 0.0
    while (now := time.monotonic() - started) < seconds:
        one = next(rows)
        one.check(visit.jobs.explain(one.model, one.rows, patience)[0])
        calls += 1
        if now >= job_due:
            job_due, one = now + JOB_SECONDS, next(jobs)
            one.check(visit.jobs.finish(visit.jobs.submit(one.model, one.rows, patience), patience))
            calls += 1
        if now >= health_due:
            health_due = now + HEALTH_SECONDS
            _look_at_health(visit, now)
            visit.options.progress.note(_note(now, seconds, calls, watch.seen()))
        time.sleep(max(0.0, min(ROW_SECONDS, seconds - now)))
    return int(calls)


def _look_at_health(visit: Visit, now: float) -> None:
    if find_faults(visit.target):  # they are told of with the failure
        raise FailedError(f"After {now:.0f} s it is not well.", _REMEDY)


def complain_of_restarts(seen: Watched) -> None:
    """Raise FailedError if counters fell or a worker died: something was restarted."""
    if seen.fallen:
        raise FailedError(
            f"Counters fell ({', '.join(sorted(set(seen.fallen))[:3])}): the service was started again without its "
            "data, or two of them answer.",
            "Give the service a disk on DATA_DIR, or a REDIS_URL that all instances share. " + _REMEDY,
        )
    died = {
        cause: round(count)
        for cause in DEATHS
        if (count := seen.grown.get(f"batches_recovered_total{{cause={cause}}}", 0.0))
    }
    if died:
        how = ", ".join(f"{cause} {count}" for cause, count in died.items())
        raise FailedError(f"Workers did not leave in order, and their batches ran again ({how}).", _REMEDY)


def failed_events(visit: Visit) -> str:
    """See that the platform has reported no failure of the service since the visit began."""
    ask = visit.options.failed_events
    if ask is None:
        raise NotCheckedError(
            "not checked: Render's events take its key.", "Set RENDER_API_KEY, and use make deploy."
        )
    try:
        events = ask(visit.started_at)
    except Exception as fault:  # the client's faults say nothing of the service
        raise NotCheckedError(f"not checked: the events cannot be read ({fault}).", "Try again.") from fault
    if events:
        raise FailedError(f"Render tells of failures: {'; '.join(events)}.", _REMEDY)
    return f"no failure since {visit.started_at:%H:%M:%S} UTC"


def _note(now: float, seconds: float, calls: float, seen: Watched) -> str:
    peak = f", peak {seen.peak.working_set / MB:.0f} MB" if seen.peak else ""
    return f"{now:.0f} of {seconds:.0f} s, {calls:.0f} requests{peak}"
