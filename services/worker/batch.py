"""One batch's run: claim, read, explain, store, record.

What if the worker dies between two of these steps? The batch's state says that this worker holds it, its
life is over, and whoever notices gives the batch to the next one, which does all of it again. Storing is
atomic and says the same each time; recording counts a batch once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Event

import redis
from redis.exceptions import ResponseError

from services.worker.models import WarmModels
from services.worker.slices import explain_in_slices
from shared.appliance.counters import Counters
from shared.appliance.heartbeats import Beacon
from shared.engines.calls import EngineCalls
from shared.errors import (
    EngineError,
    EngineFaultError,
    JobNotFoundError,
    MethodRefusedError,
    ModelFaultError,
    ModelNotFoundError,
    ModelRefusedError,
    PayloadMissingError,
    ShapboxError,
    StorageFullError,
    StorageUnavailableError,
)
from shared.explanation import Explanation
from shared.jobs.document import Job, Method
from shared.jobs.recovery import Blame, Recovery
from shared.jobs.store import JobStore
from shared.jobs.transitions import Claim, Completion, Release
from shared.models.activation.records import ExplanationKind
from shared.models.version import ModelVersion
from shared.objects.payloads import Matrix, Payloads
from shared.redis.connection import REDIS_AWAY, writes_refused
from shared.summary.sample import keeps_summary
from shared.summary.summary import Summary

logger = logging.getLogger(__name__)

#: What another try would not change: the job fails the first time.
PERMANENT = (
    EngineError,
    EngineFaultError,
    MethodRefusedError,
    ModelFaultError,
    ModelNotFoundError,
    ModelRefusedError,
    PayloadMissingError,
)
#: Seconds to wait before work goes on after the object store failed: the batch is handed back meanwhile.
STORAGE_PAUSE = 5.0


class NotOursError(Exception):
    """The batch in hand is not this worker's to run any more."""

    def __init__(self, claim: Claim) -> None:
        """`claim` is what was answered in the middle of the batch."""
        super().__init__(claim.value)
        self.claim = claim


class Outcome(StrEnum):
    """How far a run came, where neither the claim nor the completion tells."""

    FAILED = "failed"
    HANDED_BACK = "handed back"


