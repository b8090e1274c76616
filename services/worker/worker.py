"""The RQ worker: serves the interactive lane first without starving bulk, and leaves when it grows."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import redis
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.utils import now

from services.worker.batch import BatchRunner
from services.worker.exits.drain_clock import DrainClock
from services.worker.exits.own_size import OwnSize
from services.worker.exits.shap_return import ShapReturn
from services.worker.heartbeat import Heartbeat
from shared.jobs.queue import Lane
from shared.log import log_context
from shared.redis.connection import REDIS_AWAY, writes_refused

logger = logging.getLogger(__name__)

#: After so many interactive batches in a row, a waiting bulk batch comes first.
INTERACTIVE_STREAK = 8
#: Seconds that RQ waits in BLPOP at most, plus 15. Bounds how long a stop signal can go unheard.
RQ_WORKER_TTL = 30
#: Seconds after a stop signal until a batch is left in the middle. supervisord's stopwaitsecs is longer.
DRAIN_SECONDS = 12.0
#: What the task's arguments are called on each line of the log about a batch.
ID_NAMES = ("job", "batch", "request")
#: Seconds between two renewals of RQ's registration, which lives for RQ_WORKER_TTL and a minute.
HEARTBEAT_SECONDS = 10


class BatchWorker(SimpleWorker):  # type: ignore[misc]  # RQ publishes no types
    """One process, one batch at a time, no fork: models stay warm in it."""

    log_result_lifespan = False
    #: Seconds between two tries to reach a Redis that is away, at most; RQ waits up to 60.
    max_connection_wait_time = 1.0
    #: Whether a run ended in a way that nobody foresaw: its batch may be to blame.
    broken = False
    #: The ids of the batch at hand, for lines about it: job, batch, and the request that sent them.
    _ids: Mapping[str, str | int] = MappingProxyType({})
    #: When RQ's registration was renewed last, by the monotonic clock. RQ does so before `attach`, too.
    _registered = float("-inf")

    def attach(
        self, heartbeat: Heartbeat, runner: BatchRunner, memory_limit_mb: int, shap_return: ShapReturn
    ) -> None:
        """Give the worker what RQ's constructor knows nothing of. Only the main thread may."""
        self._heartbeat = heartbeat
        self._runner = runner
        self._shap_return = shap_return
        runner.on_shap = shap_return.used
        runner.on_slice = self._begin_time_anew
        self._counters = runner.counters
        self._stopping = runner.stopping
        self._size = OwnSize(memory_limit_mb * 2**20)
        self._streak = 0
        self._dequeuing = False
        DrainClock(DRAIN_SECONDS, self._leave_in_the_middle).start()

    def reorder_queues(self, reference_queue: Queue) -> None:
        """Decide which lane the next dequeue looks at first, after one from `reference_queue`."""
        self._streak = self._streak + 1 if reference_queue.name == Lane.INTERACTIVE else 0
        bulk_first = self._streak >= INTERACTIVE_STREAK
        self._ordered_queues = list(reversed(self.queues)) if bulk_first else self.queues[:]

    def execute_job(self, job: Any, queue: Queue) -> None:
        """Run one batch, then see to memory."""
        self._heartbeat.say("busy")
        self._batch_seconds = job.timeout
        ids = dict(zip(ID_NAMES, job.args, strict=False))  # an earlier version sent two
        self._ids = {"request": ids.pop("request", ""), **ids}
        with log_context(**self._ids):
            super().execute_job(job, queue)
        self._heartbeat.say("idle")
        if self._stopping.is_set():
            self._stop_requested = True
        self._leave_if_grown()
        if not self._stop_requested and self._gives_shap_back():
            self._stop_requested = True

    def prepare_job_execution(
        self, job: Any, remove_from_intermediate_queue: bool = False
    ) -> None:  # RQ's signature
        """Leave RQ's record as `prepare_execution` has just written it: our claim says the rest."""

    def handle_job_failure(self, *args: Any, **kwargs: Any) -> None:
        """Leave after a run that raised, which usually only a Redis that went away brings about.

        The batch is still written down as this worker's; the next life's token says that it is not. Where it was
        anything else, its giving back broke, and the exit code says that this is no leaving in order.
        """
        self.broken = not _is_redis_away(sys.exception())
        self._stop_requested = True
        super().handle_job_failure(*args, **kwargs)

    def handle_exception(self, job: Any, *exc_info: Any) -> None:
        """Log why a run raised, as one record. RQ would write the traceback into the message, and an outage as an error."""
        del job
        if _is_redis_away(exc_info[1]):
            logger.warning(
                "batch left behind: Redis is away, or refuses writes", extra={"cause": str(exc_info[1])}
            )
        else:
            logger.error("the batch's run broke", exc_info=exc_info)

    def handle_execution_ended(self, job: Any, queue: Queue, heartbeat_ttl: int) -> None:
        """Note the end. RQ would renew the lease of a job whose record goes in the next step."""
        del queue, heartbeat_ttl
        job.ended_at = now()

    def handle_job_success(self, job: Any, queue: Queue, started_job_registry: Any, execution: Any) -> None:
        """Clear RQ's record of a batch, in one round trip.

        RQ looks for dependents, repeats, results and rate limits first, which takes seven; batches have none.
        """
        del queue, started_job_registry
        with self.connection.pipeline() as pipe:
            self.cleanup_execution(job, pipeline=pipe, execution=execution)
            pipe.delete(job.key)
            pipe.execute()

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Renew RQ's registration now and then: RQ calls this five times a batch, three round trips each."""
        if pipeline is None and time.monotonic() - self._registered < HEARTBEAT_SECONDS:
            return
        self._registered = time.monotonic()
        super().heartbeat(timeout, pipeline)

    def set_state(self, state: str, pipeline: Any = None) -> None:
        """Remember the state, and tell Redis nothing: the beacon says idle or busy, and RQ would do so twice a batch."""
        del pipeline
        self._state = state

    def _begin_time_anew(self) -> None:
        """Set RQ's alarm again, which would break the batch off: its time, like the monitor's, is a slice's."""
        signal.alarm(self._batch_seconds)

    def _leave_if_grown(self) -> None:
        pss = self._size.outgrown()
        if pss is None:
            return
        logger.warning(
            "worker leaves: it has grown", extra={"pss_mb": pss >> 20, "limit_mb": self._size.limit >> 20}
        )
        self._counters.add("worker_recycles_total", "self")
        self._counters.flush()
        self._stop_requested = True

    def _gives_shap_back(self) -> bool:
        """Return whether to leave for a life without shap."""
        if not self._shap_return.is_due():
            return False
        logger.info("worker leaves, to come back without shap: nobody has asked for its values for a while")
        self._counters.add("worker_recycles_total", "shap")
        return True

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> Any:
        """Wait for the next batch; None says that there is none and that the worker leaves.

        With shap to be given back Redis itself ends the wait, with a batch or without: unlike a signal, that
        cannot lose one on its way.
        """
        del max_idle_time
        while True:
            found = self._dequeue(timeout, self._shap_return.wait_seconds())
            if found is not None or self._stop_requested or self._gives_shap_back():
                return found

    def _dequeue(self, timeout: int | None, idle_seconds: int | None) -> Any:
        """Wait for the next batch. Only here may a stop signal break in: nothing is at hand yet.

        A batch that Redis hands out in that very moment is lost on its way, and found again by
        shared.jobs.recovery.
        """
        self._dequeuing = True
        try:
            if self._stop_requested:  # the signal came just before
                raise StopRequested
            return super().dequeue_job_and_maintain_ttl(timeout, idle_seconds)
        finally:
            self._dequeuing = False

    def request_stop(self, signum: int, frame: Any) -> None:
        """Leave after the batch at hand, on SIGTERM or SIGINT. A second signal changes nothing.

        RQ would raise into the batch on the second one, which loses its work and saves no time: whoever is
        in a hurry has SIGKILL.
        """
        del frame
        if not self._stopping.is_set():
            logger.info("worker leaves on a signal", extra={"signal": signum})
        self._stop_requested = True
        self._stopping.set()
        if self._dequeuing:
            raise StopRequested

    def _leave_in_the_middle(self) -> None:
        """End the process in the middle of a batch that takes too long; another worker runs it.

        Results are stored whole or not at all, so there is nothing to wait for.
        """
        with log_context(**self._ids):  # another thread's than the batch's
            logger.warning("worker leaves in the middle of its batch", extra={"after_seconds": DRAIN_SECONDS})
            try:
                self._runner.let_go()
                self._counters.flush()
            except redis.RedisError as fault:  # whoever sees this process end gives the batch back
                logger.warning("batch not handed back", extra={"cause": str(fault)})
        os._exit(0)


def _is_redis_away(fault: BaseException | None) -> bool:
    return isinstance(fault, REDIS_AWAY) or (fault is not None and writes_refused(fault))
