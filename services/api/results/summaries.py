"""The summaries of completed jobs, merged from those of their batches."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import batched
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from services.api.results.result import JobNames
from shared.batch_plan import FLOAT_BYTES
from shared.errors import UnprocessableError
from shared.explanation import Explanation, Matrix
from shared.jobs.document import Job
from shared.models.contract import Kind
from shared.objects.payloads import Payloads
from shared.summary.moments import Moments, Of
from shared.summary.summary import (
    MOST_VALUES,
    SUMMARY_ARRAYS,
    Summary,
    has_summary,
    keeps_summary,
    summary_bytes,
)

#: Bytes of summaries that stay in memory. One of a million rows of 30 features has half a MB.
KEPT_BYTES = 8 * 2**20
#: Bytes of batches' summaries that are in memory while a job's is merged, and jobs that this is done for at a time.
GATHERED_BYTES, GATHERED_JOBS = 4 * 2**20, 2
#: Objects that are read at a time: a remote store takes some 20 ms for each.
READERS = 8


class TooWideError(UnprocessableError, title="No summary for this many values"):
    """The model has so many features and outputs that a summary would not fit the memory."""


class JobSummaries:
    """Safe for several threads. A job's summary never changes once the job is completed."""

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads
        self._kept: dict[str, Summary] = {}
        #: By job: several plots of one job, requested at once, read it once. Guarded, as `_kept` is, by `_lock`.
        self._gathering: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._lock = threading.Lock()
        #: Bounds the memory of all that is read at a time.
        self._readers = threading.Semaphore(GATHERED_JOBS)

    def of(self, job: Job) -> Summary:
        """Return the summary of a completed job.

        Raises TooWideError, PayloadMissingError if its objects are gone, and StorageUnavailableError.
        """
        if not has_summary(job):
            raise TooWideError(
                f"{job.features:,} features times {job.outputs:,} outputs are more than {MOST_VALUES:,}, too many for a "
                "summary or a plot of all rows. Waterfall plots of single rows and the values are available."
            )
        with self._lock:
            alone = self._gathering.setdefault(job.id, threading.Lock())
        with alone:
            if (summary := self._kept.get(job.id)) is None:
                with self._readers:
                    summary = self._gather(job)
            self._keep(job.id, summary)
        return summary

    def row(self, job: Job, row: int) -> tuple[Matrix, Explanation]:
        """Return one row of a completed job: its values, (features,), and its explanation.

        Raises PayloadMissingError and StorageUnavailableError, as `of` does.
        """
        batch, place = divmod(row, job.batch_rows)
        with self._readers:  # a batch of a wide model is large
            features, explanation = self._read(job, batch)
            return features[place].copy(), Explanation(explanation.array[place : place + 1].copy())

    def _keep(self, job_id: str, summary: Summary) -> None:
        """Keep a summary; the least recently used ones make room."""
        with self._lock:
            self._kept.pop(job_id, None)
            self._kept[job_id] = summary
            while sum(kept.size for kept in self._kept.values()) > KEPT_BYTES:
                del self._kept[next(iter(self._kept))]

    def _gather(self, job: Job) -> Summary:
        together = max(1, GATHERED_BYTES // _batch_bytes(job))
        gathered: list[Summary] = []
        with ThreadPoolExecutor(min(READERS, together, job.batches)) as pool:
            for batches in batched(range(job.batches), together):  # the last may be short
                gathered += pool.map(lambda batch: self._of_batch(job, batch), batches)
                gathered = [Summary.merged(gathered)]
        return gathered[0]

    def _of_batch(self, job: Job, batch: int) -> Summary:
        if keeps_summary(job):
            stored = self._payloads.summary_arrays(job, batch)
            if len(stored) == SUMMARY_ARRAYS:  # none if an earlier version stored the result
                table, features, explanation = stored
                return Summary(Moments(len(job.rows_of(batch)), table), features, Explanation(explanation))
        return Summary.of_batch(job, batch, *self._read(job, batch))

    def _read(self, job: Job, batch: int) -> tuple[Matrix, Explanation]:
        return self._payloads.rows(job, batch), self._payloads.result(job, batch)


def _batch_bytes(job: Job) -> int:
    """Return the bytes that one batch takes in memory while its summary is read or made."""
    rows = min(job.batch_rows, job.rows)
    summary = summary_bytes(rows, job.features, job.outputs)
    if keeps_summary(job):
        return summary
    return summary + rows * (job.features + Explanation.numbers_of(job.outputs, job.features)) * FLOAT_BYTES


def summary_document(job: Job, summary: Summary, names: JobNames) -> dict[str, Any]:
    """Return the document of GET /v1/jobs/ID/summary, features with the largest values first."""
    return {
        "job": job.id,
        "model": job.model,
        "method": job.method.value,
        "rows": job.rows,
        "outputs": [_output(summary, place, names) for place in range(len(names.outputs))],
    }


def _output(summary: Summary, output: int, names: JobNames) -> dict[str, Any]:
    moments = summary.moments
    table, correlation = moments.table[output], moments.correlation[output]
    correlation[[column.kind is Kind.CATEGORY for column in names.columns]] = np.nan  # codes have no order
    statistics = {
        "mean_abs": table[:, Of.ABS_MEAN].tolist(),
        "mean": table[:, Of.MEAN].tolist(),
        "deviation": moments.deviation[output].tolist(),
        "min": table[:, Of.LEAST].tolist(),
        "max": table[:, Of.MOST].tolist(),
        "correlation": correlation.tolist(),  # NaN becomes null
        "missing": moments.missing[output].tolist(),
    }
    ranking = np.argsort(-table[:, Of.ABS_MEAN], kind="stable").tolist()
    return {
        "output": names.outputs[output],
        "base_value": float(summary.explanation.base_values[0, output]),
        "features": [
            {
                "feature": names.columns[place].name,
                **{name: column[place] for name, column in statistics.items()},
            }
            for place in ranking
        ],
    }
