"""Which rows of a job stand for it in plots of single rows: a fixed number, spread over the whole job.

The rows are cut into as many equal stretches as rows are wanted, and of each stretch one row is drawn. What is drawn
depends on the stretch's number only, so that each batch can tell its own without knowing the others, twice the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.jobs.document import Job

#: Rows that a sample has at most. A beeswarm of more is a blot, and a larger picture.
SAMPLE_ROWS = 2000
#: Bytes of a sample at most, for models with very many features or outputs.
SAMPLE_BYTES = 8 * 2**20
#: Of a job with less than so many times its sample's rows nothing is kept beside the values: they are read back.
KEPT_RATIO = 10
#: Values that a row's explanation has (features x outputs) up to which a job has a digest: its moments take 88 bytes for
#: each, several times over while they are put together, and some hundred bytes more in a summary.
MOST_VALUES = 50_000


def sample_size(job: Job) -> int:
    """Return how many rows the sample of a job has."""
    row_bytes = 4 * (job.features + job.outputs * (job.features + 2))
    return max(1, min(job.rows, SAMPLE_ROWS, SAMPLE_BYTES // row_bytes))


def has_digest(job: Job) -> bool:
    """Return whether a digest of the job fits the appliance's memory."""
    return job.features * job.outputs <= MOST_VALUES


def keeps_digest(job: Job) -> bool:
    """Return whether the job's batches leave digests behind their results."""
    return has_digest(job) and job.batches > 1 and job.rows >= KEPT_RATIO * sample_size(job)


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
    """Return 32 bits for each number in which nothing of its order is left (the hash "lowbias32" of C. Wellons)."""
    x = numbers.astype(np.uint64)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        x = ((x ^ (x >> np.uint64(shift))) * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    return x.astype(np.int64)
