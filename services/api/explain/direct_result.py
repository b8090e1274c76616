"""A result that was made on the spot, as the writers want it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.api.explain.plan import Matrix
from services.api.results.names import JobNames
from shared.jobs.document import Job
from shared.models.catalog import ModelCatalog


@dataclass(frozen=True, slots=True)
class DirectResult:
    """The rows that are wanted of `values`, rows x outputs x (features + 2). Implements services.api.results' ResultPages."""

    job: Job
    values: Matrix
    feature_names: Sequence[str]
    output_names: Sequence[str]

    @classmethod
    def of(cls, job: Job, values: Matrix, wanted: range, catalog: ModelCatalog) -> DirectResult:
        """Take the rows `wanted` of a job's values."""
        names = JobNames.of(job, catalog)
        return cls(job, values[wanted.start : wanted.stop], names.features, names.outputs)

    @property
    def job_id(self) -> str | None:
        """The job that made it; None if none was kept."""
        return self.job.id or None

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
        return len(self.values)

    @property
    def numbers(self) -> int:
        """How many float32 they have."""
        return int(self.values.size)

    def blocks(self) -> Iterator[Matrix]:
        """Yield them, in one block."""
        if len(self.values):
            yield self.values
