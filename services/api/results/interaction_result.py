"""A result with its interactions, read out of the object store in spans: a batch of them may not fit the api's memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.api.results.stored_result import StoredResult
from shared.interactions import Interactions

#: Numbers that are read at a time; as text they take some five times as many bytes as here.
SPAN_NUMBERS = 131_072


@dataclass(frozen=True, slots=True)
class InteractionResult(StoredResult):
    """The rows `wanted` of a completed job's result and interactions. Implements services.api.results' InteractionPages."""

    @property
    def interactions(self) -> Interactions:
        """Which interactions there are."""
        assert self.job.interactions is not None
        return self.job.interactions

    @property
    def numbers(self) -> int:
        """How many float32 there are in all."""
        return self.rows * (self.job.outputs * (self.job.features + 2) + self._each)

    def pieces(self) -> Iterator[NDArray[np.float32]]:
        """Yield the interactions in order: some rows as they are stored, or of a large matrix some lines at a time.

        The lines of a matrix come as (1, outputs, lines, features + 1), down to that of the last feature.
        """
        for batch, rows in self._batches():
            if self._each <= SPAN_NUMBERS or self.interactions.top_pairs is not None:
                step = max(1, SPAN_NUMBERS // self._each)
                for start in range(rows.start, rows.stop, step):
                    yield self._rows(batch, range(start, min(start + step, rows.stop)))
            else:
                for row in rows:
                    yield from self._lines(batch, row)

    def spans(self) -> Iterator[NDArray[np.float32]]:
        """Yield all numbers of the interactions as they are stored, one after the other."""
        for batch, rows in self._batches():
            end = rows.stop * self._each
            for start in range(rows.start * self._each, end, SPAN_NUMBERS):
                yield self._read_spans(batch, [range(start, min(start + SPAN_NUMBERS, end))])[0]

    @property
    def _each(self) -> int:
        return self.interactions.numbers(self.job.features, self.job.outputs)

    def _batches(self) -> Iterator[tuple[int, range]]:
        """Yield the batches that hold wanted rows, and which of their rows those are."""
        size = self.job.batch_rows
        for batch in range(self.wanted.start // size, -(-self.wanted.stop // size) if self.rows else 0):
            rows = self.job.rows_of(batch)
            start, stop = max(self.wanted.start, rows.start), min(self.wanted.stop, rows.stop)
            yield batch, range(start - rows.start, stop - rows.start)

    def _rows(self, batch: int, rows: range) -> NDArray[np.float32]:
        span = range(rows.start * self._each, rows.stop * self._each)
        shape = self.interactions.shape(len(rows), self.job.features, self.job.outputs)
        return self._read_spans(batch, [span])[0].reshape(shape)

    def _lines(self, batch: int, row: int) -> Iterator[NDArray[np.float32]]:
        features, outputs = self.job.features, self.job.outputs
        width = features + 1
        step = max(1, SPAN_NUMBERS // (outputs * width))
        for first in range(0, features, step):
            lines = min(step, features - first)
            begins = [((row * outputs + output) * width + first) * width for output in range(outputs)]
            spans = [range(begin, begin + lines * width) for begin in begins]
            yield np.concatenate(self._read_spans(batch, spans)).reshape(1, outputs, lines, width)

    def _read_spans(self, batch: int, spans: list[range]) -> list[NDArray[np.float32]]:
        return self.payloads.interaction_spans(self.job, batch, spans)
