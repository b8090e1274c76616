"""Feels Redis's and the workers' pulse each second, and writes down how the appliance is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from services.monitor.events.programs import Programs
from services.monitor.guard.guard import Guard
from services.monitor.guard.memory_reading import SUPERVISOR
from shared.appliance.heartbeats import Heartbeat, Heartbeats
from shared.appliance.status import ApplianceStatus, ProgramStatus
from shared.disk import FreeSpace, free_space
from shared.jobs import keys
from shared.jobs.queue import BatchQueues, Lane
from shared.redis.connection import REDIS_AWAY, RedisClient

#: What Redis answers while it takes no writes, besides plain ResponseErrors.
NO_WRITES = (redis.exceptions.OutOfMemoryError, redis.exceptions.ReadOnlyError)
#: Seconds that one turn without a living worker counts for at most: a turn may have waited for Redis.
LONGEST_TURN = 2.0


class Pulse:
    """One thread calls `step`. `connection` should be one that gives up soon: a ping is not tried twice."""

    def __init__(
        self,
        connection: RedisClient,
        programs: Programs,
        guard: Guard,
        status_file: Path,
        data_dir: Path,
        queues: BatchQueues,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        connection.set_retry(Retry(NoBackoff(), 0))
        self._redis = connection
        self._heartbeats = Heartbeats(connection)
        self._programs = programs
        self._guard = guard
        self._status_file = status_file
        self._data_dir = data_dir
        self._clock = clock
        self._lock = threading.Lock()
        self._last_answer = self._last_turn = clock()
        self._no_worker_seconds = self._standstill_seconds = 0.0
        self._queues = queues
        self._heads: Mapping[Lane, str | None] = {}
        #: Whether Redis answered the last ping, and in how many seconds.
        self.redis_up = False
        self.ping_seconds = 0.0
        #: The disk under DATA_DIR; None if nothing can be found out about it.
        self.disk: FreeSpace | None = None
        #: The heartbeats that were lit when Redis last answered.
        self.heartbeats: Mapping[str, Heartbeat] = {}
        #: Tells the bytes of all objects, where somebody counts them.
        self.storage_used: Callable[[], int | None] = lambda: None
        #: Whether supervisord is stopping everything.
        self.draining = False

    def step(self) -> None:
        """Feel and write, once. Raises what REDIS_AWAY lists, after it has written that down."""
        self.disk = free_space(self._data_dir)
        try:
            self._feel()
        finally:
            self.write()

    def drain(self) -> None:
        """Write down at once that everything is being stopped."""
        self.draining = self._guard.draining = True
        self.write()

    def write(self) -> None:
        """Write the status file. Raises OSError."""
        with self._lock:
            self.status().write(self._status_file)

    def status(self) -> ApplianceStatus:
        """Return how the appliance is."""
        memory = self._guard.state
        return ApplianceStatus(
            written_at=time.time(),
            redis_down_seconds=0.0 if self.redis_up else self._clock() - self._last_answer,
            no_worker_seconds=self._no_worker_seconds,
            standstill_seconds=self._standstill_seconds,
            fatal_programs=self._programs.fatal(),
            draining=self.draining,
            workers_alive=len(self.heartbeats),
            storage_free_bytes=self.disk.bytes if self.disk else -1,
            memory_working_set_bytes=memory.working_set if memory else 0,
            memory_limit_bytes=memory.limit if memory else 0,
            memory_container_bytes=self._guard.container_limit or 0,
            memory_source="processes" if self._guard.adds_up else "cgroup",
            programs=self._program_states(memory.processes.by_program if memory else {}),
            storage_used_bytes=-1 if (used := self.storage_used()) is None else used,
        )

    def local_worker_pids(self, host: str) -> dict[str, int]:
        """Return the process ids of this machine's workers whose heartbeats are lit, by process name."""
        return {
            name.rpartition("/")[2]: heartbeat.pid
            for name, heartbeat in self.heartbeats.items()
            if heartbeat.host == host
        }

    def _program_states(self, sizes: Mapping[str, int]) -> tuple[ProgramStatus, ...]:
        states = {SUPERVISOR: "RUNNING", **self._programs.states()}
        return tuple(ProgramStatus(name, state, sizes.get(name, -1)) for name, state in states.items())

    def _feel(self) -> None:
        turn, self._last_turn = self._clock() - self._last_turn, self._clock()
        writable = True
        try:
            try:
                self._ping()
                # Of a full memory only a write learns; a key that is gone again if nobody is here.
                self._redis.set(keys.PULSE, b"", ex=60)
            except redis.exceptions.ResponseError as fault:
                # It answers, if only that it cannot write: that is for whoever wants to write.
                if isinstance(fault, REDIS_AWAY) and not isinstance(fault, NO_WRITES):
                    raise
                writable = False
            heartbeats = self._heartbeats.alive()
            at_work = bool(self._redis.hlen(keys.RUNNING))
            moves = self._moves() or at_work
        except redis.RedisError:
            self.redis_up = False
            raise
        self._last_answer = self._clock()
        self.redis_up = True
        self.heartbeats = heartbeats
        # Only while Redis answers and takes writes: else no worker could be heard, and a restart would not
        # help. After an outage the workers need time to beat.
        # A worker whose native code holds the GIL says nothing, and holds a batch; the monitor ends it when it hangs.
        if heartbeats or at_work:
            self._no_worker_seconds = 0.0
        elif writable:
            self._no_worker_seconds += min(turn, LONGEST_TURN)
        if moves or not heartbeats or not writable:
            self._standstill_seconds = 0.0
        else:
            self._standstill_seconds += min(turn, LONGEST_TURN)

    def _ping(self) -> None:
        started = self._clock()
        try:
            self._redis.ping()
        finally:  # it may answer by an error, too
            self.ping_seconds = self._clock() - started

    def _moves(self) -> bool:
        """Return whether nothing waits, or something was taken or given back since the last look."""
        heads, before = self._queues.heads(), self._heads
        self._heads = heads
        return not any(heads.values()) or heads != before
