"""All of the monitor, put together from the settings."""

from __future__ import annotations

import logging
import time

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from services.monitor.aof_sync import AofSync
from services.monitor.events.listener import Listener
from services.monitor.events.loop import Loop
from services.monitor.events.programs import Programs
from services.monitor.events.supervisor_events import Event
from services.monitor.eviction_watch import EvictionWatch
from services.monitor.guard.guard import Guard
from services.monitor.guard.memory_decision import Marks
from services.monitor.guard.process_table import started_at
from services.monitor.guard.working_set import choose_source
from services.monitor.metrics.exposition import serve_metrics
from services.monitor.metrics.facts import FactsCollector
from services.monitor.metrics.machine_state import MachineCollector
from services.monitor.metrics.pulse import Pulse
from services.monitor.metrics.redis_reading import RedisReading
from services.monitor.metrics.redis_state import RedisCollector, RedisLinkCollector
from services.monitor.metrics.storage_use import StorageUse
from services.monitor.recovery.rescue import Rescue
from services.monitor.recovery.worker_lives import Machine
from services.monitor.sweeper import Surroundings, Sweeper
from shared.appliance.counters import Counters
from shared.appliance.recycle_requests import RecycleRequests
from shared.errors import ModelFaultError
from shared.jobs.queue import BatchQueues
from shared.jobs.recovery import Recovery
from shared.jobs.store import JobStore
from shared.models.activation.records import Activations
from shared.models.catalog import ModelCatalog
from shared.models.version import ModelVersion
from shared.objects.object_store import ObjectStore
from shared.redis.connection import Patience, connect
from shared.settings import Role, Settings
from shared.timing import TIMING

#: Seconds between two steps of each loop.
PULSE_SECONDS = RESCUE_SECONDS = AOF_SECONDS = READING_SECONDS = 1.0
#: The same for the guard, where the cgroup tells the working set and where PSS must be added up, which costs
#: some milliseconds.
GUARD_SECONDS, GUARD_PSS_SECONDS = 0.1, 1.0
POLL_SECONDS = 5.0
SWEEP_SECONDS = STORAGE_SECONDS = 30.0
EVICTION_SECONDS = 60.0

logger = logging.getLogger(__name__)


