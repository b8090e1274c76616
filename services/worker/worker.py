"""The RQ worker: takes batches from the queues, interactive ones first, and runs them."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

import redis
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.serializers import JSONSerializer

from services.worker.batch import BatchRunner
from services.worker.exits import OwnSize, start_drain_clock
from services.worker.heartbeat import HeartbeatThread
from shared import metrics
from shared.jobs.queue import Lane, rq_queue
from shared.log import log_context
from shared.metrics import RecycleReason
from shared.redis.connection import RedisClient, is_outage
from shared.timing import TIMING

logger = logging.getLogger(__name__)

#: After so many interactive batches in a row, a waiting bulk batch comes first.
INTERACTIVE_STREAK = 8
#: Seconds between two looks of an idle worker whether to return shap's memory.
SHAP_WAIT_SECONDS = 1
#: The names of a queue entry's arguments in the log.
ID_NAMES = ("job", "batch", "request")


@contextlib.contextmanager
def _ended_by_outages() -> Iterator[None]:
    """End RQ's loop in order where Redis is away or refuses writes.

    A fresh process connects anew. A batch that was taken and is not claimed yet is found again by shared.jobs.recovery.
    """
    try:
        yield
    except redis.RedisError as fault:
        if not is_outage(fault):
            raise
        logger.warning("worker exits and starts again: Redis is away", extra={"cause": str(fault)})
        raise StopRequested from fault


class BatchWorker(SimpleWorker):  # type: ignore[misc]  # RQ publishes no types
    """One process, one batch at a time, no fork: models stay warm in it."""

    log_result_lifespan = False
    #: The longest time in seconds between two attempts to reach Redis; RQ waits up to 60.
    max_connection_wait_time = 1.0

    def __init__(
        self,
        connection: RedisClient,
        runner: BatchRunner,
        heartbeat: HeartbeatThread,
        memory_limit_mb: int,
    ) -> None:
        self._runner = runner
        self._heartbeat = heartbeat
        self._size = OwnSize(memory_limit_mb * 2**20)
        #: Whether a run ended with an unexpected error: its batch may be to blame.
        self.broken = False
        #: The ids of the batch in hand, for the log.
        self._ids: Mapping[str, str | int] = {}
        #: The monotonic time at which RQ's registration was renewed.
        self._registered = float("-inf")
        self._streak = 0
        self._dequeuing = False
        name = runner.me.name.replace("/", "-")
        # Names are the same at each start. RQ would still know the process before, and refuse this one.
        connection.delete(f"{self.redis_worker_namespace_prefix}{name}")
        super().__init__(
            [rq_queue(connection, lane) for lane in Lane],
            name=name,
            connection=connection,
            serializer=JSONSerializer,
            worker_ttl=int(TIMING.rq_worker_ttl_seconds),
            log_job_description=False,
        )

    def serve(self) -> None:
        """Run batches until a stop signal or a reason to exit. Only the main thread may call this."""
        start_drain_clock(TIMING.worker_drain_seconds, self._leave_in_the_middle)
        self.work(logging_level="WARNING")

    def reorder_queues(self, reference_queue: Queue) -> None:
        """Order the queues for the next dequeue, after a batch from `reference_queue`."""
        self._streak = self._streak + 1 if reference_queue.name == Lane.INTERACTIVE else 0
        bulk_first = self._streak >= INTERACTIVE_STREAK
        self._ordered_queues = list(reversed(self.queues)) if bulk_first else self.queues[:]

    def check_for_suspension(self, burst: bool) -> None:  # noqa: FBT001  # RQ calls it
        """Wait while `rq suspend` holds; this begins each turn of RQ's loop, with a write to Redis."""
        with _ended_by_outages():
            super().check_for_suspension(burst)

    def run_maintenance_tasks(self) -> None:
        """Clean RQ's registries, at the start and then every ten minutes."""
        with _ended_by_outages():
            super().run_maintenance_tasks()

    def execute_job(self, job: Any, queue: Queue) -> None:
        """Run one batch, then decide whether to exit."""
        self._heartbeat.state = "busy"
        ids = dict(zip(ID_NAMES, job.args, strict=False))  # an earlier version sent two
        self._ids = {"request": ids.pop("request", ""), **ids}
        with log_context(**self._ids), _ended_by_outages():
            super().execute_job(job, queue)
        self._heartbeat.state = "idle"
        if self._has_grown() or self._runner.stopping.is_set() or self._returns_shap():
            self._stop_requested = True

    def perform_job(self, job: Any, queue: Queue, execution: Any) -> bool:
        """Run one batch and clear RQ's record of it; return whether that succeeded.

        This replaces RQ's own steps, which take seven more round trips to Redis for dependents, repeats, results and rate
        limits that batches do not have. RQ's name of the task is not used: entries of all versions are run here. Nor does
        RQ interrupt a long batch: the monitor knows what its worker waited for.

        A run raises hardly ever anything but errors of a Redis that is away. The batch then is still claimed by this process,
        and given back once the process has ended; the sweeper deletes RQ's record.
        """
        job_id, batch = job.args[:2]
        try:
            self._runner.run(job_id, batch)
            with self.connection.pipeline() as pipe:
                self.cleanup_execution(job, pipeline=pipe, execution=execution)
                pipe.delete(job.key)
                pipe.execute()
        except Exception as fault:
            self._runner.stopping.set()
            if is_outage(fault):
                logger.warning(
                    "batch abandoned: Redis is away or refuses writes", extra={"cause": str(fault)}
                )
            else:
                self.broken = True
                logger.exception("batch abandoned after an unexpected error")
                self.handle_job_failure(job, queue, exc_string=str(fault), execution=execution)
            return False
        return True

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Renew RQ's registration now and then; RQ asks five times a batch, with 15 round trips."""
        if pipeline is None and time.monotonic() - self._registered < TIMING.rq_registration_seconds:
            return
        self._registered = time.monotonic()
        try:
            super().heartbeat(timeout, pipeline)
        except redis.ResponseError as fault:  # where Redis is away, RQ waits for it
            if not is_outage(fault):
                raise
            logger.debug("RQ's registration is not renewed", extra={"cause": str(fault)})

    def set_state(self, state: str, pipeline: Any = None) -> None:
        """Remember the state without telling Redis: our heartbeat holds it."""
        del pipeline
        self._state = state

    def _has_grown(self) -> bool:
        pss = self._size.outgrown()
        if pss is None:
            return False
        sizes = {"pss_mb": pss >> 20, "limit_mb": self._size.limit >> 20}
        logger.warning("worker exits: it has grown beyond its limit", extra=sizes)
        self._runner.counters.add(metrics.WORKER_RECYCLES, RecycleReason.SELF)
        return True

    def _returns_shap(self) -> bool:
        """Return whether to exit and come back without shap."""
        if not self._runner.shap_return.is_due():
            return False
        logger.info("worker exits to return shap's memory: shap has not been used for a while")
        self._runner.counters.add(metrics.WORKER_RECYCLES, RecycleReason.SHAP)
        return True

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> Any:
        """Wait for the next batch; None if there is none and the worker exits.

        With shap loaded, the waits in Redis are short: unlike a signal, the end of one cannot lose a batch.
        """
        del max_idle_time
        while True:
            found = self._dequeue(timeout, SHAP_WAIT_SECONDS if self._runner.shap_return.is_loaded else None)
            if found is not None or self._stop_requested or self._returns_shap():
                return found

    def _dequeue(self, timeout: int | None, idle_seconds: int | None) -> Any:
        """Wait for the next batch. Only here a stop signal may raise: no batch is in hand yet.

        A batch that Redis returns at that very moment is lost, and found again by shared.jobs.recovery.
        """
        self._dequeuing = True
        try:
            if self._stop_requested:  # the signal came just before
                raise StopRequested
            with _ended_by_outages():  # RQ itself waits for a Redis that is away
                return super().dequeue_job_and_maintain_ttl(timeout, idle_seconds)
        finally:
            self._dequeuing = False

    def request_stop(self, signum: int, frame: Any) -> None:
        """Exit after the batch in hand, on SIGTERM or SIGINT. A second signal changes nothing.

        RQ would raise within the batch on the second one, which loses its work; SIGKILL does that sooner.
        """
        del frame
        if not self._runner.stopping.is_set():
            logger.info("worker stops on a signal", extra={"signal": signum})
        self._stop_requested = True
        self._runner.stopping.set()
        if self._dequeuing:
            raise StopRequested

    def _leave_in_the_middle(self) -> None:
        """End the process during a batch that takes too long; another worker runs the batch.

        Results are stored as a whole or not at all, so there is nothing to wait for.
        """
        with log_context(**self._ids):  # the thread of the drain clock has its own context
            seconds = TIMING.worker_drain_seconds
            logger.warning("worker exits during its batch", extra={"after_seconds": seconds})
            try:
                self._runner.let_go()
                self._runner.counters.flush()
            except redis.RedisError as fault:  # the monitor sees this process end, and hands the batch back
                logger.warning("batch not handed back", extra={"cause": str(fault)})
        os._exit(0)
