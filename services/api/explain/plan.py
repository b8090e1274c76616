"""What goes through the intake of a request with rows: what came in, what is to be done with it, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from services.api.rows.request_body import RequestBody
from services.api.rows.row_spec import RowSpec
from shared.interactions import Interactions
from shared.jobs.document import Job, Method
from shared.jobs.store import Idempotency
from shared.models.version import ModelVersion

type Matrix = NDArray[np.float32]


class Urgency(Enum):
    """What the client waits for."""

    #: Nothing: it comes back for the job.
    LATER = auto()
    #: The job's end: it may come back for the result.
    JOB = auto()
    #: The values, and nothing else.
    VALUES = auto()


@dataclass(frozen=True, slots=True)
class Checks:
    """What may refuse a request by raising: by its number of rows, and by what it wants beside values."""

    rows: Callable[[int], object] = bool
    interactions: Callable[[Interactions | None], object] = bool


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request whose rows are about to be read."""

    request: str
    body: RequestBody
    idempotency: Idempotency | None
    checks: Checks

    def chunks(self, spec: RowSpec) -> Iterator[Matrix]:
        """Read the rows from the body's start, in chunks. Raises what is wrong with them."""
        return self.body.chunks(spec)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with the rows."""

    model: ModelVersion
    method: Method
    batch_rows: int
    interactions: Interactions | None = None

    def spec(self, max_rows: int) -> RowSpec:
        """Return what the reader must know."""
        return RowSpec.of(self.model.contract, self.batch_rows, max_rows)

    def job(self, job_id: str, rows: int, request: str) -> Job:
        """Return the job of so many rows."""
        return Job(
            id=job_id,
            model=self.model.id,
            method=self.method,
            rows=rows,
            batch_rows=self.batch_rows,
            features=len(self.model.features),
            outputs=len(self.model.outputs),
            fallback=self.model.fallback,
            created_at=time.time(),
            request=request,
            interactions=self.interactions,
        )


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job that a request led to.

    With `values`, of shape (rows, outputs, features + 2), it was explained on the spot. Where its id is empty, it was
    kept nowhere: the values are all that there is.
    """

    job: Job
    values: Matrix | None = None