class Monitor:
    """Starts and stops the loops and the exposition."""

    def __init__(self, settings: Settings, machine: Machine, commit: str) -> None:
        self._settings = settings
        self._machine = machine
        self._steady = connect(settings, Patience.STEADY, name="monitor")
        self._counters = Counters(self._steady)
        self._programs = Programs()
        self._storage = StorageUse(settings.local_objects_dir)
        self._guard = self._make_guard()
        impatient = connect(settings, Patience.IMPATIENT, name="monitor-pulse")
        self._pulse = Pulse(
            impatient,
            self._programs,
            self._guard,
            settings.status_file,
            settings.data_dir,
            BatchQueues(impatient, settings.batch_timeout_seconds),
        )
        self._pulse.storage_used = lambda: self._storage.used
        self._rescue = self._make_rescue()
        self._guard.excuse = self._rescue.lives.excuse
        self._sweeper: Sweeper | None = None
        self._listener = Listener(self._programs, settings.supervisor_socket, self._worker_left, self._drain)
        self._wish = RecycleRequests(self._steady)
        self._rescue_loop = Loop("recovery", RESCUE_SECONDS, self._recover)
        self._loops = [
            Loop("pulse", PULSE_SECONDS, self._pulse.step),
            Loop("guard", GUARD_PSS_SECONDS if self._guard.adds_up else GUARD_SECONDS, self._guard.step),
            self._rescue_loop,
            Loop("supervisor", POLL_SECONDS, self._listener.poll),
            Loop("storage", STORAGE_SECONDS, self._storage.step),
        ]
        if settings.role is not Role.WORKER:
            # Where jobs come in: its RESULT_TTL_HOURS holds, and no worker lists the store as well.
            self._loops.append(Loop("sweeper", SWEEP_SECONDS, self._sweep))
        if settings.embedded_redis:
            self._loops.append(Loop("aof-sync", AOF_SECONDS, AofSync(settings.redis_dir).step))
        else:
            self._loops.append(Loop("eviction", EVICTION_SECONDS, EvictionWatch(self._steady).step))
        self._registry = self._make_registry(commit)

    def start(self) -> None:
        """Serve the metrics and start all loops. Raises BootError if the metrics' port is taken."""
        self._listener.poll()
        self._server = serve_metrics(self._settings, self._registry)
        for loop in self._loops:
            loop.start()
        logger.info("monitor is up", extra={"metrics_port": self._settings.metrics_port})

    def heed(self, event: Event) -> None:
        """Act on one of supervisord's events; a fault in that must not end the monitor."""
        try:
            self._listener.heed(event)
        except Exception:
            logger.exception("an event was not understood", extra={"event": event.name})

    def stop(self) -> None:
        """End all loops, as far as they end in time."""
        deadline = time.monotonic() + TIMING.monitor_loops_stop_seconds
        for loop in self._loops:
            loop.stop()
        for loop in self._loops:
            if not loop.join(max(0.0, deadline - time.monotonic())):
                logger.info("%s was still at work", loop.name)

    def _worker_left(self, process_name: str, pid: int | None, in_order: bool) -> None:  # noqa: FBT001  # a callback
        self._rescue.worker_left(process_name, pid, in_order=in_order)
        self._rescue_loop.wake()

    def _drain(self) -> None:
        self._rescue.lives.draining = True
        self._pulse.drain()

    def _recover(self) -> None:
        self._rescue.step()
        # An api's own monitor has no workers, and leaves the wish to those that have.
        if self._guard.takes_wishes and self._wish.take():
            self._guard.wished = True

    def _make_guard(self) -> Guard:
        source = choose_source(self._machine.supervisor_pid)
        marks = Marks.of(
            self._settings.memory_limit_mb,
            source.cgroup.limit if source.cgroup is not None else None,
            self._settings.worker_memory_limit_mb,
        )
        logger.info(
            "memory is read from %s",
            "the cgroup" if source.cgroup else "the processes (PSS)",
            extra={
                "reason": source.reason,
                "soft_mb": marks.soft >> 20,
                "hard_mb": marks.hard >> 20 if marks.hard else None,
            },
        )
        return Guard(
            source,
            marks,
            self._programs,
            self._counters,
            lambda: self._pulse.local_worker_pids(self._machine.host),
            self._machine.supervisor_pid,
        )

    def _make_rescue(self) -> Rescue:
        store = JobStore(self._steady, self._settings)
        return Rescue(
            self._steady,
            Recovery(self._steady, store),
            self._counters,
            self._programs,
            self._machine,
            self._settings.batch_timeout_seconds,
        )

    def _sweep(self) -> None:
        if self._sweeper is None:
            # Not at the start: an object store that is away must not keep the monitor from watching.
            self._sweeper = Sweeper(
                self._steady,
                JobStore(self._steady, self._settings),
                ObjectStore.open(self._settings),
                self._settings.result_ttl_hours,
                self._surroundings(),
            )
        self._sweeper.step()

    def _surroundings(self) -> Surroundings:
        settings = self._settings
        folder = settings.local_objects_dir
        if settings.role is Role.ALL and settings.embedded_redis and folder is not None:
            return Surroundings(folder, self._api_started)
        return Surroundings(folder)

    def _api_started(self) -> float | None:
        pid = next((pid for pid, name in self._programs.names().items() if name == "api"), None)
        return None if pid is None else started_at(pid)

    def _make_registry(self, commit: str) -> CollectorRegistry:
        models = self._models()
        registry = CollectorRegistry()
        registry.register(self._make_redis_collector(models))
        registry.register(MachineCollector(self._guard, self._storage, self._programs, self._pulse))
        started = started_at(self._machine.supervisor_pid)
        registry.register(
            FactsCollector(models, self._catalog().refused() if models else (), commit, started)
        )
        return registry

    def _make_redis_collector(self, models: tuple[ModelVersion, ...]) -> Collector:
        if self._settings.role is Role.WORKER:
            # Sums, queues and workers are everybody's: told by each of N containers they would count N times.
            return RedisLinkCollector(self._pulse)
        impatient = connect(self._settings, Patience.IMPATIENT, name="monitor-reading")
        reading = RedisReading(impatient, BatchQueues(impatient, self._settings.batch_timeout_seconds))
        self._loops.append(Loop("reading", READING_SECONDS, reading.step))
        limit = self._settings.max_queued_batches
        return RedisCollector(reading, self._pulse, [model.id for model in models], limit)

    def _catalog(self) -> ModelCatalog:
        activations = Activations.read(self._settings.activations_file)
        return ModelCatalog.load(self._settings.models_dir, self._settings.placeholders_dir, activations)

    def _models(self) -> tuple[ModelVersion, ...]:
        try:
            return self._catalog().versions()
        except ModelFaultError as fault:  # boot refuses it; the monitor watches on all the same
            logger.warning("the models are not known", extra={"cause": str(fault)})
            return ()
