"""A check, and a series of checks, in which those that depend on a failed one are skipped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ops.verify.diagnosis import find_faults
from ops.verify.jobs import UnfinishedError
from ops.verify.options import VerifyOptions
from ops.verify.outcome import NO_ANSWER, FailedError, NotCheckedError, describe
from ops.verify.report import CheckResult, Verdict
from ops.verify.visit import Visit

#: Stands in a report where a key would.
HIDDEN = "•••"
#: The check that the appliance is well. Checks that need it are made only while that holds.
READY = "readyz"
_REMEDY = "The appliance's log says more. Verify again; if it fails again, roll back."


@dataclass(frozen=True, slots=True)
class Check:
    """`run` returns its measurement or raises; `needs` names the checks that it depends on."""

    name: str
    run: Callable[[Visit], str]
    needs: tuple[str, ...] = ()


class Series:
    """Makes checks, one after the other, and takes down how they end."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._blocked: dict[str, str] = {}
        self.results: list[CheckResult] = []

    def make(self, check: Check) -> CheckResult:
        """Make a check, unless one that it needs has failed."""
        progress = self._visit.options.progress
        progress.begin(check.name)
        started = time.monotonic()
        because = next((self._blocked[name] for name in check.needs if name in self._blocked), None)
        if because is None:
            result = self._made(check)
        else:
            result = CheckResult(check.name, Verdict.SKIP, detail=f"not checked because {because}")
            self._blocked[check.name] = because
        result = replace(_without_keys(result, self._visit.options), seconds=time.monotonic() - started)
        self.results.append(result)
        progress.end(result)
        return result

    def _made(self, check: Check) -> CheckResult:
        result = _ended(check, self._visit)
        if result.verdict is Verdict.FAIL:
            self._blocked[check.name] = f"{check.name} failed."
            if READY in check.needs:
                return self._with_cause(result)
        return result

    def _with_cause(self, result: CheckResult) -> CheckResult:
        """Add to a failure what has become wrong with the appliance as a whole: the likely cause."""
        faults = find_faults(self._visit.target)
        if not faults:
            return result
        cause = "; ".join(map(str, faults))
        self._blocked[READY] = f"it is not well any more: {faults[0].name} (see {result.name})."
        return replace(result, detail=f"{result.detail} Because: {cause}.", remedy=faults[0].remedy)


def _ended(check: Check, visit: Visit) -> CheckResult:
    """Make a check; an exception becomes its result."""
    try:
        return CheckResult(check.name, Verdict.PASS, check.run(visit))
    except FailedError as fault:
        return CheckResult(check.name, Verdict.FAIL, fault.measured, fault.detail, fault.remedy)
    except NotCheckedError as reason:
        return CheckResult(check.name, Verdict.SKIP, detail=reason.detail, remedy=reason.remedy)
    except UnfinishedError as fault:
        return _failed(check, f"Not in time: {fault}.")
    except NO_ANSWER as fault:
        return _failed(check, f"A call was not answered: {describe(fault)}.")
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        return _failed(check, f"An answer is not what the contract says: {fault!r}.")


def _failed(check: Check, detail: str) -> CheckResult:
    return CheckResult(check.name, Verdict.FAIL, detail=detail, remedy=_REMEDY)


def _without_keys(result: CheckResult, options: VerifyOptions) -> CheckResult:
    """Take out keys that an answer may have quoted."""
    texts = {name: getattr(result, name) for name in ("measured", "detail", "remedy")}
    for secret in options.secrets():
        texts = {name: text.replace(secret, HIDDEN) for name, text in texts.items()}
    return replace(result, **texts)
