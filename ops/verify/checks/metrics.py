"""The metrics, as Prometheus would read them."""

from __future__ import annotations

import time

from ops.verify.outcome import FailedError
from ops.verify.scrape import Scrape
from ops.verify.visit import Visit

#: Every metric of the contract, with the labels that it must have at least.
NAMES: dict[str, frozenset[str]] = {
    "jobs_total": frozenset({"status"}),
    "rows_explained_total": frozenset({"model"}),
    "batch_seconds_bucket": frozenset({"le"}),
    "job_seconds_bucket": frozenset({"le"}),
    "batches_recovered_total": frozenset({"cause"}),
    "worker_recycles_total": frozenset({"reason"}),
    "engine_faults_total": frozenset({"model"}),
    "queue_batches": frozenset({"queue"}),
    "queue_oldest_seconds": frozenset({"queue"}),
    "workers": frozenset({"state"}),
    "process_memory_bytes": frozenset({"process"}),
    "memory_working_set_bytes": frozenset(),
    "memory_limit_bytes": frozenset(),
    "redis_up": frozenset(),
    "redis_ping_seconds": frozenset(),
    "redis_memory_bytes": frozenset(),
    "storage_free_bytes": frozenset(),
    "http_requests_total": frozenset({"method", "route", "status"}),
    "http_request_seconds_bucket": frozenset({"le"}),
    "program_up": frozenset({"program"}),
    "model_info": frozenset({"model", "version", "engine", "fallback"}),
    "model_engine_info": frozenset({"model", "version", "method", "engine"}),
    "model_refused": frozenset({"model", "version"}),
    "build_info": frozenset({"version", "commit"}),
}
#: Told only where the objects lie in a folder, and once that was looked through.
WHERE_LOCAL = {"storage_bytes": frozenset[str]()}
#: Seconds that a fresh appliance may take until it has told all of them.
SETTLE_SECONDS, LOOK_SECONDS = 10.0, 0.5


def metrics(visit: Visit) -> str:
    """Check that a scrape has every metric of the contract, and watch them from now on."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        started = time.monotonic()
        scrape = visit.target.scrape()
        seconds = time.monotonic() - started
        missing = missing_names(scrape)
        if not missing:
            visit.watch.start()
            local = [name for name in WHERE_LOCAL if scrape.labels(name)]
            return (
                f"{len(NAMES) + len(local)} metrics, {len(scrape.samples)} samples in {seconds * 1000:.0f} ms"
            )
        if time.monotonic() > deadline:
            raise FailedError(
                f"/metrics lacks {', '.join(missing)}.",
                "Dashboards and alerts need them: see the monitor's lines in the appliance's log.",
            )
        time.sleep(LOOK_SECONDS)


def missing_names(scrape: Scrape) -> list[str]:
    """Return the names that are not there, or not with their labels."""
    return [
        name for name, wanted in NAMES.items() if not any(wanted <= labels for labels in scrape.labels(name))
    ]
