"""Jobs of one row, and objects in the layout of earlier versions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.jobs.document import Job, Method
from shared.objects.payloads import Payloads, Side, encoded


def one_row_job(job_id: str, features: int = 2, outputs: int = 1) -> Job:
    return Job(job_id, "wine@1", Method.TREE_PATH_DEPENDENT, 1, 10, features, outputs)


def put_one_row(payloads: Payloads, job_id: str) -> None:
    """Store the row of a job of one row."""
    payloads.put_rows(one_row_job(job_id), 0, np.zeros((1, 2), np.float32))


def put_in_folder(
    payloads: Payloads, job_id: str, side: Side, batch: int, matrix: NDArray[np.float32], *more: NDArray[Any]
) -> None:
    """Store arrays as one object in the job's folder, as earlier versions did for small jobs."""
    payloads.write(f"jobs/{job_id}/{side}/{batch:06d}.npy", encoded(matrix, *more))
