"""The rows of a result as writers get them: just explained, or read from the object store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from shared.errors import ModelNotFoundError, ModelRefusedError
from shared.explanation import Explanation, Matrix
from shared.interactions import Interactions
from shared.jobs.document import Job
from shared.models.catalog import ModelCatalog
from shared.models.contract import Feature
from shared.objects.payloads import Payloads

#: Numbers of one block, at most, unless one row has more. As text they stay below what glibc requests from the kernel
#: each time (128 kB), and below what waits in memory for the client.
BLOCK_NUMBERS = 8_192
#: Numbers of interactions that are read at a time: 0.5 MB. As text, matrices take three times as many bytes; pairs,
#: with their names, six times or more, and some 14 MB while they are written.
SPAN_NUMBERS = 131_072


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
        """Take the names of the job's model, also if it is refused now; f0, f1, … if it is gone."""
        refused = catalog.find_refused(job.model)
        contract = None if refused is None else refused.contract
        with contextlib.suppress(ModelNotFoundError, ModelRefusedError):
            contract = catalog.get(job.model).contract
        sizes = (job.features, job.outputs)
        if contract is not None and (len(contract.features), len(contract.outputs)) == sizes:
            return cls(contract.features, contract.outputs)
        columns = tuple(Feature(f"f{place}") for place in range(job.features))
        return cls(columns, tuple(f"output_{place}" for place in range(job.outputs)))


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Rows of a completed job. Reading raises PayloadMissingError if the job is deleted."""

    job: Job
    wanted: range
    payloads: Payloads

    def explanations(self) -> Iterator[Explanation]:
        """Yield the rows in blocks."""
        step = max(1, BLOCK_NUMBERS // Explanation.numbers_of(self.job.outputs, self.job.features))
        for batch, rows in self._batches():
            explanation = self.payloads.result(self.job, batch)
            for first in range(rows.start, rows.stop, step):
                yield explanation[first : min(first + step, rows.stop)]

    @property
    def interactions(self) -> Interactions:
        """The interactions that the job has."""
        assert self.job.interactions is not None
        return self.job.interactions

    def pieces(self) -> Iterator[Matrix]:
        """Yield the interactions in order: rows of Interactions.shape, or lines of one row.

        A batch of matrices may not fit the api's memory. Lines come as (1, outputs, lines, features + 1), down to that of
        the last feature.
        """
        each = self._numbers_of_row
        for batch, rows in self._batches():
            if each > SPAN_NUMBERS and self.interactions.top_pairs is None:
                for row in rows:
                    yield from self._lines(batch, row)
                continue
            step = max(1, SPAN_NUMBERS // each)
            for start in range(rows.start, rows.stop, step):
                stop = min(start + step, rows.stop)
                shape = self.interactions.shape(stop - start, self.job.features, self.job.outputs)
                yield self._read(batch, [range(start * each, stop * each)])[0].reshape(shape)

    def spans(self) -> Iterator[Matrix]:
        """Yield all numbers of the interactions in order."""
        each = self._numbers_of_row
        for batch, rows in self._batches():
            end = rows.stop * each
            for start in range(rows.start * each, end, SPAN_NUMBERS):
                yield self._read(batch, [range(start, min(start + SPAN_NUMBERS, end))])[0]

    def _batches(self) -> Iterator[tuple[int, range]]:
        """Yield the batches that hold wanted rows, with the places of these rows in them."""
        size = self.job.batch_rows
        for batch in range(self.wanted.start // size, -(-self.wanted.stop // size) if self.wanted else 0):
            rows = self.job.rows_of(batch)
            start, stop = max(self.wanted.start, rows.start), min(self.wanted.stop, rows.stop)
            yield batch, range(start - rows.start, stop - rows.start)

    @property
    def _numbers_of_row(self) -> int:
        return self.interactions.numbers(self.job.features, self.job.outputs)

    def _lines(self, batch: int, row: int) -> Iterator[Matrix]:
        features, outputs = self.job.features, self.job.outputs
        width = features + 1
        step = max(1, SPAN_NUMBERS // (outputs * width))
        for first in range(0, features, step):
            lines = min(step, features - first)
            begins = [((row * outputs + output) * width + first) * width for output in range(outputs)]
            spans = [range(begin, begin + lines * width) for begin in begins]
            yield np.concatenate(self._read(batch, spans)).reshape(1, outputs, lines, width)

    def _read(self, batch: int, spans: list[range]) -> list[Matrix]:
        return self.payloads.interaction_spans(self.job, batch, spans)


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
    #: The same rows if their interactions are to be written, too.
    with_interactions: StoredRows | None = None
    #: The same rows if they are read from the object store.
    source: StoredRows | None = None

    @classmethod
    def stored(cls, rows: StoredRows, names: JobNames, *, interactions: bool) -> Result:
        """Return stored rows, with their interactions if they are requested."""
        return cls(
            job_id=rows.job.id,
            model=rows.job.model,
            method=rows.job.method.value,
            feature_names=names.features,
            output_names=names.outputs,
            rows=len(rows.wanted),
            explanations=rows.explanations,
            with_interactions=rows if interactions else None,
            source=rows,
        )

    def after(self, rows: int) -> Result:
        """Return a stored result without its first rows."""
        assert self.source is not None
        left = replace(self.source, wanted=self.source.wanted[rows:])
        return replace(
            self,
            rows=len(left.wanted),
            explanations=left.explanations,
            with_interactions=self.with_interactions and left,
            source=left,
        )
