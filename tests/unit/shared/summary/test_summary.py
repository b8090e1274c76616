from dataclasses import replace
from pathlib import Path

import numpy as np

from shared.jobs.document import Job, Method
from shared.objects.payloads import Payloads
from shared.settings import Settings
from shared.summary.summary import DIGEST_ARRAYS, Digest, digest_bytes

JOB = Job(
    id="a" * 32,
    model="m@1",
    method=Method.TREE_PATH_DEPENDENT,
    rows=30_000,
    batch_rows=500,
    features=3,
    outputs=2,
)


def test_a_stored_digest_takes_no_more_than_was_promised(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    chance = np.random.default_rng(0)
    payloads = Payloads.open(settings)
    features = chance.normal(size=(500, 3)).astype(np.float32)
    results = chance.normal(size=(500, 2, 5)).astype(np.float32)

    digest = Digest.of_batch(JOB, 7, features, results)
    payloads.put(JOB.id, "result", 7, results, *digest.arrays)
    payloads.put(JOB.id, "result", 8, results)

    with_digest, without = (
        (settings.objects_dir / "jobs" / JOB.id / "result" / f"{batch:06d}.npy").stat().st_size
        for batch in (7, 8)
    )
    assert len(digest.arrays) == DIGEST_ARRAYS
    assert 0 < with_digest - without <= digest_bytes(500, 3, 2)


def test_merged_digests_keep_the_rows_in_order() -> None:
    job = replace(JOB, rows=25, batch_rows=10)
    features = np.arange(75, dtype=np.float32).reshape(25, 3)
    results = np.arange(250, dtype=np.float32).reshape(25, 2, 5)
    parts = [
        Digest.of_batch(job, batch, features[rows.start : rows.stop], results[rows.start : rows.stop])
        for batch in range(3)
        for rows in [job.rows_of(batch)]
    ]

    merged = Digest.merged(parts)

    assert merged.moments.rows == 25
    np.testing.assert_array_equal(merged.features, features)
    np.testing.assert_array_equal(merged.results, results)
