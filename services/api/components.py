"""All objects that the resources work with, made once."""

from __future__ import annotations

import functools
import time

from services.api.capacity.disk import StorageProbe, UploadDisk
from services.api.capacity.redis_probe import RedisProbe
from services.api.capacity.results import ResultReservations
from services.api.explain.inline import InlineModels
from services.api.explain.job_waits import JobWaits
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


class Components:
    """One of each object that the resources work with."""

    def __init__(
        self,
        settings: Settings,
        connection: RedisClient,
        background_connection: RedisClient,
        payloads: Payloads,
        catalog: ModelCatalog,
        commit: str = "unknown",
        activations: Activations | None = None,
    ) -> None:
        """Serve requests by `connection`, which is impatient; background threads can wait."""
        self.settings = settings
        self.connection = connection
        self.payloads = payloads
        self.catalog = catalog
        self.commit = commit
        self.activations = activations or Activations()
        self.started = time.monotonic()
        self.store = JobStore(connection, settings)
        self.heartbeats = Heartbeats(connection)
        self.status = StatusFile(settings.status_file)
        self.draining = Draining(self.status)
        self.counters = Counters(background_connection)
        self.job_waits = JobWaits(
            background_connection,
            self.store,
            self.counters,
            self.draining.stopping,
            settings.max_waiting_requests,
        )
        self.probe = StorageProbe(payloads, self.counters)
        self.redis_probe = RedisProbe(connection)
        self.upload_disk = UploadDisk(settings.tmp_dir, settings.max_body_mb)
        self.result_reservations = ResultReservations(settings.local_objects_dir)
        self.summaries = JobSummaries(payloads)
        self.inline_models = InlineModels(catalog, settings)
        self.streams = ConcurrencyLimit(STREAMS, "large results")
        self.uploads = ConcurrencyLimit(UPLOADS, "large uploads")
        self.plots = ConcurrencyLimit(PLOTS, "plots and summaries")

    @functools.cached_property
    def submission(self) -> Submission:
        """Takes in requests with rows."""
        return Submission(self)

    @functools.cached_property
    def responses(self) -> ResultResponses:
        """Writes results into responses."""
        return ResultResponses(self.store, self.payloads, self.catalog, self.streams, self.commit)

    def stop(self) -> None:
        """Refuse new work, and end all waits for jobs."""
        self.draining.begin()
        self.job_waits.wake_all()
