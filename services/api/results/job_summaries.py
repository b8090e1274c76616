"""The digests of completed jobs: put together from their batches' when first asked for, some kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from itertools import batched

from shared.batch_plan import FLOAT_BYTES
from shared.errors import UnprocessableError
from shared.explanation import Explanation
from shared.jobs.document import Job
from shared.objects.payloads import Matrix, Payloads
from shared.summary.moments import Moments
from shared.summary.sample import MOST_VALUES, has_summary, keeps_summary
from shared.summary.summary import SUMMARY_ARRAYS, Summary, summary_bytes

#: Bytes of digests that stay in memory. One of a million rows of 30 features has half a MB.
KEPT_BYTES = 8 * 2**20
#: Bytes of batches' digests that are in memory while they are put together.
GATHERED_BYTES = 4 * 2**20
#: Objects that are read at a time: a store elsewhere takes some 20 ms for each.
READERS = 8


class TooWideError(UnprocessableError):
    """The job's model has so many features and outputs that a digest takes more memory than there is."""

    slug = "too-wide"
    title = "There is no summary of so many values"


class JobDigests:
    """Safe for several threads. A job's digest never changes once the job is completed."""

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads
        self._kept: OrderedDict[str, Summary] = OrderedDict()
        self._lock = threading.Lock()
        #: One digest is put together at a time: several plots of one job, asked for at once, need one.
        self._gathering = threading.Lock()

    def of(self, job: Job) -> Summary:
        """Return the digest of a completed job, which has at least one row.

        Raises TooWideError, PayloadMissingError if its objects are gone, and StorageUnavailableError.
        """
        if not has_summary(job):
            raise TooWideError(
                f"{job.features:,} features times {job.outputs:,} outputs are more than {MOST_VALUES:,}, so that there "
                "are no summary and no plots of all rows; waterfalls of single rows and the values are there."
            )
        with self._gathering:
            digest = self._recall(job.id)
            if digest is None:
                digest = self._gather(job)
                self._keep(job.id, digest)
            return digest

    def row(self, job: Job, row: int) -> tuple[Matrix, Explanation]:
        """Return one row of a completed job: its values, (features,), and its explanation.

        Raises PayloadMissingError and StorageUnavailableError, as `of` does.
        """
        batch, place = divmod(row, job.batch_rows)
        with self._gathering:  # a batch of a wide model is large: one at a time
            features, explanation = self._read(job, batch)
        return features[place].copy(), Explanation(explanation.array[place : place + 1].copy())

    def _recall(self, job_id: str) -> Summary | None:
        with self._lock:
            if job_id in self._kept:
                self._kept.move_to_end(job_id)
            return self._kept.get(job_id)

    def _keep(self, job_id: str, digest: Summary) -> None:
        with self._lock:
            self._kept[job_id] = digest
            while sum(kept.size for kept in self._kept.values()) > KEPT_BYTES:
                self._kept.popitem(last=False)

    def _gather(self, job: Job) -> Summary:
        each = _batch_bytes(job)
        together = max(1, GATHERED_BYTES // each)
        gathered: list[Summary] = []
        with ThreadPoolExecutor(min(READERS, together, job.batches)) as pool:
            for batches in batched(range(job.batches), together):  # the last may be short
                gathered += pool.map(lambda batch: self._of_batch(job, batch), batches)
                gathered = [Summary.merged(gathered)]
        return gathered[0]

    def _of_batch(self, job: Job, batch: int) -> Summary:
        if keeps_summary(job):
            stored = self._payloads.summary_arrays(job, batch)
            if len(stored) == SUMMARY_ARRAYS:
                table, features, explanation = stored
                return Summary(Moments(len(job.rows_of(batch)), table), features, Explanation(explanation))
            # Made by a version that kept none.
        return Summary.of_batch(job, batch, *self._read(job, batch))

    def _read(self, job: Job, batch: int) -> tuple[Matrix, Explanation]:
        """Return all rows of a batch and their explanation."""
        return self._payloads.rows(job, batch), self._payloads.result(job, batch)


def _batch_bytes(job: Job) -> int:
    """Return what one batch takes in memory while its digest is had."""
    rows = min(job.batch_rows, job.rows)
    digest = summary_bytes(rows, job.features, job.outputs)
    if keeps_summary(job):
        return digest
    return digest + rows * (job.features + Explanation.numbers_of(job.outputs, job.features)) * FLOAT_BYTES
