import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.batch_plan import (
    COMPILED_TIMES,
    INTERACTION_NUMBERS,
    INTERACTION_ROWS,
    LARGE_BATCH_MB,
    ROWS,
    batch_budget_bytes,
    plan_batch_rows,
    plan_interaction_rows,
    plan_interventional_rows,
    row_bytes,
)
from shared.errors import BatchTooLargeError
from shared.interactions import Interactions
from shared.settings import Settings


def test_a_batch_has_the_rows_that_take_as_long_or_those_that_are_set() -> None:
    compiled = (
        ROWS * COMPILED_TIMES,
        LARGE_BATCH_MB * 2**20 // 400,
        ROWS,
    )  # fewer wide rows, but not ever fewer
    for features, rows in zip((30, 99, 4000), compiled, strict=True):
        assert plan_batch_rows(features, 1, Settings(), compiled=True) == rows
    assert plan_batch_rows(30, 1, Settings()) == 500
    assert plan_batch_rows(600, 1, Settings(), power=2) < 500  # interactions
    for rows in (1, 499, 501, 20_000):
        for how in (False, True):
            assert plan_batch_rows(30, 1, Settings(batch_rows=rows), compiled=how) == rows


@given(
    features=st.integers(1, 5000), outputs=st.integers(1, 50), power=st.integers(1, 2), compiled=st.booleans()
)
@settings(max_examples=50)
def test_a_batch_always_fits_its_budget_or_is_refused(
    features: int, outputs: int, power: int, *, compiled: bool
) -> None:
    settings = Settings()
    try:
        rows = plan_batch_rows(features, outputs, settings, power, compiled=compiled)
    except BatchTooLargeError:
        assert row_bytes(features, outputs, power) > batch_budget_bytes(settings)
    else:
        assert 1 <= rows <= ROWS * (COMPILED_TIMES if compiled else 1)
        assert rows * row_bytes(features, outputs, power) <= batch_budget_bytes(settings)


def test_a_large_background_makes_interventional_batches_small() -> None:
    for background_rows, outputs, rows in ((100, 1, 500), (1000, 5, 10), (10**6, 1, 1)):
        assert plan_interventional_rows(500, background_rows, outputs) == rows


def test_a_batch_with_interactions_fits_the_budget_whole_or_as_pairs() -> None:
    settings = Settings(worker_memory_limit_mb=200)
    budget = batch_budget_bytes(settings)
    for features, outputs in ((13, 3), (30, 1), (600, 1), (600, 3), (900, 1)):
        for interactions in (Interactions(), Interactions(top_pairs=100)):
            rows = plan_interaction_rows(features, outputs, settings, interactions)
            assert 1 <= rows <= INTERACTION_ROWS
            assert rows == 1 or rows * outputs * (features + 1) ** 2 <= INTERACTION_NUMBERS
            assert rows * 4 * interactions.numbers(features, outputs) <= budget
    assert plan_interaction_rows(600, 1, settings, Interactions()) < 20
    assert plan_interaction_rows(600, 1, settings, Interactions(top_pairs=10)) == 46  # whole, they are 67 MB
    assert plan_interaction_rows(30, 1, settings, Interactions(top_pairs=10)) == INTERACTION_ROWS
    assert plan_interaction_rows(2800, 1, Settings(), Interactions(top_pairs=10)) <= 2


def test_the_refusal_names_the_largest_size_that_fits() -> None:
    tight = Settings(worker_memory_limit_mb=200)
    plans: tuple[Callable[[int], int], ...] = (
        lambda features: plan_batch_rows(features, 200, Settings()),
        lambda features: plan_interaction_rows(features, 2, tight, Interactions()),
        lambda features: plan_interaction_rows(features, 2, tight, Interactions(top_pairs=1)),
    )
    for plan in plans:
        with pytest.raises(BatchTooLargeError) as refused:
            plan(50_000)
        most = int(re.findall(r"at most (\d+)", str(refused.value))[0])
        assert plan(most) >= 1
        with pytest.raises(BatchTooLargeError):
            plan(most + 1)
