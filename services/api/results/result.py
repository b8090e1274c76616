"""The rows of a result as the writers get them, whether they were explained just now or are in the object store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import ModelNotFoundError, ModelRefusedError
from shared.explanation import Explanation
from shared.interactions import Interactions
from shared.jobs.document import Job
from shared.models.catalog import ModelCatalog
from shared.models.contract import Feature
from shared.objects.payloads import Payloads

#: Numbers of one block, at most, unless one row has more. As text they stay below what glibc requests from the kernel
#: each time (128 kB), and below what waits in memory for the client.
BLOCK_NUMBERS = 8_192
#: Numbers of interactions that are read at a time; as text they take some five times as many bytes.
SPAN_NUMBERS = 131_072

type Matrix = NDArray[np.float32]


class ResultInteractions(Protocol):
    """The interactions of a result's rows. Both methods may be called several times."""

    @property
    def wanted(self) -> Interactions:
        """Which interactions they are."""

    def pieces(self) -> Iterator[Matrix]:
        """Yield them in order as Interactions.shape has them: some rows, or some lines of one row's matrices.

        Lines come as (1, outputs, lines, features + 1), down to that of the last feature.
        """

    def spans(self) -> Iterator[Matrix]:
        """Yield all their numbers in order."""


@dataclass(frozen=True, slots=True)
class Result:
    """Rows of a result in input order: all of it, or the page that was requested."""

    #: None if no job was kept.
    job_id: str | None
    #: NAME@VERSION.
    model: str
    method: str
    feature_names: Sequence[str]
    output_names: Sequence[str]
    rows: int
    #: Yields the rows block by block, from the first row at each call.
    explanations: Callable[[], Iterator[Explanation]]
    interactions: ResultInteractions | None = None


@dataclass(frozen=True, slots=True)
class JobNames:
    """A job's columns in order, and the names of its outputs."""

    columns: Sequence[Feature]
    outputs: Sequence[str]

    @property
    def features(self) -> tuple[str, ...]:
        """The features' names, in order."""
        return tuple(column.name for column in self.columns)

    @classmethod
    def of(cls, job: Job, catalog: ModelCatalog) -> JobNames:
        """Take the names of the job's model, also if it was refused since; XGBoost's f0, f1, … if it is gone."""
        refused = catalog.find_refused(job.model)
        contract = None if refused is None else refused.contract
        with contextlib.suppress(ModelNotFoundError, ModelRefusedError):
            contract = catalog.get(job.model).contract
        sizes = (job.features, job.outputs)
        if contract is not None and (len(contract.features), len(contract.outputs)) == sizes:
            return cls(contract.features, contract.outputs)
        columns = tuple(Feature(f"f{place}") for place in range(job.features))
        return cls(columns, tuple(f"output_{place}" for place in range(job.outputs)))


def stored_result(
    job: Job, wanted: range, payloads: Payloads, catalog: ModelCatalog, *, interactions: bool = True
) -> Result:
    """Return the rows `wanted` of a completed job, with its interactions if it has some and they are requested.

    Reading them raises PayloadMissingError if the job is deleted meanwhile.
    """
    names, rows = JobNames.of(job, catalog), StoredRows(job, wanted, payloads)
    pairs = (
        None if job.interactions is None or not interactions else StoredInteractions(rows, job.interactions)
    )
    return Result(
        job.id,
        job.model,
        job.method.value,
        names.features,
        names.outputs,
        len(wanted),
        rows.explanations,
        pairs,
    )


@dataclass(frozen=True, slots=True)
class StoredRows:
    """The rows `wanted` of a completed job, in the object store."""

    job: Job
    wanted: range
    payloads: Payloads

    def explanations(self) -> Iterator[Explanation]:
        """Yield them in blocks."""
        step = max(1, BLOCK_NUMBERS // Explanation.numbers_of(self.job.outputs, self.job.features))
        for batch, rows in self.batches():
            explanation = self.payloads.result(self.job, batch)
            for first in range(rows.start, rows.stop, step):
                yield explanation[first : min(first + step, rows.stop)]

    def batches(self) -> Iterator[tuple[int, range]]:
        """Yield the batches that hold wanted rows, with the places of these rows in them."""
        size = self.job.batch_rows
        for batch in range(self.wanted.start // size, -(-self.wanted.stop // size) if self.wanted else 0):
            rows = self.job.rows_of(batch)
            start, stop = max(self.wanted.start, rows.start), min(self.wanted.stop, rows.stop)
            yield batch, range(start - rows.start, stop - rows.start)


class StoredInteractions:
    """The interactions of stored rows, read in spans: a batch of them may not fit the api's memory."""

    def __init__(self, rows: StoredRows, wanted: Interactions) -> None:
        self.wanted = wanted
        self._rows = rows
        self._job = rows.job
        self._each = wanted.numbers(rows.job.features, rows.job.outputs)

    def pieces(self) -> Iterator[Matrix]:
        """Yield some rows as they are stored, or some lines of a large matrix. See ResultInteractions."""
        for batch, rows in self._rows.batches():
            if self._each <= SPAN_NUMBERS or self.wanted.top_pairs is not None:
                step = max(1, SPAN_NUMBERS // self._each)
                for start in range(rows.start, rows.stop, step):
                    yield self._read_rows(batch, range(start, min(start + step, rows.stop)))
            else:
                for row in rows:
                    yield from self._read_lines(batch, row)

    def spans(self) -> Iterator[Matrix]:
        """Yield all numbers as they are stored."""
        for batch, rows in self._rows.batches():
            end = rows.stop * self._each
            for start in range(rows.start * self._each, end, SPAN_NUMBERS):
                yield self._read(batch, [range(start, min(start + SPAN_NUMBERS, end))])[0]

    def _read_rows(self, batch: int, rows: range) -> Matrix:
        span = range(rows.start * self._each, rows.stop * self._each)
        shape = self.wanted.shape(len(rows), self._job.features, self._job.outputs)
        return self._read(batch, [span])[0].reshape(shape)

    def _read_lines(self, batch: int, row: int) -> Iterator[Matrix]:
        features, outputs = self._job.features, self._job.outputs
        width = features + 1
        step = max(1, SPAN_NUMBERS // (outputs * width))
        for first in range(0, features, step):
            lines = min(step, features - first)
            begins = [((row * outputs + output) * width + first) * width for output in range(outputs)]
            spans = [range(begin, begin + lines * width) for begin in begins]
            yield np.concatenate(self._read(batch, spans)).reshape(1, outputs, lines, width)

    def _read(self, batch: int, spans: list[range]) -> list[Matrix]:
        return self._rows.payloads.interaction_spans(self._job, batch, spans)
