"""The digests of completed jobs: put together from their batches' when first asked for, some kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from itertools import batched

from shared.batch_plan import FLOAT_BYTES
from shared.errors import PayloadMissingError, UnprocessableError
from shared.jobs.document import Job
from shared.objects.payloads import Matrix, Payloads, Side
from shared.summary.moments import Moments
from shared.summary.sample import MOST_VALUES, has_digest, keeps_digest
from shared.summary.summary import DIGEST_ARRAYS, Digest, digest_bytes

#: Bytes of digests that stay in memory. One of a million rows of 30 features has half a MB.
KEPT_BYTES = 8 * 2**20
#: Bytes of batches' digests that are in memory while they are put together.
GATHERED_BYTES = 4 * 2**20
#: The two objects of a batch.
SIDES: tuple[Side, Side] = ("input", "result")
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
        self._kept: OrderedDict[str, Digest] = OrderedDict()
        self._lock = threading.Lock()
        #: One digest is put together at a time: several plots of one job, asked for at once, need one.
        self._gathering = threading.Lock()

    def of(self, job: Job) -> Digest:
        """Return the digest of a completed job, which has at least one row.

        Raises TooWideError, PayloadMissingError if its objects are gone, and StorageUnavailableError.
        """
        if not has_digest(job):
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

    def row(self, job: Job, row: int) -> tuple[Matrix, Matrix]:
        """Return one row of a completed job: its values, (features,), and its result, (outputs, features + 2).

        Raises PayloadMissingError and StorageUnavailableError, as `of` does.
        """
        batch, place = divmod(row, job.batch_rows)
        with self._gathering:  # a batch of a wide model is large: one at a time
            features, results = self._read(job, batch)
        return features[place].copy(), results[place].copy()

    def _recall(self, job_id: str) -> Digest | None:
        with self._lock:
            if job_id in self._kept:
                self._kept.move_to_end(job_id)
            return self._kept.get(job_id)

    def _keep(self, job_id: str, digest: Digest) -> None:
        with self._lock:
            self._kept[job_id] = digest
            while sum(kept.size for kept in self._kept.values()) > KEPT_BYTES:
                self._kept.popitem(last=False)

    def _gather(self, job: Job) -> Digest:
        each = _batch_bytes(job)
        together = max(1, GATHERED_BYTES // each)
        gathered: list[Digest] = []
        with ThreadPoolExecutor(min(READERS, together, job.batches)) as pool:
            for batches in batched(range(job.batches), together):  # the last may be short
                gathered += pool.map(lambda batch: self._of_batch(job, batch), batches)
                gathered = [Digest.merged(gathered)]
        return gathered[0]

    def _of_batch(self, job: Job, batch: int) -> Digest:
        if keeps_digest(job):
            rows = len(job.rows_of(batch))
            shape = (rows, job.outputs, job.features + 2)
            behind = self._payloads.get_behind(job.id, "result", batch, shape)
            if len(behind) == DIGEST_ARRAYS:
                table, features, results = behind
                return Digest(Moments(rows, table), features, results)
            # Made by a version that kept none.
        return Digest.of_batch(job, batch, *self._read(job, batch))

    def _read(self, job: Job, batch: int) -> tuple[Matrix, Matrix]:
        """Return all of a batch: rows x features, and rows x outputs x (features + 2)."""
        features, results = (self._payloads.get(job.id, side, batch) for side in SIDES)
        rows = len(job.rows_of(batch))
        shapes = (rows, job.features), (rows, job.outputs, job.features + 2)
        if (features.shape, results.shape) != shapes:
            raise PayloadMissingError(f"batch {batch} of job {job.id} has other shapes than {shapes}")
        return features, results


def _batch_bytes(job: Job) -> int:
    """Return what one batch takes in memory while its digest is had."""
    rows = min(job.batch_rows, job.rows)
    digest = digest_bytes(rows, job.features, job.outputs)
    if keeps_digest(job):
        return digest
    return digest + rows * (job.features + job.outputs * (job.features + 2)) * FLOAT_BYTES
