"""The workers: all are at work, and a job survives it when one is replaced."""

from __future__ import annotations

import time

from ops.verify.checks.work import JOB_ROWS, sound_models
from ops.verify.diagnosis import REMEDIES, missing_workers
from ops.verify.expectation import Expectation
from ops.verify.outcome import FailedError
from ops.verify.target import ADMIN_KEYS, said
from ops.verify.visit import Visit

#: Seconds between two looks.
LOOK_SECONDS = 0.3

type Processes = dict[str, int]


def workers(visit: Visit) -> str:
    """See that every worker that should run does, and has been heard of."""
    deadline = time.monotonic() + visit.options.ready_seconds
    while missing := missing_workers(visit.target):
        if time.monotonic() > deadline:
            raise FailedError(f"A worker is dead: {'; '.join(missing)}.", REMEDIES["workers"])
        time.sleep(LOOK_SECONDS)
    doing = visit.target.scrape().by("workers", "state")
    return ", ".join(f"{count:.0f} {state}" for state, count in sorted(doing.items()))


def recycle(visit: Visit) -> str:
    """Request a fresh worker as an admin; jobs sent at that time must complete exactly."""
    before = _processes(visit)
    recycles = _recycles(visit)
    expectation = Expectation.of(sound_models(visit)[0], visit.local, JOB_ROWS)
    deadline = time.monotonic() + visit.options.recycle_seconds
    started = time.monotonic()
    answer = visit.target.call("POST", "/v1/workers/recycle", visit.target.take(ADMIN_KEYS))
    if answer.status != 202:
        raise FailedError(f"POST /v1/workers/recycle answers {said(answer)}.", REMEDIES["workers"])
    jobs = 0
    while (fresh := _fresh(before, after := _processes(visit))) is None or _recycles(visit) <= recycles:
        if time.monotonic() > deadline:
            raise _never_came(visit, before, after, asked=_recycles(visit) > recycles)
        job_id = visit.jobs.submit(expectation.model, expectation.rows, visit.options.answer_seconds)
        expectation.check(visit.jobs.finish(job_id, visit.options.answer_seconds))
        jobs += 1
    return (
        f"{fresh} (pid {before[fresh]} → {after[fresh]}) in {time.monotonic() - started:.1f} s; "
        f"{jobs} jobs meanwhile, all exact"
    )


def _processes(visit: Visit) -> Processes:
    answer = visit.target.get("/v1/workers", visit.target.take(ADMIN_KEYS))
    if answer.status != 200:
        raise FailedError(f"GET /v1/workers answers {said(answer)}.", "The appliance's log says more.")
    return {str(worker["name"]): int(worker["pid"]) for worker in answer.json()["workers"]}


def _recycles(visit: Visit) -> float:
    return visit.target.scrape().value("worker_recycles_total", reason="admin") or 0.0


def _fresh(before: Processes, after: Processes) -> str | None:
    """Return the worker that another process has taken over, once all are there again."""
    if before.keys() - after.keys():
        return None
    return next((name for name, pid in before.items() if after[name] != pid), None)


def _never_came(visit: Visit, before: Processes, after: Processes, *, asked: bool) -> FailedError:
    seconds = f"{visit.options.recycle_seconds:.0f} s"
    if gone := sorted(before.keys() - after.keys()):
        what = f"{', '.join(gone)} left, and no process has taken over for {seconds}"
    elif asked:
        what = f"A worker was asked to leave and goes on after {seconds}: it is stopped, or its batch hangs"
    else:
        what = f"No monitor has taken the recycle request for {seconds}"
    return FailedError(f"{what}.", REMEDIES["workers" if asked else "monitor"])
