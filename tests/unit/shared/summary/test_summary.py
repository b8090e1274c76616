from dataclasses import replace
from pathlib import Path

import numpy as np

from shared.explanation import Explanation
from shared.jobs.document import Job, Method
from shared.objects.payloads import Payloads
from shared.settings import Settings
from shared.summary.summary import SUMMARY_ARRAYS, Summary, summary_bytes

JOB = Job(
    id="a" * 32,
    model="m@1",
    method=Method.TREE_PATH_DEPENDENT,
    rows=30_000,
    batch_rows=500,
    features=3,
    outputs=2,
)


def test_a_stored_summary_takes_no_more_than_was_reserved(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    chance = np.random.default_rng(0)
    payloads = Payloads.open(settings)
    features = chance.normal(size=(500, 3)).astype(np.float32)
    results = Explanation(chance.normal(size=(500, 2, 5)).astype(np.float32))

    summary = Summary.of_batch(JOB, 7, features, results)
    payloads.put_result(JOB, 7, features, results, summary=summary.arrays)
    payloads.put_result(JOB, 8, features, results)

    with_summary, without = (
        (settings.objects_dir / "jobs" / JOB.id / "result" / f"{batch:06d}.npy").stat().st_size
        for batch in (7, 8)
    )
    assert len(summary.arrays) == SUMMARY_ARRAYS
    assert 0 < with_summary - without <= summary_bytes(500, 3, 2)


def test_merged_summaries_keep_the_rows_in_order() -> None:
    job = replace(JOB, rows=25, batch_rows=10)
    features = np.arange(75, dtype=np.float32).reshape(25, 3)
    results = Explanation(np.arange(250, dtype=np.float32).reshape(25, 2, 5))
    parts = [
        Summary.of_batch(job, batch, features[rows.start : rows.stop], results[rows.start : rows.stop])
        for batch in range(3)
        for rows in [job.rows_of(batch)]
    ]

    merged = Summary.merged(parts)

    assert merged.moments.rows == 25
    np.testing.assert_array_equal(merged.features, features)
    np.testing.assert_array_equal(merged.explanation.array, results.array)
