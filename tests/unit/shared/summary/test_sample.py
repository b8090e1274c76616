import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.jobs.document import Job, Method
from shared.summary.summary import SAMPLE_BYTES, SAMPLE_ROWS, keeps_summary, sample_size, sampled_places


def job(rows: int, batch_rows: int = 500, features: int = 10, outputs: int = 1) -> Job:
    return Job(
        id="a" * 32,
        model="m@1",
        method=Method.TREE_PATH_DEPENDENT,
        rows=rows,
        batch_rows=batch_rows,
        features=features,
        outputs=outputs,
    )


@given(rows=st.integers(1, 300_000), batch_rows=st.integers(1, 5000))
@settings(max_examples=60, deadline=None)
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


def test_a_small_job_is_its_own_sample() -> None:
    some = job(1700)

    assert sample_size(some) == 1700
    np.testing.assert_array_equal(sampled_places(some, 3), np.arange(200))


@pytest.mark.parametrize(
    ("some", "kept"),
    [
        (job(1), False),
        (job(500), False),
        (job(10 * SAMPLE_ROWS - 1), False),
        (job(10 * SAMPLE_ROWS), True),
        (job(1_000_000), True),
        (job(10 * SAMPLE_ROWS, batch_rows=10 * SAMPLE_ROWS), False),
    ],
)
def test_only_jobs_of_many_rows_and_batches_keep_summaries(some: Job, kept: bool) -> None:  # noqa: FBT001
    assert keeps_summary(some) is kept


def test_of_a_very_wide_model_fewer_rows_are_kept() -> None:
    wide = job(10_000, features=50_000, outputs=4)

    assert 1 <= sample_size(wide) * 5 * 50_000 * 4 <= SAMPLE_BYTES


def test_of_very_wide_rows_nothing_is_kept() -> None:
    # A batch's summary would be larger than its values, and not fit its worker.
    assert keeps_summary(job(50_000, features=1000, outputs=50))
    assert not keeps_summary(job(50_000, features=1001, outputs=50))
    assert not keeps_summary(job(20, batch_rows=5, features=1000, outputs=1000))
