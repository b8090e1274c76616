"""The clients: each sends a job, waits, checks its values, deletes it, and repeats."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ops.http_call import Answer
from ops.lab.soak.mixture import EXACT, PlannedJob
from ops.lab.soak.results import fault_in_sums, fault_in_values, read_result
from ops.lab.soak.row_pool import Form, RowPool
from ops.lab.soak.tally import Tally
from ops.lab.trial_appliance import NO_ANSWER, Appliance

#: Answers that say "not now": they are counted, and the call is made again after Retry-After.
NOT_NOW = frozenset({429, 503, 507})
#: Seconds until a refused call is made again, if the answer does not say, and at most.
RETRY_SECONDS, MOST_RETRY_SECONDS = 1.0, 10.0
#: Seconds that one look at a job waits for its end.
WAIT_SECONDS = 30
#: Looks at a job until it counts as stuck.
MOST_LOOKS = 20
#: Seconds between two one-row requests.
ONE_ROW_PAUSE = 0.1


class BrokenCallError(Exception):
    """A call was not answered, or not as the contract says."""


class StoppedError(Exception):
    """The time is up while the appliance says "not now"."""


@dataclass(frozen=True, slots=True)
class Client:
    """Works against one appliance until `stop` is set."""

    appliance: Appliance
    key: str
    pools: Mapping[str, RowPool]
    tally: Tally
    stop: threading.Event

    def run_jobs(self, planned_jobs: Iterator[PlannedJob]) -> None:
        """Run job after job. A fault is tallied, and the next job follows."""
        for planned in planned_jobs:
            if self.stop.is_set():
                return
            with self._tallying():
                self._have_done(planned)

    def run_one_row(self, planned_jobs: Iterator[PlannedJob]) -> None:
        """Have single rows explained, one after the other."""
        for planned in planned_jobs:
            if self.stop.wait(ONE_ROW_PAUSE):
                return
            with self._tallying():
                self._explain_one(self.pools[planned.model], planned.first)

    @contextlib.contextmanager
    def _tallying(self) -> Iterator[None]:
        try:
            yield
        except StoppedError:
            pass
        except BrokenCallError as fault:
            self.tally.fault("calls_broken", str(fault))
            self.stop.wait(RETRY_SECONDS)

    def _have_done(self, planned: PlannedJob) -> None:
        path = self._submit(planned)
        try:
            document = self._follow(path)
            if document["status"] == "completed":
                self._fetch(planned, path)
                self.tally.add("jobs_done")
                self.tally.add("rows_done", planned.rows)
            else:
                self.tally.fault("jobs_failed", f"{planned}: {document['status']}, {document['error']}")
        finally:
            self._call("DELETE", path, {204})

    def _submit(self, planned: PlannedJob) -> str:
        body = self.pools[planned.model].body(planned.form, planned.first, planned.rows, planned.method)
        query = "" if planned.form is Form.JSON else f"?model={planned.model}&method={planned.method}"
        answer = self._call("POST", f"/v1/jobs{query}", {202}, body, {"Content-Type": planned.form.value})
        self.tally.add("jobs_accepted")
        return answer.headers["location"]

    def _follow(self, path: str) -> dict[str, object]:
        for _ in range(MOST_LOOKS):
            document: dict[str, object] = self._call("GET", f"{path}?wait={WAIT_SECONDS}", {200}).json()
            if document["finished_at"]:
                return document
        raise BrokenCallError(f"{path} is stuck: {document}")

    def _fetch(self, planned: PlannedJob, path: str) -> None:
        answer = self._call("GET", f"{path}/result", {200}, headers={"Accept": planned.accept})
        if planned.checked:
            self._check(planned, answer)

    def _check(self, planned: PlannedJob, answer: Answer) -> None:
        pool = self.pools[planned.model]
        wanted = pool.reference[planned.first : planned.first + planned.rows]
        try:
            given = read_result(planned.accept, answer.body, wanted.shape[1])
        except (ValueError, KeyError) as error:
            self.tally.fault("values_wrong", f"{planned}: cannot be read: {error}")
            return
        compare = fault_in_values if planned.method == EXACT else fault_in_sums
        if fault := compare(given, wanted):
            self.tally.fault("values_wrong", f"{planned}: {fault}")
        self.tally.add("values_checked", int(np.prod(wanted.shape)))

    def _explain_one(self, pool: RowPool, row: int) -> None:
        body = pool.body(Form.JSON, row, 1, EXACT)
        headers = {"Content-Type": Form.JSON.value, "Accept": "application/x-npy"}
        answer = self._call("POST", "/v1/explain", {200, 202}, body, headers)
        if answer.status == 200:
            given = read_result("application/x-npy", answer.body, pool.reference.shape[1])
            if fault := fault_in_values(given, pool.reference[row : row + 1]):
                self.tally.fault("values_wrong", f"one row of {pool.version.id}: {fault}")
            self.tally.add("one_row_answers")
            path = answer.headers.get("content-location", "").removesuffix("/result")
        else:
            self.tally.add("one_row_late")
            path = answer.headers["location"]
        if path:  # most are answered without a job
            self._call("DELETE", path, {204})

    def _call(
        self,
        method: str,
        path: str,
        wanted: set[int],
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        while True:
            try:
                answer = self.appliance.call(method, path, body, self.key, headers)
            except NO_ANSWER as fault:
                raise BrokenCallError(f"{method} {path}: {fault!r}") from fault
            if answer.status not in NOT_NOW:
                break
            self.tally.add("requests_refused")
            self.tally.add(f"refused_with_{answer.status}")
            told = float(answer.headers.get("retry-after", RETRY_SECONDS))
            self.stop.wait(min(told, MOST_RETRY_SECONDS))
            if self.stop.is_set():
                raise StoppedError
        if answer.status not in wanted:
            raise BrokenCallError(f"{method} {path}: {answer.status} {answer.body[:300]!r}")
        return answer