@dataclass(slots=True)
class BatchRunner:
    """What a run needs. One thread uses it; `let_go` is for another."""

    store: JobStore
    payloads: Payloads
    models: WarmModels
    counters: Counters
    recovery: Recovery
    me: Beacon
    stopping: Event
    #: Told after each batch that shap explained.
    on_shap: Callable[[], object] = field(default=bool, init=False)
    #: Told between two slices of a batch.
    on_slice: Callable[[], object] = field(default=bool, init=False)
    _in_hand: tuple[str, int] | None = field(default=None, init=False)

    def run(self, job_id: str, batch: int) -> Claim | Completion | Outcome:
        """Run one batch and return how far it came.

        Raises what REDIS_AWAY lists, and ResponseError when Redis refuses writes: the batch then stays in
        this worker's hands until it is known to be gone, and runs again.
        """
        claim = self.store.transitions.claim(job_id, batch, self.me.name, self.me.token)
        if claim is not Claim.RUN:
            logger.info("batch is not run", extra={"claim": claim.value})
            return claim
        self._in_hand = (job_id, batch)
        try:
            outcome = self._attempt(job_id, batch)
            return self._give_back_too_large(job_id, batch) if outcome is None else outcome
        finally:
            self._in_hand = None

    def _attempt(self, job_id: str, batch: int) -> Claim | Completion | Outcome | None:
        """Run a claimed batch; None says that memory ran out: only outside of here is what it took free again."""
        try:
            return self._run_claimed(job_id, batch)
        except JobNotFoundError:
            self._hand_back(job_id, batch, Blame.NONE)
            return Claim.GONE
        except NotOursError as end:
            logger.info("batch is not run to its end", extra={"claim": end.claim.value})
            self._hand_back(job_id, batch, Blame.NONE)  # an ended job's batch is still written down as ours
            return end.claim
        except PERMANENT as fault:
            return self._give_up(job_id, batch, fault)
        except (StorageUnavailableError, StorageFullError) as fault:
            self._put_off(job_id, batch, fault)
        except MemoryError:
            return None
        except REDIS_AWAY:
            raise
        except Exception as fault:
            if isinstance(fault, ResponseError) and writes_refused(fault):
                raise  # a full disk or memory, not the batch
            logger.exception("batch handed back: its run broke")
            self._hand_back(job_id, batch, Blame.DEATH)
        return Outcome.HANDED_BACK

    def let_go(self) -> None:
        """Give the batch in hand, if any, to another worker: this one is about to be gone.

        Raises what REDIS_AWAY lists.
        """
        if in_hand := self._in_hand:
            self._hand_back(*in_hand, Blame.NONE)

    def _hand_back(self, job_id: str, batch: int, blame: Blame, *, front: bool = True) -> None:
        if self.recovery.hand_back(job_id, batch, self.me, blame, front=front) is Release.REQUEUE:
            self.counters.add("batches_recovered_total", "handed_back")

    def _give_back_too_large(self, job_id: str, batch: int) -> Outcome:
        logger.error("batch handed back: it needs more memory than a worker may take")
        self._hand_back(job_id, batch, Blame.DEATH)
        self.stopping.set()  # whatever it left behind in this process is best forgotten
        return Outcome.HANDED_BACK

    def _put_off(self, job_id: str, batch: int, fault: ShapboxError) -> None:
        """Give a batch back whose objects cannot be had now, after all others: they may be had.

        Where the store works otherwise it may be this batch's objects that never can: that counts against it a little.
        """
        works = isinstance(fault, StorageUnavailableError) and self._store_works()
        logger.warning(
            "batch handed back: the object store fails", extra={"cause": str(fault), "works_otherwise": works}
        )
        self._hand_back(job_id, batch, Blame.UNEXPLAINED if works else Blame.NONE, front=False)
        self.stopping.wait(STORAGE_PAUSE)

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
            result, residual = self._explain(job, batch, rows)
            if job.interactions is not None:
                interactions, off = self._interactions(job, batch, rows, result)
                residual = max(residual, off)
        except EngineFaultError:
            self.counters.add("engine_faults_total", job.model)
            raise
        explanation = Explanation(result)
        summary = Summary.of_batch(job, batch, rows, explanation).arrays if keeps_summary(job) else ()
        self.payloads.put_result(job, batch, rows, explanation, interactions=interactions, summary=summary)
        outcome = self.store.transitions.complete(job_id, batch, len(job.rows_of(batch)), job.model, residual)
        self._count(job, outcome, time.monotonic() - started)
        return outcome

    def _explain(self, job: Job, batch: int, rows: Matrix) -> tuple[Matrix, float]:
        """Return the rows' result, (rows, outputs, features + 2), as the engine gives it, and its largest residual.

        Raises EngineFaultError if the engine breaks, or its sums are off.
        """
        model = self.models.get(job.model)
        calls = self._calls(model.version, job.method, job.rows_of(batch).start)
        try:
            engine = calls.call(model.engine, job.method)
            result = explain_in_slices(engine, rows, calls, lambda: self._go_on(job.id, batch))
        finally:
            if model.uses_shap(job.method):
                self.on_shap()
        return result, calls.largest_residual

    def _interactions(self, job: Job, batch: int, rows: Matrix, result: Matrix) -> tuple[Matrix, float]:
        """Return the rows' interactions and their largest residual; 0 where only the engine can check them.

        Raises EngineFaultError if the engine breaks, or its sums are off.
        """
        assert job.interactions is not None
        model = self.models.get(job.model)
        calls = self._calls(model.version, ExplanationKind.INTERACTIONS, job.rows_of(batch).start)
        engine = calls.call(lambda: model.interaction_engine)
        found = calls.call(engine.interactions, rows, result, job.interactions)
        if job.interactions.top_pairs is None:
            calls.check_matrices(found, result)
        return found, calls.largest_residual

    def _calls(self, version: ModelVersion, wanted: Method | ExplanationKind, first_row: int) -> EngineCalls:
        return EngineCalls(version.method_record(wanted).engine or "unknown", version.id, first_row)

    def _go_on(self, job_id: str, batch: int) -> None:
        """Say that this worker is still at it. Raises NotOursError if it need not be."""
        self.on_slice()
        try:
            claim = self.store.transitions.claim(job_id, batch, self.me.name, self.me.token)
        except redis.RedisError as fault:
            if not (isinstance(fault, REDIS_AWAY) or writes_refused(fault)):
                raise
            # The values are wanted still, and Redis is not needed before they are there. Nobody is called hung meanwhile.
            logger.info("batch goes on without Redis", extra={"cause": str(fault)})
            return
        if claim is not Claim.RUN:
            raise NotOursError(claim)

    def _give_up(self, job_id: str, batch: int, fault: ShapboxError) -> Outcome:
        """Fail the job for a reason that another try would not change."""
        # A job that ended before (cancelled, and its rows deleted) has not failed.
        if self.store.fail(job_id, fault.slug, f"Batch {batch}: {fault}"):
            logger.error(
                "job failed",
                extra={"problem": fault.slug, "detail": str(fault)},
                exc_info=_broken_engine(fault),
            )
        self._hand_back(job_id, batch, Blame.NONE)
        return Outcome.FAILED

    def _count(self, job: Job, outcome: Completion, seconds: float) -> None:
        logger.info("batch explained", extra={"outcome": outcome.value, "seconds": round(seconds, 4)})
        self.counters.observe("batch_seconds", seconds)
        if outcome is Completion.COMPLETED:
            # The api's clock wrote that, and may be another machine's: a sum that falls would count as a restart.
            self.counters.observe("job_seconds", max(0.0, time.time() - job.created_at))


def _broken_engine(fault: ShapboxError) -> BaseException | None:
    """Return what an engine raised, whose traceback says where it broke; None for all else, whose message says all."""
    return fault.__cause__ if isinstance(fault, EngineFaultError) else None
