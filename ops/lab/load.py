"""The load generator: clients that submit, follow, check and delete jobs, and their ledger."""

from __future__ import annotations

import math
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ops.lab.reference import compare
from ops.lab.rows import Form, PlannedJob, RowPool, read_result
from ops.reached import Reached
from shapbox import NoAnswerError, Response

#: Answers that say "not now": the call is made again after Retry-After.
NOT_NOW = frozenset({429, 503, 507})
#: Seconds until a call is sent again: after a broken connection, and at most by Retry-After.
BROKEN_PAUSE, MOST_PAUSE = 0.3, 10.0
#: Seconds that one look at a job waits for its end.
WAIT_SECONDS = 5
#: Seconds that the last jobs have to end, and between two looks at the progress.
LAST_JOBS_SECONDS, SHOW_SECONDS = 180.0, 0.5


@dataclass(slots=True)
class Entry:
    """One accepted job and its state for its client: open, gone (404), or its last status."""

    id: str
    planned: PlannedJob
    state: str = "open"
    said: str = ""


class Ledger:
    """The accepted jobs, counts of everything, and what was found wrong. For all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self.findings: list[str] = []
        self.counts: Counter[str] = Counter()

    def accept(self, job_id: str, planned: PlannedJob) -> Entry:
        """Note an accepted job; the same one again changes nothing."""
        with self._lock:
            entry = self._entries.setdefault(job_id, Entry(job_id, planned))
        if entry.planned.key != planned.key:
            self.find("doubled", f"{entry.planned.key} and {planned.key} were told the same job", job_id)
        return entry

    def find(self, kind: str, said: str, job_id: str = "") -> None:
        """Note what should not be."""
        with self._lock:
            self.findings.append(f"{kind}: {job_id + ' ' if job_id else ''}{said}")

    def count(self, what: str, number: int = 1) -> None:
        """Count something."""
        with self._lock:
            self.counts[what] += number

    def entries(self, *states: str) -> Sequence[Entry]:
        """Return the accepted jobs in these states, or all, in the order they were accepted."""
        with self._lock:
            return [entry for entry in self._entries.values() if not states or entry.state in states]

    def summary(self) -> str:
        """Say in a few words how far it is."""
        accepted, still_open = len(self._entries), len(self.entries("open"))
        return f"{accepted} jobs accepted, {accepted - still_open} ended, {len(self.findings)} findings"


@dataclass(slots=True)
class Load:
    """Clients of one appliance. Under faults, calls are repeated and results are kept.

    Otherwise a call without an answer is a finding, and each result is checked and its job deleted.
    """

    appliance: Reached
    pools: Mapping[str, RowPool]
    under_faults: bool = False
    ledger: Ledger = field(default_factory=Ledger)
    #: Ends the submissions; open jobs are followed to their ends until it is too late.
    stop: threading.Event = field(default_factory=threading.Event)
    too_late: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, clients: Sequence[Iterator[PlannedJob]]) -> None:
        """Let each client work through its jobs, one at a time."""
        self._threads = [threading.Thread(target=self._run, args=(jobs,), daemon=True) for jobs in clients]
        for thread in self._threads:
            thread.start()

    def work(
        self, clients: Sequence[Iterator[PlannedJob]], seconds: float, say: Callable[[str], None]
    ) -> None:
        """Keep the load up for so long, or until something is found, and wait for the last jobs."""
        started = time.monotonic()
        self.start(clients)
        while (passed := time.monotonic() - started) < seconds and not self.ledger.findings:
            say(f"{passed:.0f} of {seconds:.0f} s, {self.ledger.summary()}")
            time.sleep(min(SHOW_SECONDS, seconds - passed))
        self.finish()

    def finish(self, seconds: float = LAST_JOBS_SECONDS) -> None:
        """Submit no more, and give the last jobs so long to end; those that do not are findings."""
        self.stop.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.too_late.set()
        for thread in self._threads:
            thread.join()
        for entry in self.ledger.entries("open"):
            self.ledger.find("stuck", f"not ended after {seconds:.0f} s", entry.id)

    def _run(self, jobs: Iterator[PlannedJob]) -> None:
        for planned in jobs:
            if self.stop.is_set():
                return
            try:
                self._work(planned)
            except TimeoutError as fault:
                self.ledger.find("unanswered", f"{planned.key}: {fault}")
                self.stop.wait(BROKEN_PAUSE)
            except Exception as fault:  # noqa: BLE001  # a client that ends unseen would show nothing
                self.ledger.find("unexpected", f"{planned.key}: {fault!r}")

    def _work(self, planned: PlannedJob) -> None:
        entry = self._submit(planned)
        if entry is None:
            return
        if planned.again and (other := self._submit(planned)) is not entry:
            told = other.id if other else "none"
            self.ledger.find("doubled", f"{planned.key} was sent again, and the job was {told}", entry.id)
        if planned.cancel_after is not None:
            self.stop.wait(planned.cancel_after)
            self._cancel(entry)
        self._follow(entry)
        if not self.under_faults:
            self.check_result(entry)
            self.call("DELETE", f"/v1/jobs/{entry.id}")

    def _submit(self, planned: PlannedJob) -> Entry | None:
        """Have rows accepted; None if they were explained at once, without a job, or refused."""
        body, headers = self.pools[planned.model].body(planned), {"Content-Type": planned.form.value}
        if self.under_faults:
            headers["Idempotency-Key"] = planned.key
        if planned.inline:
            headers |= {"Accept": Form.NPY.value, "Prefer": "wait=10"}
        query = "" if planned.form is Form.JSON else f"?model={planned.model}&method={planned.method}"
        path = f"/v1/{'explain' if planned.inline else 'jobs'}{query}"
        answer = self.call("POST", path, body, headers)
        explained = planned.inline and answer.status == 200
        if explained:
            self.ledger.count("one_row_answers")
            self._check(planned, answer.body)
        job_id = accepted_id(answer)
        if job_id is not None:
            return self.ledger.accept(job_id, planned)
        if not explained:
            self.ledger.find("unexpected", f"{planned.key}: {_quoted(answer)}")
        return None

    def _follow(self, entry: Entry) -> None:
        """Wait for a job's end, unless it becomes too late."""
        while entry.state == "open" and not self.too_late.is_set():
            document = self._document(entry.id, f"?wait={WAIT_SECONDS}")
            if document is None:
                entry.state = "gone"
            elif document["finished_at"]:
                entry.said, entry.state = str(document["error"]), document["status"]

    def _cancel(self, entry: Entry) -> None:
        """Cancel a job unless it has ended; a DELETE without an answer may have been carried out."""
        while (document := self._document(entry.id)) is not None and not document["finished_at"]:
            self._attempt("DELETE", f"/v1/jobs/{entry.id}")
        if document is None:
            entry.state = "cancelled"

    def _document(self, job_id: str, query: str = "") -> Any | None:
        answer = self.call("GET", f"/v1/jobs/{job_id}{query}")
        if answer.status not in {200, 404}:
            raise TimeoutError(f"job {job_id}: {_quoted(answer)}")
        return None if answer.status == 404 else answer.json()

    def check_result(self, entry: Entry, seconds: float = math.inf) -> None:
        """Compare an ended job's result; a job that has failed or is gone is a finding, too."""
        planned = entry.planned
        if entry.state != "completed":
            self.ledger.find("lost", f"{entry.state}: {entry.said}", entry.id)
            return
        path, headers = f"/v1/jobs/{entry.id}/result", {"Accept": planned.accept}
        answer = self.call("GET", path, headers=headers, seconds=seconds)
        if answer.status != 200:
            self.ledger.find("lost", f"its result: {_quoted(answer)}", entry.id)
        elif planned.checked:
            self._check(planned, answer.body, entry.id)

    def _check(self, planned: PlannedJob, body: bytes, job_id: str = "") -> None:
        wanted = self.pools[planned.model].wanted(planned)
        try:
            said = compare(read_result(planned.accept, body, wanted.shape[1]), wanted).said
        except (ValueError, KeyError, EOFError) as fault:
            said = f"the result cannot be read: {fault}"
        self.ledger.count("rows_checked", len(wanted))
        self.ledger.count("values_checked", wanted.size)
        if said:
            self.ledger.find("wrong", f"{planned.key}: {said}", job_id)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = math.inf,
    ) -> Response:
        """Make a call again and again until its answer is final.

        Raises TimeoutError when it is too late, or after so many `seconds`.
        """
        deadline = time.monotonic() + seconds
        while True:
            answer = self._attempt(method, path, body, headers)
            if answer is not None and answer.status not in NOT_NOW:
                return answer
            if self.too_late.wait(_pause(answer)) or time.monotonic() > deadline:
                raise TimeoutError(f"{method} {path} was not answered")

    def _attempt(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response | None:
        """Make a call once; None if there is no answer. An answer that nobody may get is a finding."""
        try:
            answer = self.appliance.call(method, path, body, headers=headers)
        except NoAnswerError as fault:
            if not self.under_faults:
                raise TimeoutError(f"{method} {path}: {fault!r}") from fault
            self.ledger.count("broken connections")
            return None
        if answer.status in NOT_NOW:
            self.ledger.count(f"answers {answer.status}")
        elif answer.status >= 500:
            self.ledger.find("unexpected", f"{method} {path}: {_quoted(answer)}")
        return answer


def accepted_id(answer: Response) -> str | None:
    """Return the id of the job that an answer tells of, if it does."""
    for name in ("content-location", "location"):
        if found := re.search(r"/v1/jobs/(\w+)", answer.headers.get(name, "")):
            return found[1]
    if answer.status == 409:  # /v1/explain of a job that failed or was cancelled: accepted nevertheless
        job_id = answer.json().get("job", {}).get("id")
        return None if job_id is None else str(job_id)
    return None


def _quoted(answer: Response) -> str:
    return f"{answer.status} {answer.body[:300]!r}"


def _pause(answer: Response | None) -> float:
    told = float(answer.headers.get("retry-after", BROKEN_PAUSE)) if answer else BROKEN_PAUSE
    return min(told, MOST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311  # so that clients do not come all at once
