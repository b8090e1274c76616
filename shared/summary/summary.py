"""The summary of a batch and of a job: moments of all its rows, and a sample of them.

The sample has a fixed number of rows, spread over the job: the rows are cut into equal stretches, and one row of each is
drawn. Which one depends only on the stretch's number, so every batch finds its share without knowing the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.explanation import Explanation, Matrix
from shared.jobs.document import Job
from shared.summary.moments import Moments, Of

#: Rows of a sample, at most: a beeswarm of more is unreadable.
SAMPLE_ROWS = 2000
#: Bytes of a sample, at most, for models with very many features or outputs.
SAMPLE_BYTES = 8 * 2**20
#: A job with fewer times its sample's rows stores no summaries: its values are read back.
KEPT_RATIO = 10
#: Features times outputs up to which a job has a summary: each takes 88 bytes of moments, several times over while they
#: are merged, and some hundred bytes in the summary's document.
MOST_VALUES = 50_000
#: How many arrays a summary is stored as.
SUMMARY_ARRAYS = 3
#: Bytes of these arrays' headers, at most.
_HEADERS = 3 * 192


@dataclass(frozen=True, slots=True)
class Summary:
    """Moments, and the sample's rows in order with their explanation.

    `features` has shape (sampled, features); NaN is missing.
    """

    moments: Moments
    features: Matrix
    explanation: Explanation

    @classmethod
    def of_batch(cls, job: Job, batch: int, features: Matrix, explanation: Explanation) -> Summary:
        """Summarise a batch from all of its rows."""
        places = sampled_places(job, batch)
        sampled = Explanation(explanation.array[places])
        return cls(Moments.of(features, explanation.values), features[places], sampled)

    @classmethod
    def merged(cls, parts: Sequence[Summary]) -> Summary:
        """Return the summary of all parts, given in order."""
        return cls(
            Moments.merged([part.moments for part in parts]),
            np.concatenate([part.features for part in parts]),
            Explanation.concatenate([part.explanation for part in parts]),
        )

    @property
    def arrays(self) -> tuple[NDArray[np.float64], Matrix, Matrix]:
        """The stored arrays; the number of rows is the batch's."""
        return self.moments.table, self.features, self.explanation.array

    @property
    def size(self) -> int:
        """Its bytes in memory."""
        return sum(array.nbytes for array in self.arrays)


def summary_bytes(rows: int, features: int, outputs: int) -> int:
    """Return the bytes that a batch's summary takes where it is stored, at most."""
    moments = outputs * features * len(Of) * 8
    sampled = rows // KEPT_RATIO + 2
    return moments + sampled * (features + Explanation.numbers_of(outputs, features)) * 4 + _HEADERS


def sample_size(job: Job) -> int:
    """Return how many rows the sample of a job has."""
    row_bytes = 4 * (job.features + Explanation.numbers_of(job.outputs, job.features))
    return max(1, min(job.rows, SAMPLE_ROWS, SAMPLE_BYTES // row_bytes))


def has_summary(job: Job) -> bool:
    """Return whether a summary of the job fits the appliance's memory."""
    return job.features * job.outputs <= MOST_VALUES


def keeps_summary(job: Job) -> bool:
    """Return whether the job's batches store summaries behind their results."""
    return has_summary(job) and job.batches > 1 and job.rows >= KEPT_RATIO * sample_size(job)


def sampled_places(job: Job, batch: int) -> NDArray[np.int64]:
    """Return the places within a batch of its rows that belong to the sample, ascending."""
    rows, size = job.rows_of(batch), sample_size(job)
    first, last = rows.start * size // job.rows, -(-rows.stop * size // job.rows)
    stretches = np.arange(first, last, dtype=np.int64)
    start = -(-stretches * job.rows // size)
    length = -(-(stretches + 1) * job.rows // size) - start
    drawn = start + (_mixed(stretches) * length >> 32)
    inside = (drawn >= rows.start) & (drawn < rows.stop)
    return drawn[inside] - rows.start


def _mixed(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a 32-bit hash of each number (lowbias32 of C. Wellons)."""
    x = numbers.astype(np.uint64)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        x = ((x ^ (x >> np.uint64(shift))) * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    return x.astype(np.int64)
