"""Which jobs keep summaries, the rows that are sampled, and summaries stored and merged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.explanation import Explanation
from shared.jobs.document import Job, Method
from shared.objects.payloads import Payloads
from shared.settings import Settings
from shared.summary.summary import (
    SAMPLE_BYTES,
    SAMPLE_ROWS,
    SUMMARY_ARRAYS,
    Summary,
    keeps_summary,
    sample_size,
    sampled_places,
    summary_bytes,
)


def job(rows: int, batch_rows: int = 500, features: int = 10, outputs: int = 1) -> Job:
    return Job("a" * 32, "m@1", Method.TREE_PATH_DEPENDENT, rows, batch_rows, features, outputs)


@given(rows=st.integers(1, 300_000), batch_rows=st.integers(1, 5000))
@settings(max_examples=25, deadline=None)
def test_the_batches_together_have_one_row_of_each_stretch(rows: int, batch_rows: int) -> None:
    some = job(rows, max(batch_rows, rows // 200))
    size = sample_size(some)
    drawn = np.concatenate(
        [sampled_places(some, batch) + some.rows_of(batch).start for batch in range(some.batches)]
    )
    assert len(drawn) == size
    stretches = np.ceil(np.arange(size + 1) * rows / size).astype(int)
    assert (drawn >= stretches[:-1]).all()
    assert (drawn < stretches[1:]).all()


def test_the_sample_is_the_same_each_time_and_is_not_every_nth_row() -> None:
    some = job(1_000_000)
    steps = np.diff(np.concatenate([sampled_places(some, batch) + 500 * batch for batch in range(200)]))
    np.testing.assert_array_equal(sampled_places(some, 77), sampled_places(some, 77))
    assert len(np.unique(steps)) > 50


def test_a_small_job_is_its_own_sample_and_of_a_very_wide_model_fewer_rows_are_kept() -> None:
    assert sample_size(job(1700)) == 1700
    np.testing.assert_array_equal(sampled_places(job(1700), 3), np.arange(200))
    wide = job(10_000, features=50_000, outputs=4)
    assert 1 <= sample_size(wide) * 5 * 50_000 * 4 <= SAMPLE_BYTES


def test_only_jobs_of_many_rows_and_batches_keep_summaries_unless_their_rows_are_very_wide() -> None:
    most = 10 * SAMPLE_ROWS
    for kept in (job(most), job(1_000_000), job(50_000, features=1000, outputs=50)):
        assert keeps_summary(kept)
    for small in (job(1), job(500), job(most - 1), job(most, batch_rows=most)):
        assert not keeps_summary(small)
    # A batch's summary would be larger than its values, and not fit its worker.
    assert not keeps_summary(job(50_000, features=1001, outputs=50))
    assert not keeps_summary(job(20, batch_rows=5, features=1000, outputs=1000))


def test_a_stored_summary_takes_no_more_than_was_reserved(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    chance = np.random.default_rng(0)
    payloads, some = Payloads.open(settings), job(30_000, features=3, outputs=2)
    features = chance.normal(size=(500, 3)).astype(np.float32)
    results = Explanation(chance.normal(size=(500, 2, 5)).astype(np.float32))
    summary = Summary.of_batch(some, 7, features, results)
    payloads.put_result(some, 7, features, results, summary=summary.arrays)
    payloads.put_result(some, 8, features, results)
    with_summary, without = (
        (settings.objects_dir / "jobs" / some.id / "result" / f"{batch:06d}.npy").stat().st_size
        for batch in (7, 8)
    )
    assert len(summary.arrays) == SUMMARY_ARRAYS
    assert 0 < with_summary - without <= summary_bytes(500, 3, 2)


def test_merged_summaries_keep_the_rows_in_order() -> None:
    some = replace(job(25, features=3, outputs=2), batch_rows=10)
    features = np.arange(75, dtype=np.float32).reshape(25, 3)
    results = Explanation(np.arange(250, dtype=np.float32).reshape(25, 2, 5))
    parts = []
    for batch in range(3):
        rows = slice(10 * batch, 10 * batch + 10)
        parts.append(Summary.of_batch(some, batch, features[rows], results[rows]))
    merged = Summary.merged(parts)
    assert merged.moments.rows == 25
    np.testing.assert_array_equal(merged.features, features)
    np.testing.assert_array_equal(merged.explanation.array, results.array)
