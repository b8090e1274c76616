"""Measures the time from a fault to full recovery, each in a thread of its own."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from redis.exceptions import RedisError

from ops.lab.chaos.calls import Calls
from ops.lab.chaos.clients import accepted_id
from ops.lab.chaos.holdings import Hold, Holdings
from ops.lab.chaos.ledger import Ledger
from ops.lab.chaos.planned_jobs import PlannedJob, Pools

#: Seconds between two looks at Redis, and at the api, whose answers cost more.
LOOK_SECONDS, CALL_SECONDS = 0.02, 0.1
#: Seconds after which a recovery counts as one that never came.
NEVER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Recovered:
    """One recovery. `seconds` is None if it failed; `alone`: no other fault had a part in it."""

    what: str
    seconds: float | None
    alone: bool


class Watches:
    """Starts watches and keeps what they found. Safe to use from several threads."""

    def __init__(self, holdings: Holdings, calls: Calls, ledger: Ledger, pools: Pools, seed: int) -> None:
        self._holdings = holdings
        self._calls = calls
        self._ledger = ledger
        self._pools = pools
        self._seed = seed
        self._lock = threading.Lock()
        self._found: list[Recovered] = []
        self._threads: list[threading.Thread] = []
        self._faults = self._open = self._probes = 0
        self._stopped = threading.Event()

    def fault_begins(self) -> bool:
        """Announce a fault: current recoveries are not alone any more. Return whether all is well."""
        with self._lock:
            self._faults += 1
            return self._open == 0

    def batches(self, what: str, holds: Sequence[Hold], since: float, *, alone: bool) -> None:
        """Watch until each of these batches is recorded or runs again."""
        for hold in holds:
            self._start(what, since, alone, lambda hold=hold: self._until_batch(hold))  # type: ignore[misc]  # a loop's value bound

    def heartbeat(self, what: str, program: str, pid: int, since: float, *, alone: bool) -> None:
        """Watch until a worker's name has a heartbeat of another process than `pid`."""
        self._start(what, since, alone, lambda: self._until_heartbeat(program, pid))

    def service(self, what: str, again: Callable[[], bool], since: float, *, alone: bool) -> None:
        """Watch until `again` holds, /readyz says 200 and a row is explained."""
        self._start(what, since, alone, lambda: self._until_served(again))

    def finish(self) -> Sequence[Recovered]:
        """Wait for the open watches and return what all of them found."""
        for thread in self._threads:
            thread.join(NEVER_SECONDS)
        self._stopped.set()
        with self._lock:
            return list(self._found)

    def _start(self, what: str, since: float, alone: bool, until: Callable[[], bool | None]) -> None:  # noqa: FBT001  # private
        with self._lock:
            self._open += 1
            faults = self._faults
        thread = threading.Thread(target=self._watch, args=(what, since, alone, faults, until), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _watch(
        self,
        what: str,
        since: float,
        alone: bool,  # noqa: FBT001  # private
        faults: int,
        until: Callable[[], bool | None],
    ) -> None:
        outcome = until()
        seconds = time.monotonic() - since
        with self._lock:
            self._open -= 1
            if outcome is not None:
                alone = alone and self._faults == faults
                self._found.append(Recovered(what, seconds if outcome else None, alone))

    def _until_batch(self, hold: Hold) -> bool | None:
        for _ in self._looks(LOOK_SECONDS):
            with contextlib.suppress(RedisError):
                answer = self._holdings.runs_again(hold)
                if answer is not False:
                    return answer
        return False

    def _until_heartbeat(self, program: str, pid: int) -> bool:
        for _ in self._looks(LOOK_SECONDS):
            with contextlib.suppress(RedisError):
                heartbeat = self._holdings.heartbeat(program)
                if heartbeat is not None and heartbeat.pid != pid:
                    return True
        return False

    def _until_served(self, again: Callable[[], bool]) -> bool:
        with self._lock:
            self._probes += 1
            key, model = f"chaos-{self._seed}-probe-{self._probes}", self._pools.models[0]
            planned = PlannedJob(key, model, self._probes, 1, explain=True)
        request = self._pools.request(planned)
        sent = ready = False
        for _ in self._looks(CALL_SECONDS):
            if not ready:
                ready = (
                    again()
                    and (answer := self._calls.once("GET", "/readyz")) is not None
                    and answer.status == 200
                )
            if ready:
                sent = True
                answer = self._calls.once("POST", request.path, request.body, request.headers)
                if answer is not None and (job_id := accepted_id(answer)) is not None:
                    self._ledger.accept(job_id, planned, answer.body if answer.status == 200 else None)
                    sent = False
                    if answer.status == 200:
                        return True
        if sent:  # without an answer, the job may exist all the same
            answer = self._calls.settle("POST", request.path, request.body, request.headers)
            if (job_id := accepted_id(answer)) is not None:
                self._ledger.accept(job_id, planned)
        return False

    def _looks(self, pause: float) -> Iterator[None]:
        deadline = time.monotonic() + NEVER_SECONDS
        while time.monotonic() < deadline:
            yield
            self._stopped.wait(pause)
