"""A job's result as the writers want it: block by block out of the object store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.api.results.names import JobNames
from shared.jobs.document import Job
from shared.models.catalog import ModelCatalog
from shared.objects.payloads import Payloads

#: Numbers that one block has, at most, unless one row has more: text of it stays below what glibc asks the kernel for each
#: time (128 kB), and below what waits in memory for the client.
BLOCK_NUMBERS = 8_192


@dataclass(frozen=True, slots=True)
class StoredResult:
    """The rows `wanted` of a completed job's result. Implements services.api.results' ResultPages."""

    job: Job
    wanted: range
    payloads: Payloads
    feature_names: Sequence[str]
    output_names: Sequence[str]

    @classmethod
    def of(cls, job: Job, wanted: range, payloads: Payloads, catalog: ModelCatalog) -> StoredResult:
        """Take the rows `wanted` of a job's result."""
        names = JobNames.of(job, catalog)
        return cls(job, wanted, payloads, names.features, names.outputs)

    @property
    def job_id(self) -> str | None:
        """The job that made it."""
        return self.job.id

    @property
    def model(self) -> str:
        """The model as NAME@VERSION."""
        return self.job.model

    @property
    def method(self) -> str:
        """The method's name."""
        return self.job.method.value

    @property
    def rows(self) -> int:
        """How many rows are wanted."""
        return len(self.wanted)

    @property
    def numbers(self) -> int:
        """How many float32 all blocks have together."""
        return self.rows * self._row_numbers

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield rows x outputs x (features + 2), in order. Raises PayloadMissingError if the job is deleted."""
        if not self.rows:
            return
        step = max(1, BLOCK_NUMBERS // self._row_numbers)
        size = self.job.batch_rows
        for batch in range(self.wanted.start // size, (self.wanted.stop - 1) // size + 1):
            matrix = self.payloads.result(self.job, batch).array
            start = max(self.wanted.start - batch * size, 0)
            stop = min(self.wanted.stop - batch * size, len(matrix))
            for first in range(start, stop, step):
                yield matrix[first : min(first + step, stop)]

    @property
    def _row_numbers(self) -> int:
        return self.job.outputs * (self.job.features + 2)
