"""The audit after the faults: every accepted job, every value, every row counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from ops.lab.load import LAST_JOBS_SECONDS, SHOW_SECONDS, Entry, Load
from shapbox import Shapbox
from shared.appliance.counters import Counters
from shared.errors import JobNotFoundError
from shared.jobs.store import JobStore

#: Results that are checked at a time.
CHECKERS = 2
#: The counter of rows whose values were recorded.
ROWS_COUNTER = "rows_explained_total"
#: Seconds that a call gets to be answered: nothing is struck any more.
PATIENCE = 5.0


def audit(load: Load, store: JobStore, counters: Counters, progress: Callable[[str], None]) -> None:
    """Add faults of an appliance whose jobs have ended to the ledger. Raises REDIS_AWAY."""
    ledger, checked = load.ledger, 0
    _await_ends(store, load)

    def check(entry: Entry) -> None:
        nonlocal checked
        try:
            load.check_result(entry, PATIENCE)
        except TimeoutError as fault:
            ledger.find("lost", str(fault), entry.id)
        checked += 1
        progress(f"checking values: {checked} jobs")

    with ThreadPoolExecutor(CHECKERS) as pool:
        list(pool.map(check, ledger.entries("completed", "failed", "gone")))
    known = [entry.id for entry in ledger.entries()]
    box = Shapbox(load.appliance.url, load.appliance.api_key, patience=PATIENCE)
    strangers = [job.id for job in box.jobs() if job.id not in known]
    for job_id in strangers:
        ledger.find("doubled", "is there, and no client was told of it", job_id)
    counted = sum(value for name, value in counters.read().items() if name[0] == ROWS_COUNTER)
    least, most = _recorded([*known, *strangers], ledger.entries("cancelled", "gone"), store)
    if not least <= counted <= most:
        ledger.find("miscounted", f"{counted:.0f} rows were counted; there are {least} to {most}")


def _await_ends(store: JobStore, load: Load) -> None:
    """Wait for the jobs that a power cut set back after their clients had seen their ends."""
    deadline = time.monotonic() + LAST_JOBS_SECONDS
    while active := store.active():
        if time.monotonic() > deadline:
            load.ledger.find("stuck", f"not ended after {LAST_JOBS_SECONDS:.0f} s", active[0].id)
            return
        time.sleep(SHOW_SECONDS)


def _recorded(job_ids: Sequence[str], ended_early: Sequence[Entry], store: JobStore) -> tuple[int, int]:
    """Return how many rows were recorded, at least and at most.

    They are apart only if documents of cancelled jobs are gone, and nobody can know how far those came.
    """
    least = 0
    for job_id in job_ids:
        try:  # a cancelled job keeps the set of the batches that were not recorded
            job = store.get(job_id)
            least += job.rows - sum(len(job.rows_of(batch)) for batch in store.todo(job_id))
        except JobNotFoundError:
            continue
    kept = store.requests([entry.id for entry in ended_early])
    return least, least + sum(entry.planned.rows for entry in ended_early if entry.id not in kept)
