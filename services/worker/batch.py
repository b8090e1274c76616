"""Runs one batch: claim, read, explain, store, record.

A worker may die between any two steps. The batch's record then names a worker that is gone; the monitor gives the batch
back, and another worker runs it from the start. Storing is atomic and writes the same bytes each time; recording counts
a batch once.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Event

import redis

from services.worker.exits import ShapReturn
from services.worker.models import WarmModels
from shared import metrics
from shared.appliance.counters import Counters
from shared.appliance.heartbeats import Heartbeat
from shared.engines.checks import EngineCalls
from shared.engines.shap_engine import ShapEngine
from shared.errors import (
    EngineFaultError,
    JobNotFoundError,
    ShapboxError,
    StorageFullError,
    StorageUnavailableError,
)
from shared.explanation import Explanation, Matrix
from shared.jobs.document import Job, Method
from shared.jobs.recovery import Blame, Recovery
from shared.jobs.store import JobStore
from shared.jobs.transitions import Claim, Completion, Release
from shared.metrics import RecoveryCause
from shared.models.activation.records import ExplanationKind
from shared.models.version import ModelVersion
from shared.objects.payloads import Payloads
from shared.redis.connection import is_outage
from shared.summary.summary import Summary, keeps_summary
from shared.timing import TIMING

logger = logging.getLogger(__name__)


class NotOursError(Exception):
    """Another claim found that this worker no longer holds the batch."""

    def __init__(self, claim: Claim) -> None:
        super().__init__(claim.value)
        self.claim = claim


class Outcome(StrEnum):
    """The end of a run that was neither refused by its claim nor recorded."""

    FAILED = "failed"
    HANDED_BACK = "handed back"


@dataclass(slots=True)
class BatchRunner:
    """Runs batches. One thread uses it; only `let_go` is for another."""

    store: JobStore
    payloads: Payloads
    models: WarmModels
    counters: Counters
    recovery: Recovery
    me: Heartbeat
    #: Set when the worker is to exit after this batch.
    stopping: Event
    shap_return: ShapReturn
    _in_hand: tuple[str, int] | None = field(default=None, init=False)

    def run(self, job_id: str, batch: int) -> Claim | Completion | Outcome:
        """Run one batch.

        Raises the exceptions in REDIS_AWAY, and ResponseError when Redis refuses writes: the batch stays claimed by this
        worker until the worker is known to be gone, and then runs again.
        """
        claim = self.store.transitions.claim(job_id, batch, self.me.name, self.me.token)
        if claim is not Claim.RUN:
            logger.info("batch not run", extra={"claim": claim.value})
            return claim
        self._in_hand = (job_id, batch)
        try:
            outcome = self._attempt(job_id, batch)
            if outcome is None:  # memory ran out, and is free again now that the attempt has ended
                logger.error("batch handed back: it needs more memory than a worker may use")
                self._hand_back(job_id, batch, Blame.DEATH)
                self.stopping.set()  # a fresh process has no memory left over from it
            return outcome or Outcome.HANDED_BACK
        finally:
            self._in_hand = None

    def _attempt(self, job_id: str, batch: int) -> Claim | Completion | Outcome | None:
        """Run a claimed batch; None if memory ran out."""
        try:
            return self._run_claimed(job_id, batch)
        except JobNotFoundError:
            self._hand_back(job_id, batch, Blame.NONE)
            return Claim.GONE
        except NotOursError as stop:
            logger.info("batch stopped between two slices", extra={"claim": stop.claim.value})
            self._hand_back(job_id, batch, Blame.NONE)  # a batch of an ended job is still recorded as ours
            return stop.claim
        except (StorageUnavailableError, StorageFullError) as fault:
            self._put_off(job_id, batch, fault)
        except ShapboxError as fault:
            return self._give_up(job_id, batch, fault)
        except MemoryError:
            return None
        except Exception as fault:
            if is_outage(fault):
                raise  # the batch is not to blame
            logger.exception("batch handed back after an unexpected error")
            self._hand_back(job_id, batch, Blame.DEATH)
        return Outcome.HANDED_BACK

    def let_go(self) -> None:
        """Hand back the batch in hand, if any, before an exit. Raises the exceptions in REDIS_AWAY."""
        if in_hand := self._in_hand:
            self._hand_back(*in_hand, Blame.NONE)

    def _hand_back(self, job_id: str, batch: int, blame: Blame, *, front: bool = True) -> None:
        if self.recovery.hand_back(job_id, batch, self.me, blame, front=front) is Release.REQUEUE:
            self.counters.add(metrics.BATCHES_RECOVERED, RecoveryCause.HANDED_BACK)

    def _put_off(self, job_id: str, batch: int, fault: ShapboxError) -> None:
        """Queue a batch behind all others, since its objects cannot be read or written now.

        If the store works otherwise, the fault may lie in this batch's objects: that counts a little against it.
        """
        works = isinstance(fault, StorageUnavailableError) and self._store_works()
        logger.warning(
            "batch handed back: the object store fails", extra={"cause": str(fault), "works_otherwise": works}
        )
        self._hand_back(job_id, batch, Blame.UNEXPLAINED if works else Blame.NONE, front=False)
        self.stopping.wait(TIMING.storage_pause_seconds)

    def _store_works(self) -> bool:
        try:
            self.payloads.probe()
        except ShapboxError:
            return False
        return True

    def _run_claimed(self, job_id: str, batch: int) -> Completion:
        started = time.monotonic()
        job = self.store.get(job_id)
        rows = self.payloads.rows(job, batch)
        interactions = None
        try:
            explanation, residual = self._explain(job, batch, rows)
            if job.interactions is not None:
                interactions, other_residual = self._interactions(job, batch, rows, explanation)
                residual = max(residual, other_residual)
        except EngineFaultError:
            self.counters.add(metrics.ENGINE_FAULTS, job.model)
            raise
        summary = Summary.of_batch(job, batch, rows, explanation).arrays if keeps_summary(job) else ()
        self.payloads.put_result(job, batch, rows, explanation, interactions=interactions, summary=summary)
        outcome = self.store.transitions.complete(job_id, batch, len(job.rows_of(batch)), job.model, residual)
        self._count(job, outcome, time.monotonic() - started)
        return outcome

    def _explain(self, job: Job, batch: int, rows: Matrix) -> tuple[Explanation, float]:
        """Return the rows' explanation and its largest residual.

        The engine explains at most `rows_at_once` at a time. A batch of more was planned for the compiled engine, whose
        tables this worker cannot use, or by BATCH_ROWS. In one call it might outlast BATCH_TIMEOUT_SECONDS, and its worker
        would be taken for hung.

        Raises EngineFaultError for an exception in the engine and for wrong sums, NotOursError as `_keep_claim` does.
        """
        model = self.models.get(job.model)
        calls = _calls(model.version, job.method, job.rows_of(batch).start)
        engine = calls.call(model.engine, job.method)
        most = engine.rows_at_once or len(rows)
        try:
            parts = [calls.explain(engine.explain, rows[:most])]
            for begin in range(most, len(rows), most):
                self._keep_claim(job.id, batch)
                parts.append(calls.explain(engine.explain, rows[begin : begin + most], begin))
        finally:
            if isinstance(engine, ShapEngine):
                self.shap_return.used()
        return Explanation.concatenate(parts) if len(parts) > 1 else parts[0], calls.largest_residual

    def _interactions(
        self, job: Job, batch: int, rows: Matrix, explanation: Explanation
    ) -> tuple[Matrix, float]:
        """Return the rows' interactions and their largest residual; 0 if only the engine can check.

        Raises EngineFaultError for an exception in the engine and for wrong sums.
        """
        assert job.interactions is not None
        model = self.models.get(job.model)
        calls = _calls(model.version, ExplanationKind.INTERACTIONS, job.rows_of(batch).start)
        engine = calls.call(lambda: model.interaction_engine)
        found = calls.call(engine.interactions, rows, explanation, job.interactions)
        if job.interactions.top_pairs is None:
            calls.check_matrices(found, explanation)
        return found, calls.largest_residual

    def _keep_claim(self, job_id: str, batch: int) -> None:
        """Renew the claim between two slices. Raises NotOursError if this worker has lost it."""
        try:
            claim = self.store.transitions.claim(job_id, batch, self.me.name, self.me.token)
        except redis.RedisError as fault:
            if not is_outage(fault):
                raise
            # The values are still wanted, and Redis is not needed before they are complete. Without it no worker is
            # taken for hung.
            logger.info("batch goes on without Redis", extra={"cause": str(fault)})
            return
        if claim is not Claim.RUN:
            raise NotOursError(claim)

    def _give_up(self, job_id: str, batch: int, fault: ShapboxError) -> Outcome:
        """Fail the job for a fault that another attempt would repeat."""
        # A job that ended before (cancelled, and its rows deleted) has not failed.
        if self.store.fail(job_id, fault.slug, f"Batch {batch}: {fault}"):
            # An engine's traceback shows where it failed; the messages of all other faults are enough.
            cause = fault.__cause__ if isinstance(fault, EngineFaultError) else None
            logger.error(
                "job failed", extra={"problem": fault.slug, "detail": str(fault)}, exc_info=cause or False
            )
        self.counters.flush()  # an alert depends on it, and the next batch may kill this worker
        self._hand_back(job_id, batch, Blame.NONE)
        return Outcome.FAILED

    def _count(self, job: Job, outcome: Completion, seconds: float) -> None:
        logger.info("batch explained", extra={"outcome": outcome.value, "seconds": round(seconds, 4)})
        self.counters.observe(metrics.BATCH_SECONDS, seconds)
        if outcome is Completion.COMPLETED:
            # `created_at` is by the api's clock, perhaps of another machine: a sum that falls would look like a restart.
            self.counters.observe(metrics.JOB_SECONDS, max(0.0, time.time() - job.created_at))


def _calls(version: ModelVersion, wanted: Method | ExplanationKind, first_row: int) -> EngineCalls:
    return EngineCalls(version.method_record(wanted).engine or "unknown", version.id, first_row)
