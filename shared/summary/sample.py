"""The sample of a job's rows for plots of single rows: a fixed number, spread over the job.

The rows are cut into equal stretches, and one row of each is drawn. Which one depends only on the stretch's number, so
every batch finds its own share without knowing the others, and always the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.explanation import Explanation
from shared.jobs.document import Job

#: Rows of a sample, at most: a beeswarm of more is unreadable.
SAMPLE_ROWS = 2000
#: Bytes of a sample, at most, for models with very many features or outputs.
SAMPLE_BYTES = 8 * 2**20
#: A job with fewer times its sample's rows stores no summaries: its values are read back.
KEPT_RATIO = 10
#: Features times outputs up to which a job has a summary: each takes 88 bytes of moments, several times over while they
#: are merged, and some hundred bytes in the summary's document.
MOST_VALUES = 50_000


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
