"""Clients: they submit bodies, repeat requests, cancel, delete, and read results."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import redis

from services.api.explain.plan import Plan, Task
from services.api.http.query import RowRange
from shared.errors import (
    JobNotFoundError,
    NotFoundError,
    PayloadMissingError,
    RedisUnavailableError,
    ShapboxError,
    StorageUnavailableError,
)
from shared.explanation import Matrix
from shared.jobs.document import Method, Status
from shared.jobs.store import Idempotency
from shared.redis.connection import is_outage
from tests.search.simulator.engine import MODEL, expected, rows_of
from tests.search.simulator.ledger import Ledger, Submission
from tests.search.simulator.site import Api, Site
from tests.search.simulator.world import Event, World

#: Seconds for which a client waits for an answer, and between two requests.
PATIENCE, PAUSE = 8.0, 0.7
#: Requests that a client repeats until it has an answer.
MOST_REQUESTS = 60


class NoAnswerError(Exception):
    """The request may or may not have been carried out."""


class Client:
    """Works for one submission; `first` is whether it may cancel or delete its job."""

    def __init__(
        self, world: World, site: Site, ledger: Ledger, submission: Submission, *, first: bool
    ) -> None:
        self._world = world
        self._site = site
        self._ledger = ledger
        self._submission = submission
        self._first = first

    def run(self) -> int:
        """Submit, and go on as clients do."""
        rng = self._world.rng
        self._world.wait(rng.uniform(0, 3))
        job_id = self._submit()
        if job_id is None:
            return 0
        plan = rng.choices(("watch", "cancel", "delete", "leave"), (6, 1, 1, 2))[0]
        if plan == "watch":
            self._watch(job_id)
        elif plan in {"cancel", "delete"} and self._first:
            self._world.wait(rng.choice((0.0, 0.01, 0.5, 3.0)))
            self._remove(job_id, only_cancel=plan == "cancel")
        return 0

    def _submit(self) -> str | None:
        """Return the job; None if it is unknown whether there is one."""
        for _ in range(MOST_REQUESTS if self._submission.key else 1):
            try:
                job_id = self._request("accept", self._accept)
            except NoAnswerError:
                self._world.wait(PAUSE)
                continue
            self._ledger.answered(self._submission, job_id)
            return job_id
        return None

    def _accept(self, api: Api) -> str:
        """Do as services.api.explain.submission does."""
        submission = self._submission
        idempotency = None
        if submission.key:
            digest = hashlib.sha256(str(submission.body).encode()).hexdigest()
            idempotency = Idempotency(submission.key, digest)
            if (known := api.store.known(idempotency)) is not None:
                return known.id
        plan = Plan(
            model_id=MODEL,
            fallback=False,
            method=Method.TREE_PATH_DEPENDENT,
            feature_names=("x",),
            output_names=("y",),
            engine="simulated",
            batch_rows=submission.batch_rows,
            interactions=None,
            spec=cast("Any", None),
        )
        body: Any = SimpleNamespace(size=submission.rows, chunks=lambda _spec: self._upload())
        return api.executor.run(Task(submission.name, plan, body, RowRange(), True, idempotency)).id

    def _upload(self) -> Iterator[Matrix]:
        rows = rows_of(self._submission.body, self._submission.rows)
        for start in range(0, len(rows), self._submission.batch_rows):
            self._world.wait(self._world.rng.choice((0.0, 0.0, 0.01, 1.0)))
            yield rows[start : start + self._submission.batch_rows]

    def _watch(self, job_id: str) -> None:
        """Read the job until it has ended, then its result."""
        for _ in range(MOST_REQUESTS):
            try:
                job = self._request("get", lambda api: api.store.get(job_id))
            except NoAnswerError:
                job = None
            except NotFoundError:
                if not self._submission.unwanted:
                    self._world.violate(f"job {job_id} is not there any more")
                return
            if job is not None:
                self._ledger.saw(job)
                if job.status.ended:
                    if job.status is Status.COMPLETED:
                        self._read(job_id)
                    return
            self._world.wait(PAUSE * 3)

    def _read(self, job_id: str) -> None:
        try:
            self._request("result", lambda api: read_result(api, self._submission, job_id))
        except NoAnswerError:
            return
        except (JobNotFoundError, PayloadMissingError) as fault:
            if not self._submission.unwanted:
                self._world.violate(f"the result of {job_id} cannot be read: {fault}")

    def _remove(self, job_id: str, *, only_cancel: bool) -> None:
        self._submission.unwanted = True
        req: Any = SimpleNamespace(params={"cancel": "true"} if only_cancel else {})
        try:
            self._request("delete", lambda api: api.jobs.on_delete(req, SimpleNamespace(), job_id))
        except (NoAnswerError, ShapboxError):
            return
        self._submission.unwanted_confirmed = True

    def _request[T](self, name: str, handle: Callable[[Api], T]) -> T:
        """Send a request to the api, as a thread of it."""
        api, slot = self._site.api, self._site.slot("api")
        if api is None or slot.process is None:
            raise NoAnswerError
        answered, answers = Event(), list[Any]()

        def serve() -> None:
            try:
                answers.append(handle(api))
            except ShapboxError as fault:
                answers.append(fault)
            except redis.RedisError as fault:
                if not is_outage(fault):
                    raise
                answers.append(NoAnswerError())
            finally:
                answered.set()

        self._world.say(f"requests {name}")
        self._world.spawn(slot.process, f"{name} {self._submission.name}", serve)
        answered.wait(PATIENCE)
        if not answers or isinstance(answers[0], (RedisUnavailableError, StorageUnavailableError)):
            raise NoAnswerError
        if isinstance(answers[0], Exception):
            raise answers[0]
        return cast("T", answers[0])


def read_result(api: Api, submission: Submission, job_id: str) -> None:
    """Check every value of a result. Raises AssertionError, and PayloadMissingError."""
    job, rows = api.store.get(job_id), rows_of(submission.body, submission.rows)
    for batch in range(job.batches):
        found = api.payloads.result(job, batch)
        wanted = expected(rows[job.rows_of(batch).start : job.rows_of(batch).stop])
        assert np.array_equal(found.array, wanted.array), f"batch {batch} of {job_id} has wrong values"
