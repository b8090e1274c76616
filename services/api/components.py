"""All that the resources work with, put together once."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from services.api.capacity.disk import StorageProbe, UploadDisk
from services.api.capacity.results import ResultRoom
from services.api.explain.inline_models import DirectLane
from services.api.explain.job_waits import Endings
from services.api.http.concurrency_limits import PLOTS, STREAMS, UPLOADS, Share
from services.api.results.job_summaries import JobDigests
from shared.appliance.counters import Counters
from shared.appliance.heartbeats import Heartbeats
from shared.appliance.status import ApplianceStatus
from shared.errors import DrainingError
from shared.jobs.store import JobStore
from shared.models.activation.records import Activations
from shared.models.catalog import ModelCatalog
from shared.objects.payloads import Payloads
from shared.redis.connection import RedisClient
from shared.settings import Settings

#: Seconds that what the monitor wrote is taken from memory.
STATUS_SECONDS = 0.25


class StatusFile:
    """The monitor's findings, read from their file at most some times a second."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.status_file
        self._read_at = -1.0
        self._status: ApplianceStatus | None = None

    def read(self) -> ApplianceStatus | None:
        """Return what the monitor wrote last; None if it has written nothing."""
        now = time.monotonic()
        if self._read_at < 0 or now - self._read_at > STATUS_SECONDS:
            self._status, self._read_at = ApplianceStatus.read(self._path), now
        return self._status


@dataclass(frozen=True, slots=True)
class Parts:
    """One of each. `connection` serves requests, and is impatient."""

    settings: Settings
    connection: RedisClient
    store: JobStore
    heartbeats: Heartbeats
    payloads: Payloads
    catalog: ModelCatalog
    endings: Endings
    counters: Counters
    probe: StorageProbe
    upload_disk: UploadDisk
    results: ResultRoom
    digests: JobDigests
    status: StatusFile
    direct: DirectLane
    activations: Activations = field(default_factory=Activations)
    commit: str = "unknown"
    streams: Share = field(default_factory=lambda: Share(STREAMS, "large results"))
    uploads: Share = field(default_factory=lambda: Share(UPLOADS, "large uploads"))
    plots: Share = field(default_factory=lambda: Share(PLOTS, "plots and summaries"))
    started: float = field(default_factory=time.monotonic)

    @property
    def draining(self) -> bool:
        """Whether this process or the whole appliance is stopping."""
        status = self.status.read()
        return self.endings.stopping or (status is not None and status.draining)

    def require_intake(self) -> None:
        """Raise DrainingError if no new work is taken."""
        if self.draining:
            raise DrainingError("This appliance is stopping. Send the request again in some seconds.")


def assemble(
    settings: Settings,
    connection: RedisClient,
    background_connection: RedisClient,
    payloads: Payloads,
    catalog: ModelCatalog,
    commit: str = "unknown",
    activations: Activations | None = None,
) -> Parts:
    """Put the parts together. `background_connection` is for threads that can wait: listening, counting."""
    store = JobStore(connection, settings)
    return Parts(
        settings=settings,
        connection=connection,
        store=store,
        heartbeats=Heartbeats(connection),
        payloads=payloads,
        catalog=catalog,
        endings=Endings(background_connection, store),
        counters=Counters(background_connection),
        probe=StorageProbe(payloads),
        upload_disk=UploadDisk(settings.tmp_dir),
        results=ResultRoom(settings),
        digests=JobDigests(payloads),
        status=StatusFile(settings),
        direct=DirectLane(catalog, settings),
        activations=activations or Activations(),
        commit=commit,
    )
