"""A job to accept."""

from __future__ import annotations

import time
from typing import Any

from shared.jobs.document import Job, Method
from shared.jobs.ids import new_job_id


def a_job(rows: int = 30, **more: Any) -> Job:
    """Return a job with a batch for each 10 rows; `more` are its other fields."""
    fields: dict[str, Any] = {
        "id": new_job_id(),
        "model": "wine@1",
        "method": Method.TREE_PATH_DEPENDENT,
        "batch_rows": 10,
        "features": 13,
        "outputs": 3,
        "created_at": time.time(),
    }
    return Job(rows=rows, **{**fields, **more})
