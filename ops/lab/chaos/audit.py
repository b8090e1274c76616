"""The audit after the faults: every accepted job, every value, every row counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ops.http_call import Answer
from ops.lab.chaos.calls import Calls, GivenUpError
from ops.lab.chaos.check import Rows
from ops.lab.chaos.ledger import Entry, Finding, Ledger, State
from ops.lab.chaos.truth import Truth
from shared.appliance.counters import Counters
from shared.errors import JobNotFoundError
from shared.jobs.store import JobStore

#: Results that are checked at a time.
CHECKERS = 2
#: The counter of rows whose values were recorded.
ROWS_COUNTER = "rows_explained_total"
#: Jobs on one page of the list.
PAGE = 100
#: Seconds that a call gets to be answered: nothing is struck any more.
PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Counted:
    """The value of rows_explained_total, and the bounds of what it should be.

    They are apart only if documents of cancelled jobs are gone, and nobody can know how far those came.
    """

    said: int
    least: int
    most: int

    @property
    def right(self) -> bool:
        """Whether no batch was counted twice or forgotten."""
        return self.least <= self.said <= self.most


@dataclass(frozen=True, slots=True)
class Audit:
    """The findings of all accepted jobs."""

    entries: Sequence[Entry]
    findings: Sequence[Finding]
    rows_checked: int
    rows: Rows
    counted: Counted


@dataclass(slots=True)
class Auditor:
    """Looks at an appliance whose jobs have ended. One thread uses it."""

    calls: Calls
    store: JobStore
    counters: Counters
    truth: Truth
    ledger: Ledger
    _findings: list[Finding] = field(default_factory=list, init=False)

    def audit(self, progress: Callable[[int, int], None]) -> Audit:
        """Audit all; `progress` gets (checked, all). Raises GivenUpError and REDIS_AWAY."""
        entries = self.ledger.entries()
        completed = [entry for entry in entries if entry.state is State.COMPLETED]
        checked = []
        with ThreadPoolExecutor(CHECKERS) as pool:
            for done, (entry, rows) in enumerate(
                zip(completed, pool.map(self._check, completed), strict=True), 1
            ):
                checked.append(rows)
                if not rows.right:
                    self._find("lost", f"completed, but: {rows.said}", entry)
                progress(done, len(completed))
        self._look_at_the_others(entries)
        counted = self._count(entries, self._strangers(entries))
        if not counted.right:
            said = f"{counted.said} rows were counted; there are {counted.least} to {counted.most}"
            self._findings.append(Finding("miscounted", said))
        total = Rows(
            wrong=sum(rows.wrong for rows in checked),
            duplicated=sum(rows.duplicated for rows in checked),
            missing=sum(rows.missing for rows in checked),
        )
        rows_checked = sum(entry.planned.rows for entry in completed)
        return Audit(entries, [*self.ledger.findings(), *self._findings], rows_checked, total, counted)

    def _check(self, entry: Entry) -> Rows:
        path = f"/v1/jobs/{entry.id}/result"
        try:
            answer = self._get(path, {"Accept": "application/x-npy"})
        except GivenUpError as fault:
            return Rows(missing=entry.planned.rows, said=str(fault))
        if answer.status != 200:
            return Rows(missing=entry.planned.rows, said=f"GET {path}: {answer.status} {answer.body[:300]!r}")
        return self.truth.check(entry, answer.body)

    def _get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.calls.settle("GET", path, None, headers, PATIENCE)

    def _look_at_the_others(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            match entry.state:
                case State.FAILED:
                    self._find("lost", f"failed: {entry.said}", entry)
                case State.GONE:
                    self._find("lost", "404, and nobody has deleted it", entry)
                case State.OPEN:
                    document = self._get(f"/v1/jobs/{entry.id}").body.decode(errors="replace")
                    self._find("stuck", f"not ended: {document}", entry)
                case _:
                    pass

    def _strangers(self, entries: Sequence[Entry]) -> Sequence[str]:
        """Return the jobs that are there and that no client was told of."""
        known = {entry.id for entry in entries}
        strangers = [job_id for job_id in self._listed() if job_id not in known]
        for job_id in strangers:
            self._findings.append(Finding("doubled", "is there, and no client was told of it", job_id))
        return strangers

    def _listed(self) -> Iterator[str]:
        path: str | None = f"/v1/jobs?limit={PAGE}"
        while path:
            answer = self._get(path)
            if answer.status != 200:
                raise GivenUpError(f"GET {path}: {answer.status} {answer.body[:300]!r}")
            page = answer.json()
            yield from (document["id"] for document in page["jobs"])
            path = page["next"]

    def _count(self, entries: Sequence[Entry], strangers: Sequence[str]) -> Counted:
        least = most = 0
        for job_id in [*(entry.id for entry in entries), *strangers]:
            try:
                rows = self._recorded_rows(job_id)
            except JobNotFoundError:
                continue
            least, most = least + rows, most + rows
        gone = {
            entry.id: entry.planned.rows for entry in entries if entry.state in {State.CANCELLED, State.GONE}
        }
        most += sum(rows for job_id, rows in gone.items() if job_id not in self.store.requests(list(gone)))
        said = sum(value for name, value in self.counters.read().items() if name[0] == ROWS_COUNTER)
        return Counted(round(said), least, most)

    def _recorded_rows(self, job_id: str) -> int:
        """Return the rows of recorded batches. A cancelled job keeps the set of the others."""
        job = self.store.get(job_id)
        return job.rows - sum(len(job.rows_of(batch)) for batch in self.store.todo(job_id))

    def _find(self, kind: str, said: str, entry: Entry) -> None:
        self._findings.append(Finding(kind, said, entry.id))
