"""The monitor: its loops and its metrics, put together from the settings."""

from __future__ import annotations

import logging
import threading
import time

from services.monitor.events.listener import STOPPING, Event, ExitReport, note_exit
from services.monitor.events.loop import Loop
from services.monitor.events.programs import API, Programs, SupervisorStoppingError, list_programs
from services.monitor.guard.guard import Guard
from services.monitor.guard.memory_decision import Marks
from services.monitor.guard.memory_gauge import MemoryGauge, choose_source
from services.monitor.guard.process_table import seconds_running, started_at
from services.monitor.metrics.collector import MonitorCollector, facts_of, serve_metrics, zeros_of
from services.monitor.metrics.pulse import Pulse
from services.monitor.metrics.storage_use import StorageUse
from services.monitor.recovery.rescue import Rescue
from services.monitor.recovery.worker_exits import Machine, WorkerExits
from services.monitor.redis_upkeep import EvictionWatch
from services.monitor.sweeper import Sweeper
from shared import metrics
from shared.appliance.counters import Counters
from shared.appliance.recycle_requests import RecycleRequests
from shared.errors import ModelFaultError
from shared.jobs.recovery import Recovery
from shared.jobs.store import JobStore
from shared.models.activation.records import Activations
from shared.models.catalog import ModelCatalog
from shared.objects.object_store import ObjectStore
from shared.redis.aof_sync import AofSync
from shared.redis.connection import Patience, connect
from shared.settings import Role, Settings
from shared.timing import TIMING

#: Seconds between two steps of each loop.
PULSE_SECONDS = RESCUE_SECONDS = AOF_SECONDS = 1.0
#: The same for the guard: where the cgroup tells the working set, and where PSS is added up, which takes milliseconds.
GUARD_SECONDS, GUARD_PSS_SECONDS = 0.1, 1.0
POLL_SECONDS = 5.0
SWEEP_SECONDS = STORAGE_SECONDS = 30.0
EVICTION_SECONDS = 60.0

logger = logging.getLogger(__name__)


