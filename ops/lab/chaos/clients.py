"""The load: clients that submit and cancel jobs, and one that watches the accepted ones."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ops.http_call import Answer
from ops.lab.chaos.calls import Calls, GivenUpError
from ops.lab.chaos.ledger import Finding, Ledger, State
from ops.lab.chaos.planned_jobs import PlannedJob, Pools

#: Rows of open jobs above which clients wait: some seconds of work for two workers.
MOST_OPEN_ROWS = 25_000
#: Seconds between two looks whether there is room, and between two rounds over the open jobs.
ROOM_PAUSE, ROUND_PAUSE = 0.1, 0.1


@dataclass(frozen=True, slots=True)
class Client:
    """Works against one appliance. `time_up` ends the submissions; open ones are finished."""

    calls: Calls
    ledger: Ledger
    pools: Pools
    time_up: threading.Event

    def run(self, planned_jobs: Iterator[PlannedJob]) -> None:
        """Have job after job accepted until the time is up."""
        for planned in planned_jobs:
            while not self.time_up.is_set() and self.ledger.open_rows() > MOST_OPEN_ROWS:
                self.time_up.wait(ROOM_PAUSE * random.uniform(0.5, 1))  # noqa: S311  # no herd
            if self.time_up.is_set():
                return
            try:
                self._have_accepted(planned)
            except GivenUpError as fault:
                self.ledger.find(Finding("unanswered", f"{planned.key}: {fault}"))

    def _have_accepted(self, planned: PlannedJob) -> None:
        request = self.pools.request(planned)
        job_id = self._submit(planned, request.path, request.body, request.headers)
        if job_id is None:
            return
        if planned.again:
            repeated = self._submit(planned, request.path, request.body, request.headers)
            if repeated != job_id:
                said = f"{planned.key} was sent again, and another job was made: {repeated}"
                self.ledger.find(Finding("doubled", said, job_id))
        if planned.cancel_after is not None:
            self.time_up.wait(planned.cancel_after)
            self._cancel(job_id)

    def _submit(self, planned: PlannedJob, path: str, body: bytes, headers: Mapping[str, str]) -> str | None:
        answer = self.calls.settle("POST", path, body, headers)
        job_id = accepted_id(answer)
        if job_id is None:
            said = f"{planned.key}: {answer.status} {answer.body[:300]!r}"
            self.ledger.find(Finding("unexpected", said))
            return None
        self.ledger.accept(job_id, planned, answer.body if planned.explain and answer.status == 200 else None)
        return job_id

    def _cancel(self, job_id: str) -> None:
        """Cancel a job unless it has ended; a DELETE without an answer may have been carried out."""
        self.ledger.cancelling(job_id)
        while (document := self._document(job_id)) is not None and not document["finished_at"]:
            self.calls.once("DELETE", f"/v1/jobs/{job_id}")
        status = "cancelled" if document is None else document["status"]
        self.ledger.update(job_id, State(status), str(document and document["error"]))

    def _document(self, job_id: str) -> Any | None:
        answer = self.calls.settle("GET", f"/v1/jobs/{job_id}")
        if answer.status not in {200, 404}:
            raise GivenUpError(f"job {job_id}: {answer.status} {answer.body[:300]!r}")
        return None if answer.status == 404 else answer.json()


def accepted_id(answer: Answer) -> str | None:
    """Return the id of the job that an answer tells of, if it does."""
    if answer.status == 200 and "content-location" in answer.headers:
        return answer.headers["content-location"].split("/")[3]
    if answer.status in {200, 202}:
        return str(answer.json()["id"])
    if answer.status == 409:  # /v1/explain of a job that failed or was cancelled: accepted nevertheless
        job_id = answer.json().get("job", {}).get("id")
        return None if job_id is None else str(job_id)
    return None


@dataclass(frozen=True, slots=True)
class Follower:
    """Looks at the open jobs, oldest first, round after round."""

    calls: Calls
    ledger: Ledger
    finished: threading.Event

    def run(self) -> None:
        """Follow until `finished` is set."""
        while not self.finished.wait(ROUND_PAUSE):
            for entry in self.ledger.open():
                if not entry.cancelling:
                    self._look(entry.id)
                if self.finished.is_set():
                    return

    def _look(self, job_id: str) -> None:
        answer = self.calls.once("GET", f"/v1/jobs/{job_id}")
        if answer is None:
            return
        if answer.status == 404:
            self.ledger.update(job_id, State.GONE)
        elif answer.status == 200 and (document := answer.json())["finished_at"]:
            self.ledger.update(job_id, State(document["status"]), str(document["error"]))
