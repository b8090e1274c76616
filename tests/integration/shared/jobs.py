"""A job to accept."""

import time
from typing import Any

from shared.jobs.document import Job, Method
from shared.jobs.ids import new_job_id


def a_job(rows: int = 30, **more: Any) -> Job:
    """Return a job with a batch for each 10 rows."""
    shape: dict[str, Any] = {"batch_rows": 10, "features": 13, "outputs": 3}
    return Job(
        id=new_job_id(),
        model="wine@1",
        method=Method.TREE_PATH_DEPENDENT,
        rows=rows,
        created_at=time.time(),
        **shape,
        **more,
    )
