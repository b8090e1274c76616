"""Calls to an appliance under faults: repeated until they are answered, and timed."""

from __future__ import annotations

import heapq
import math
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ops.http_call import Answer
from ops.lab.chaos.ledger import Finding, Ledger
from ops.lab.trial_appliance import NO_ANSWER, Appliance

#: Answers that say "not now".
NOT_NOW = frozenset({429, 503, 507})
#: Seconds until a call is sent again: after a broken connection, and at most by Retry-After.
BROKEN_PAUSE, MOST_PAUSE = 0.3, 2.0
#: How many of the slowest answers are remembered.
SLOWEST = 300


class GivenUpError(Exception):
    """The run is over, and the call has no answer."""


@dataclass(frozen=True, slots=True, order=True)
class Timed:
    """One answer: how long it took, when it was asked for (monotonic), and what it was."""

    seconds: float
    at: float = field(compare=False)
    what: str = field(compare=False)
    waits: bool = field(compare=False)


class Calls:
    """Makes calls. `too_late` ends the sending again. Safe to use from several threads."""

    def __init__(self, appliance: Appliance, key: str, ledger: Ledger, too_late: threading.Event) -> None:
        self._appliance = appliance
        self._key = key
        self._ledger = ledger
        self._too_late = too_late
        self._lock = threading.Lock()
        self._slowest: dict[bool, list[Timed]] = {True: [], False: []}

    def once(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer | None:
        """Make a call once; None if there is no answer. An answer that nobody may get is a finding."""
        at = time.monotonic()
        try:
            answer = self._appliance.call(method, path, body, self._key, headers)
        except NO_ANSWER:
            self._ledger.note("broken connections")
            return None
        waits = "Prefer" in (headers or {})
        self._time(Timed(time.monotonic() - at, at, f"{method} {path}: {answer.status}", waits))
        if answer.status in NOT_NOW:
            self._ledger.note(f"answers {answer.status}")
        elif answer.status >= 500:
            self._ledger.find(
                Finding("unexpected", f"{method} {path}: {answer.status} {answer.body[:300]!r}")
            )
        return answer

    def settle(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        patience: float = math.inf,
    ) -> Answer:
        """Make a call again and again until its answer is final. A 500 is, and fails the run.

        Raises GivenUpError when it is too late, or after `patience` seconds.
        """
        deadline = time.monotonic() + patience
        while True:
            answer = self.once(method, path, body, headers)
            if answer is not None and answer.status <= 500 and answer.status not in NOT_NOW:
                return answer
            if self._too_late.wait(_pause(answer)) or time.monotonic() > deadline:
                raise GivenUpError(f"{method} {path} was not answered")

    def slowest(self, *, waits: bool) -> Sequence[Timed]:
        """Return the slowest answers first; `waits`: of calls that were to wait for values."""
        with self._lock:
            return sorted(self._slowest[waits], reverse=True)

    def _time(self, timed: Timed) -> None:
        with self._lock:
            heap = self._slowest[timed.waits]
            heapq.heappush(heap, timed)
            if len(heap) > SLOWEST:
                heapq.heappop(heap)


def _pause(answer: Answer | None) -> float:
    told = float(answer.headers.get("retry-after", BROKEN_PAUSE)) if answer else BROKEN_PAUSE
    return min(told, MOST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311  # so that clients do not come all at once
