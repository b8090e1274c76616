"""Checks Redis and the workers each second, and writes the status file.

It also reads all metrics that Redis holds, and health does not depend on them. A scrape reports the last reading.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import redis

from services.monitor.events.programs import FATAL, RUNNING, Programs
from services.monitor.guard.memory_gauge import SUPERVISOR, MemoryGauge
from services.monitor.metrics.storage_use import StorageUse
from shared import metrics
from shared.appliance.counters import Counters
from shared.appliance.heartbeats import Heartbeat, Heartbeats
from shared.appliance.status import ApplianceStatus, ProgramStatus
from shared.disk import FreeSpace, free_space
from shared.jobs import keys
from shared.jobs.queue import BatchQueues, Lane
from shared.redis.connection import RedisClient, retry
from shared.settings import Role, Settings
from shared.timing import TIMING

#: Names of the sums that tell of batches that ended, and of jobs that failed or were cancelled.
ENDED = frozenset({f"{metrics.BATCH_SECONDS.name}_bucket", metrics.JOBS.name})
#: Seconds that one step without a live worker counts for at most: it may have waited for Redis.
LONGEST_STEP = 2.0
#: Seconds after which a reading is outdated: the loop hangs, and a scrape must not report that nothing has changed.
STALE_SECONDS = 10.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RedisState:
    """All that the metrics say about Redis; `limit_bytes` is 0 where it has no maxmemory."""

    #: The sums by (name, label values…).
    sums: Mapping[tuple[str, ...], float]
    waiting: Mapping[Lane, int]
    heads: Mapping[Lane, str | None]
    heartbeats: Mapping[str, Heartbeat]
    used_bytes: int
    limit_bytes: int


class Pulse:
    """One thread calls `step`. `connection` should give up soon: a ping is not repeated.

    `stopping` is set while supervisord stops all programs.
    """

    def __init__(
        self,
        connection: RedisClient,
        programs: Programs,
        gauge: MemoryGauge,
        storage: StorageUse,
        settings: Settings,
        stopping: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        connection.set_retry(retry(0))
        self._redis = connection
        self._heartbeats, self._counters = Heartbeats(connection), Counters(connection)
        self._queues = BatchQueues(connection, settings.batch_timeout_seconds)
        self._programs = programs
        self._gauge = gauge
        self._storage = storage
        self._status_file = settings.status_file
        self._data_dir = settings.data_dir
        self._exports_redis = settings.role is not Role.WORKER
        self._stopping = stopping
        self._clock = clock
        self._lock = threading.Lock()
        self._last_answer = self._last_step = clock()
        self._no_worker_seconds = self._standstill_seconds = self._stalled_seconds = 0.0
        self._stalled_after = TIMING.stalled_batches * settings.batch_timeout_seconds
        self._ended = 0.0
        self._heads: Mapping[Lane, str | None] = {}
        self._reading: RedisState | None = None
        self._readable = True
        #: Whether Redis answered the last ping, and in how many seconds.
        self.redis_up = False
        self.ping_seconds = 0.0
        #: Whether Redis accepted the last write.
        self.redis_writable = False
        #: The free space under DATA_DIR; None if unknown.
        self.disk: FreeSpace | None = None
        #: The heartbeats of live workers when Redis last answered.
        self.heartbeats: Mapping[str, Heartbeat] = {}

    @property
    def redis_state(self) -> RedisState | None:
        """The last reading.

        None while Redis does not answer, if the metrics could not be read, and in a container with workers only.
        """
        fresh = self.redis_up and self._clock() - self._last_answer <= STALE_SECONDS
        return self._reading if fresh else None

    @property
    def progresses(self) -> bool:
        """Whether batches end, or there are none."""
        return self._stalled_seconds <= self._stalled_after

    def step(self) -> None:
        """Check and report, once. Raises what REDIS_AWAY lists, after it has reported that."""
        self.disk = free_space(self._data_dir)
        try:
            self._check()
        finally:
            self.write()

    def write(self) -> None:
        """Write the status file. Raises OSError."""
        with self._lock:
            self.status().write(self._status_file)

    def status(self) -> ApplianceStatus:
        """Return the present state of the appliance."""
        memory = self._gauge.state
        sizes = memory.by_program if memory else {}
        states = {SUPERVISOR: RUNNING, **self._programs.states()}
        return ApplianceStatus(
            written_at=time.time(),
            redis_down_seconds=0.0 if self.redis_up else self._clock() - self._last_answer,
            no_worker_seconds=self._no_worker_seconds,
            crashing_workers=tuple(sorted(self._programs.crashing())),
            standstill_seconds=self._standstill_seconds,
            stalled_seconds=0.0 if self.progresses else self._stalled_seconds,
            restarting_programs=tuple(sorted(self._programs.restarting())),
            fatal_programs=tuple(name for name, state in states.items() if state == FATAL),
            draining=self._stopping.is_set(),
            memory_working_set_bytes=memory.working_set if memory else 0,
            memory_limit_bytes=self._gauge.marks.soft if memory else 0,
            memory_container_bytes=self._gauge.container_limit or 0,
            memory_source="processes" if self._gauge.adds_up else "cgroup",
            programs=tuple(ProgramStatus(name, state, sizes.get(name, -1)) for name, state in states.items()),
            storage_used_bytes=-1 if self._storage.used is None else self._storage.used,
        )

    def local_worker_pids(self, host: str) -> dict[str, int]:
        """Return the process ids of this machine's live workers, by process name."""
        return {
            name.rpartition("/")[2]: heartbeat.pid
            for name, heartbeat in self.heartbeats.items()
            if heartbeat.host == host
        }

    def _check(self) -> None:
        elapsed, self._last_step = self._clock() - self._last_step, self._clock()
        writable = True
        try:
            try:
                self._ping()
                # Only a write shows that the memory is full, or that it is a replica. The key expires if the monitor ends.
                self._redis.set(keys.PULSE, b"", ex=60)
            except redis.exceptions.ResponseError:
                writable = False  # it answers, even if it refuses writes
            heartbeats = self._heartbeats.alive()
            at_work = bool(self._redis.hlen(keys.RUNNING))
            heads, before = self._queues.heads(), self._heads
        except redis.RedisError:
            self.redis_up = self.redis_writable = False
            raise
        self._last_answer = self._clock()
        self.redis_up, self.redis_writable = True, writable
        self.heartbeats, self._heads = heartbeats, heads
        # A queue moves if nothing waits, or a batch was taken or given back since the last step.
        moves = at_work or not any(heads.values()) or heads != before
        # Counted only while Redis answers and accepts writes: otherwise no heartbeat could arrive, and a restart would
        # not help. A worker whose native code holds the GIL sends none, but holds a batch; it is killed when it hangs. One
        # that crashes again and again without a batch sends them, and does not work.
        if at_work or heartbeats.keys() - self._programs.crashing():
            self._no_worker_seconds = 0.0
        elif writable:
            self._no_worker_seconds += min(elapsed, LONGEST_STEP)
        if moves or not heartbeats or not writable:
            self._standstill_seconds = 0.0
        else:
            self._standstill_seconds += min(elapsed, LONGEST_STEP)
        if self._exports_redis:
            self._reading = self._read(heads, heartbeats)
            self._note_progress(elapsed, has_work=at_work or any(heads.values()))

    def _note_progress(self, elapsed: float, *, has_work: bool) -> None:
        """Count the time in which there is work and no batch ends.

        Batches may be handed back again and again, which looks like work.
        """
        sums = self._reading.sums if self._reading else {}
        ended = sum(value for (name, *_), value in sums.items() if name in ENDED)
        if not has_work or ended != self._ended:
            self._stalled_seconds = 0.0
        else:
            self._stalled_seconds += min(elapsed, LONGEST_STEP)
        self._ended = ended

    def _ping(self) -> None:
        started = self._clock()
        try:
            self._redis.ping()
        finally:  # it may answer by an error, too
            self.ping_seconds = self._clock() - started

    def _read(
        self, heads: Mapping[Lane, str | None], heartbeats: Mapping[str, Heartbeat]
    ) -> RedisState | None:
        """Read the metrics; None if that fails, which is logged once."""
        try:
            memory = self._redis.info("memory")
            reading = RedisState(
                sums=self._counters.read(),
                waiting=self._queues.waiting(),
                heads=heads,
                heartbeats=heartbeats,
                used_bytes=int(memory["used_memory"]),
                limit_bytes=int(memory.get("maxmemory", 0)),
            )
        except Exception as fault:  # noqa: BLE001  # what only the metrics need must not affect health
            if self._readable:
                logger.warning("Redis answers, but its metrics cannot be read", extra={"cause": repr(fault)})
            self._readable = False
            return None
        self._readable = True
        return reading
