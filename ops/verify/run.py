"""One visit from end to end. `run_verify` is what `make verify` and `make deploy` call."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from urllib.parse import urlsplit

from ops.verify.check import READY, Check, Series
from ops.verify.checks import (
    headers,
    keys,
    leftovers,
    memory,
    metrics,
    models,
    reach,
    soak,
    tls,
    work,
    workers,
)
from ops.verify.options import VerifyOptions
from ops.verify.report import CheckResult, Report, Verdict
from ops.verify.target import JOBS_KEYS, METRICS_KEYS
from ops.verify.visit import Visit

__all__ = ["CheckResult", "Report", "Verdict", "VerifyOptions", "run_verify"]

#: Where Render's services live.
RENDER_DOMAIN = ".onrender.com"
_REACHED = ("reachable",)
_READY = (*_REACHED, READY)


def run_verify(options: VerifyOptions) -> Report:
    """Make all checks and report. Its jobs are deleted, even if it ends early."""
    visit = Visit.to(options)
    started = time.monotonic()
    series = Series(visit)
    try:
        for check in _checks(visit):
            series.make(check)
    finally:
        visit.end()
    return Report(options.url, visit.started_at, time.monotonic() - started, tuple(series.results))


def _checks(visit: Visit) -> Iterator[Check]:
    """Yield the checks in order, each made before the next, which may need its findings."""
    yield Check("reachable", reach.reachable)
    yield Check("commit", reach.commit, _REACHED)
    yield Check("TLS", tls.tls, _REACHED)
    yield Check("headers", headers.headers, _REACHED)
    yield Check("healthz", reach.healthz, _REACHED)
    yield Check(READY, reach.readyz, _REACHED)
    yield from _key_checks()
    yield from _work_checks(visit)
    if visit.options.failed_events or (urlsplit(visit.options.url).hostname or "").endswith(RENDER_DOMAIN):
        yield Check("Render's events", soak.failed_events, _REACHED)
    yield Check("nothing left", leftovers.leftovers, _REACHED)


def _key_checks() -> Iterator[Check]:
    yield Check("closed", keys.closed, _REACHED)
    # The workers are asked for with the ADMIN_API_KEY, and Redis must know them.
    yield Check("API_KEY", partial(keys.key, "API_KEY"), _REACHED)
    yield Check("ADMIN_API_KEY", partial(keys.key, "ADMIN_API_KEY"), _READY)
    yield Check("METRICS_TOKEN", partial(keys.key, "METRICS_TOKEN"), _REACHED)


def _work_checks(visit: Visit) -> Iterator[Check]:
    with_jobs, with_metrics = _needing(visit, JOBS_KEYS), _needing(visit, METRICS_KEYS)
    yield Check("metrics", metrics.metrics, with_metrics)
    yield Check("workers", workers.workers, (*with_metrics, "metrics"))
    yield Check("models", models.models, with_jobs)
    for model in visit.served:
        yield Check(model.id, partial(models.model, model), (*with_jobs, "models"))
    working = (*with_jobs, "models")
    yield Check("job", work.job, working)
    yield Check("sync call", work.sync_call, working)
    yield Check("Redis", work.redis_latency, _READY)
    yield Check("recycle", workers.recycle, (*working, "ADMIN_API_KEY", "metrics", "workers"))
    yield Check("memory", memory.memory, (*with_metrics, "metrics", "models"))
    if visit.options.soak_minutes > 0:
        yield Check("soak", soak.soak, (*working, "metrics"))


def _needing(visit: Visit, keys_for: tuple[str, ...]) -> tuple[str, ...]:
    """Return the needs of a check that takes a key: readiness, and that key if it is given."""
    given = visit.target.given(keys_for)
    return (*_READY, given) if given else _READY
