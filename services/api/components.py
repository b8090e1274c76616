"""All objects that the resources work with, put together once."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from services.api.capacity.disk import StorageProbe, UploadDisk
from services.api.capacity.results import ResultReservations
from services.api.explain.inline import InlineExecutor, InlineModels
from services.api.explain.job_waits import JobWaits
from services.api.explain.plan import Urgency
from services.api.explain.queued import QueuedExecutor
from services.api.explain.submission import Submission
from services.api.http.admission import Draining, StatusFile
from services.api.http.concurrency_limits import PLOTS, STREAMS, UPLOADS, ConcurrencyLimit
from services.api.results.summaries import JobSummaries
from services.api.results.writer import ResultResponses
from shared.appliance.counters import Counters
from shared.appliance.heartbeats import Heartbeats
from shared.jobs.store import JobStore
from shared.models.activation.records import Activations
from shared.models.catalog import ModelCatalog
from shared.objects.payloads import Payloads
from shared.redis.connection import RedisClient
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Components:
    """One of each. `connection` serves requests, and is impatient."""

    settings: Settings
    connection: RedisClient
    store: JobStore
    heartbeats: Heartbeats
    payloads: Payloads
    catalog: ModelCatalog
    job_waits: JobWaits
    counters: Counters
    probe: StorageProbe
    upload_disk: UploadDisk
    result_reservations: ResultReservations
    summaries: JobSummaries
    status: StatusFile
    draining: Draining
    inline_models: InlineModels
    activations: Activations = field(default_factory=Activations)
    commit: str = "unknown"
    streams: ConcurrencyLimit = field(default_factory=lambda: ConcurrencyLimit(STREAMS, "large results"))
    uploads: ConcurrencyLimit = field(default_factory=lambda: ConcurrencyLimit(UPLOADS, "large uploads"))
    plots: ConcurrencyLimit = field(default_factory=lambda: ConcurrencyLimit(PLOTS, "plots and summaries"))
    started: float = field(default_factory=time.monotonic)

    def submission(self) -> Submission:
        """Return what takes in requests with rows."""
        queued = QueuedExecutor(self.settings, self.store, self.payloads, self.result_reservations)
        inline = InlineExecutor(self.inline_models, queued, self.counters)
        return Submission(
            self.settings,
            self.store,
            self.catalog,
            {Urgency.LATER: queued, Urgency.JOB: inline, Urgency.VALUES: inline},
            self.draining,
            self.uploads,
            self.upload_disk,
        )

    def result_responses(self) -> ResultResponses:
        """Return what writes results into responses."""
        return ResultResponses(self.store, self.payloads, self.catalog, self.streams)

    def stop(self) -> None:
        """Refuse new work, and end all waits for jobs."""
        self.draining.begin()
        self.job_waits.wake_all()


def assemble(
    settings: Settings,
    connection: RedisClient,
    background_connection: RedisClient,
    payloads: Payloads,
    catalog: ModelCatalog,
    commit: str = "unknown",
    activations: Activations | None = None,
) -> Components:
    """Put the components together. `background_connection` is for threads that can wait."""
    store = JobStore(connection, settings)
    status = StatusFile(settings.status_file)
    draining = Draining(status)
    return Components(
        settings=settings,
        connection=connection,
        store=store,
        heartbeats=Heartbeats(connection),
        payloads=payloads,
        catalog=catalog,
        job_waits=JobWaits(background_connection, store, draining.stopping),
        counters=Counters(background_connection),
        probe=StorageProbe(payloads),
        upload_disk=UploadDisk(settings.tmp_dir, settings.max_body_mb),
        result_reservations=ResultReservations(settings.local_objects_dir),
        summaries=JobSummaries(payloads),
        status=status,
        draining=draining,
        inline_models=InlineModels(catalog, settings),
        activations=activations or Activations(),
        commit=commit,
    )
