"""The audit after the faults: every accepted job, every value, every row counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ops.lab.load import Entry, GivenUpError, Load
from ops.lab.reference import Comparison
from shared.appliance.counters import Counters
from shared.errors import JobNotFoundError
from shared.jobs.store import JobStore

#: Results that are checked at a time.
CHECKERS = 2
#: The counter of rows whose values were recorded.
ROWS_COUNTER = "rows_explained_total"
#: Seconds that a call gets to be answered: nothing is struck any more.
PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit's figures. Findings are in the ledger.

    `least` and `most` bound the rows that were recorded. They are apart only if documents of cancelled jobs are gone,
    and nobody can know how far those came.
    """

    rows: Comparison
    counted: int
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Auditor:
    """Looks at an appliance whose jobs have ended. One thread uses it."""

    load: Load
    store: JobStore
    counters: Counters

    def audit(self, progress: Callable[[str], None]) -> Audit:
        """Audit all. Raises GivenUpError and REDIS_AWAY."""
        entries = self.load.ledger.entries()
        completed = [entry for entry in entries if entry.state == "completed"]
        found = []
        with ThreadPoolExecutor(CHECKERS) as pool:
            for rows in pool.map(self._check, completed):
                found.append(rows)
                progress(f"checking values: {len(found)} of {len(completed)} jobs")
        for entry in entries:
            if entry.state in {"failed", "gone"}:
                self.load.ledger.find("lost", f"{entry.state}: {entry.said}", entry.id)
        counted, least, most = self._count(entries, self._strangers(entries))
        if not least <= counted <= most:
            said = f"{counted} rows were counted; there are {least} to {most}"
            self.load.ledger.find("miscounted", said)
        total = Comparison(
            wrong=sum(rows.wrong for rows in found),
            misplaced=sum(rows.misplaced for rows in found),
            missing=sum(rows.missing for rows in found),
        )
        return Audit(total, counted, least, most)

    def _check(self, entry: Entry) -> Comparison:
        try:
            return self.load.check_result(entry, PATIENCE)
        except GivenUpError as fault:
            self.load.ledger.find("lost", str(fault), entry.id)
            return Comparison(missing=entry.planned.rows)

    def _strangers(self, entries: Sequence[Entry]) -> Sequence[str]:
        """Return the jobs that are there and that no client was told of."""
        known = {entry.id for entry in entries}
        strangers = [job_id for job_id in self._listed() if job_id not in known]
        for job_id in strangers:
            self.load.ledger.find("doubled", "is there, and no client was told of it", job_id)
        return strangers

    def _listed(self) -> Iterator[str]:
        path: str | None = "/v1/jobs?limit=100"
        while path:
            answer = self.load.call("GET", path, seconds=PATIENCE)
            if answer.status != 200:
                raise GivenUpError(f"GET {path}: {answer.status} {answer.body[:300]!r}")
            page = answer.json()
            yield from (document["id"] for document in page["jobs"])
            path = page["next"]

    def _count(self, entries: Sequence[Entry], strangers: Sequence[str]) -> tuple[int, int, int]:
        """Return what the counter says, and the least and the most that it may say."""
        least = 0
        for job_id in [*(entry.id for entry in entries), *strangers]:
            try:  # a cancelled job keeps the set of the batches that were not recorded
                job = self.store.get(job_id)
                least += job.rows - sum(len(job.rows_of(batch)) for batch in self.store.todo(job_id))
            except JobNotFoundError:
                continue
        gone = {entry.id: entry.planned.rows for entry in entries if entry.state in {"cancelled", "gone"}}
        kept = self.store.requests(list(gone))
        most = least + sum(rows for job_id, rows in gone.items() if job_id not in kept)
        counted = sum(value for name, value in self.counters.read().items() if name[0] == ROWS_COUNTER)
        return round(counted), least, most
