"""Makes the checks in order. `run_verify` is what `make verify` and `make deploy` call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import urlsplit

from ops.verify.appliance import JOBS_KEYS, LOG, METRICS_KEYS
from ops.verify.checks import access, work
from ops.verify.checks.links import links
from ops.verify.report import CheckResult, FailedError, Report, Verdict, make_check
from ops.verify.visit import VerifyOptions, Visit
from shapbox import RefusedError

#: Stands in a report where a key would.
HIDDEN = "•••"
#: The check that the appliance is well. Checks that need it are made only while that holds.
READY = "readyz"
#: Where Render's services live.
RENDER_DOMAIN = ".onrender.com"
_REACHED, _READY = ("reachable",), ("reachable", READY)


@dataclass(frozen=True, slots=True)
class Check:
    """`run` returns its measurement or raises; `needs` names the checks that it depends on."""

    name: str
    run: Callable[[Visit], str]
    needs: tuple[str, ...] = ()


def run_verify(options: VerifyOptions) -> Report:
    """Make all checks and report. Its jobs are deleted, even if it ends early."""
    visit = Visit(options)
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
    yield Check("reachable", access.reachable)
    yield Check("commit", access.commit, _REACHED)
    yield Check(READY, access.readyz, _REACHED)
    yield Check("closed", access.closed, _REACHED)
    for name in access.OPENS:
        # The workers are asked for with the ADMIN_API_KEY, and Redis must know them.
        needs = _READY if name == "ADMIN_API_KEY" else _REACHED
        yield Check(name, partial(access.key, name), needs)
    with_jobs, with_metrics = _needing(visit, JOBS_KEYS), (*_needing(visit, METRICS_KEYS), "metrics")
    yield Check("metrics", work.metrics, with_metrics)
    yield Check("workers", work.workers, with_metrics)
    yield Check("models", work.models, with_jobs)
    working = (*with_jobs, "models")
    for model in visit.served:
        yield Check(model.id, partial(work.model, model), working)
    yield Check("job", work.job, working)
    yield Check("links", links, (*working, "job"))
    yield Check("latency", work.latency, working)
    yield Check("recycle", work.recycle, (*working, "ADMIN_API_KEY", "metrics", "workers"))
    yield Check("memory", work.memory, (*with_metrics, "models"))
    if visit.options.soak_minutes > 0:
        yield Check("soak", work.soak, (*working, "metrics"))
    if visit.options.failed_events or (urlsplit(visit.options.url).hostname or "").endswith(RENDER_DOMAIN):
        yield Check("Render's events", work.failed_events, _REACHED)
    yield Check("nothing left", work.leftovers, _REACHED)


def _needing(visit: Visit, keys: tuple[str, ...]) -> tuple[str, ...]:
    """Return the needs of a check that takes a key: readiness, and that key if it is given."""
    given = visit.appliance.given(keys)
    return (*_READY, given) if given else _READY


class Series:
    """Makes checks, one after the other; those that depend on a failed one are skipped."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._blocked: dict[str, str] = {}
        self.results: list[CheckResult] = []

    def make(self, check: Check) -> CheckResult:
        """Make a check, unless one that it needs has failed."""
        self._visit.options.progress(check.name)
        started = time.monotonic()
        because = next((self._blocked[name] for name in check.needs if name in self._blocked), None)
        if because is not None:
            self._blocked[check.name] = because
            result = CheckResult(check.name, Verdict.SKIP, detail=f"not checked because {because}")
        else:
            result = make_check(check.name, partial(check.run, self._visit), _unexpected)
            if result.verdict is Verdict.FAIL:
                self._blocked[check.name] = f"{check.name} failed."
                result = self._with_cause(result) if READY in check.needs else result
        result = replace(self._without_keys(result), seconds=time.monotonic() - started)
        self.results.append(result)
        return result

    def _with_cause(self, result: CheckResult) -> CheckResult:
        """Add to a failure what has become wrong with the appliance as a whole: the likely cause."""
        faults = self._visit.appliance.find_faults()
        if not faults:
            return result
        self._blocked[READY] = f"it is not well any more: {faults[0].name} (see {result.name})."
        cause = f"{result.detail} Because: {'; '.join(map(str, faults))}."
        return replace(result, detail=cause, remedy=faults[0].remedy)

    def _without_keys(self, result: CheckResult) -> CheckResult:
        """Take out keys that an answer may have quoted."""
        texts = {name: getattr(result, name) for name in ("measured", "detail", "remedy")}
        for secret in self._visit.options.keys.values():
            texts = {name: text.replace(secret, HIDDEN) for name, text in texts.items()}
        return replace(result, **texts)


def _unexpected(fault: Exception) -> FailedError:
    if isinstance(fault, RefusedError):
        return FailedError(f"An answer refuses: {fault.status}, {fault.detail.rstrip('.')}.", LOG)
    if isinstance(fault, OSError):  # so is NoAnswerError
        return FailedError(f"{fault}.", LOG)
    return FailedError(f"An answer is not what the contract says: {fault!r}.", LOG)