class Monitor:
    """Starts and stops the loops and the metrics' server."""

    def __init__(self, settings: Settings, machine: Machine, commit: str) -> None:
        self._settings = settings
        self._machine = machine
        self._redis = connect(settings, Patience.STEADY, name="monitor")
        self._store = JobStore(self._redis, settings)
        #: Set while supervisord stops all programs.
        self._stopping = threading.Event()
        self._programs = Programs()
        self._storage = StorageUse(settings.local_objects_dir)
        self._gauge = self._make_gauge()
        impatient = connect(settings, Patience.IMPATIENT, name="monitor-pulse")
        self._pulse = Pulse(impatient, self._programs, self._gauge, self._storage, settings, self._stopping)
        self._counters = counters = Counters(self._redis)
        exits = WorkerExits(machine, self._stopping)
        self._rescue = Rescue(
            self._redis,
            Recovery(self._redis, self._store),
            counters,
            self._programs,
            exits,
            settings.batch_timeout_seconds,
        )
        self._guard = Guard(
            self._gauge,
            self._programs,
            counters,
            lambda: self._pulse.local_worker_pids(machine.host),
            exits.excuse,
            self._stopping,
        )
        self._recycle_requests = RecycleRequests(self._redis)
        self._sweeper: Sweeper | None = None
        self._supervisor_loop = Loop("supervisor", POLL_SECONDS, self._list_programs)
        self._rescue_loop = Loop("recovery", RESCUE_SECONDS, self._recover)
        self._loops = self._make_loops()
        self._collector = self._make_collector(commit)

    def start(self) -> None:
        """Serve the metrics and start all loops. Raises BootError if METRICS_PORT is taken."""
        self._supervisor_loop.turn()
        self._server = serve_metrics(self._settings, self._collector)
        for loop in self._loops:
            loop.start()
        logger.info("monitor is up", extra={"metrics_port": self._settings.metrics_port})

    def handle(self, event: Event) -> None:
        """Act on one of supervisord's events; an error in that does not end the monitor."""
        try:
            if event.name == STOPPING:
                logger.info("all programs are being stopped")
                self._drain()
            elif report := note_exit(event):
                self._note_exit(report)
        except Exception:
            logger.exception("an event could not be handled", extra={"event": event.name})
        self._supervisor_loop.wake()

    def _note_exit(self, report: ExitReport) -> None:
        if not (report.in_order or self._stopping.is_set()):
            self._counters.add(metrics.PROGRAM_EXITS, report.process_name)
            if not report.is_worker:
                self._programs.note_exit(report.process_name)
        if report.is_worker:
            self._rescue.worker_exited(report)
            self._rescue_loop.wake()

    def stop(self) -> None:
        """Stop all loops, and wait for them within the time that the monitor has."""
        deadline = time.monotonic() + TIMING.monitor_loops_stop_seconds
        for loop in self._loops:
            loop.stop()
        for loop in self._loops:
            loop.join(max(0.0, deadline - time.monotonic()))
            if loop.is_alive():
                logger.info("%s was still running", loop.name)

    def _drain(self) -> None:
        self._stopping.set()
        self._pulse.write()

    def _list_programs(self) -> None:
        try:
            self._programs.adopt(list_programs(self._settings.supervisor_socket))
        except SupervisorStoppingError:
            self._programs.note_ended()
            self._drain()

    def _recover(self) -> None:
        self._rescue.step()
        # The monitor of an api without workers leaves the request to another one.
        if self._guard.takes_requests and self._recycle_requests.take():
            self._guard.request_recycle()

    def _make_gauge(self) -> MemoryGauge:
        settings = self._settings
        source = choose_source(self._machine.supervisor_pid)
        limit = source.cgroup.limit if source.cgroup is not None else None
        marks = Marks.of(settings.memory_limit_mb, limit, settings.worker_memory_limit_mb)
        logger.info(
            "memory is read from %s",
            "the cgroup" if source.cgroup else "the processes (PSS)",
            extra={
                "reason": source.reason,
                "soft_mb": marks.soft >> 20,
                "hard_mb": marks.hard >> 20 if marks.hard else None,
            },
        )
        return MemoryGauge(source, marks, self._programs, self._machine.supervisor_pid)

    def _make_loops(self) -> list[Loop]:
        settings = self._settings
        loops = [
            Loop("pulse", PULSE_SECONDS, self._pulse.step),
            Loop("guard", GUARD_PSS_SECONDS if self._gauge.adds_up else GUARD_SECONDS, self._guard.step),
            self._rescue_loop,
            self._supervisor_loop,
            Loop("storage", STORAGE_SECONDS, self._storage.step),
        ]
        if settings.role is not Role.WORKER:
            # Where jobs come in: its RESULT_TTL_HOURS counts, and the store is listed once, not by each worker.
            loops.append(Loop("sweeper", SWEEP_SECONDS, self._sweep))
        if settings.embedded_redis:
            loops.append(Loop("aof-sync", AOF_SECONDS, AofSync(settings.redis_dir).step))
        else:
            loops.append(Loop("eviction", EVICTION_SECONDS, EvictionWatch(self._redis).step))
        return loops

    def _sweep(self) -> None:
        if self._sweeper is None:
            # Not at the start: an outage of the object store must not keep the monitor from starting.
            self._sweeper = Sweeper(
                self._redis,
                self._store,
                ObjectStore.open(self._settings),
                self._settings.result_ttl_hours,
                self._settings.local_objects_dir,
                self._api_age,
            )
        self._sweeper.step()

    def _api_age(self) -> float | None:
        """Return the seconds since the api was started, if it is the only one; None if unknown."""
        settings = self._settings
        alone = settings.role is Role.ALL and settings.embedded_redis and settings.local_objects_dir
        pid = self._programs.pid_of(API) if alone else None
        return None if pid is None else seconds_running(pid)

    def _make_collector(self, commit: str) -> MonitorCollector:
        settings = self._settings
        activations = Activations.read(settings.activations_file)
        try:
            catalog = ModelCatalog.load(settings.models_dir, settings.placeholders_dir, activations)
            served, refused = catalog.versions(), catalog.refused()
        except ModelFaultError as fault:  # boot refuses it; the monitor works without models
            logger.warning("the models cannot be read", extra={"cause": str(fault)})
            served, refused = (), ()
        return MonitorCollector(
            facts_of(served, refused, commit, started_at(self._machine.supervisor_pid)),
            zeros_of([model.id for model in served]),
            self._gauge,
            self._storage,
            self._programs,
            self._pulse,
            settings,
        )
