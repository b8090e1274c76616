import re

import pytest
from hypothesis import given
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


@pytest.mark.parametrize(
    ("features", "how", "rows"),
    [
        (30, {}, 500),
        (30, {"compiled": True}, ROWS * COMPILED_TIMES),
        (99, {"compiled": True}, LARGE_BATCH_MB * 2**20 // 400),  # fewer wide rows
        (4000, {"compiled": True}, ROWS),  # but no fewer than others
    ],
)
def test_a_batch_has_the_rows_that_take_as_long(features: int, how: dict[str, bool], rows: int) -> None:
    assert plan_batch_rows(features=features, outputs=1, settings=Settings(), **how) == rows
    assert plan_batch_rows(features=600, outputs=1, settings=Settings(), power=2) < 500  # interactions


@pytest.mark.parametrize("compiled", [False, True])
def test_batch_rows_is_exact_where_it_is_set(*, compiled: bool) -> None:
    for rows in (1, 499, 501, 20_000):
        assert plan_batch_rows(30, 1, Settings(batch_rows=rows), compiled=compiled) == rows


@given(
    features=st.integers(1, 5000), outputs=st.integers(1, 50), power=st.integers(1, 2), compiled=st.booleans()
)
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


def test_the_refusal_names_the_largest_size_that_fits() -> None:
    settings = Settings()

    with pytest.raises(BatchTooLargeError) as caught:
        plan_batch_rows(features=50_000, outputs=200, settings=settings)

    most = int(str(caught.value).partition("at most ")[2].split()[0])
    assert plan_batch_rows(most, 200, settings) >= 1
    with pytest.raises(BatchTooLargeError):
        plan_batch_rows(most + 1, 200, settings)


def test_a_large_background_makes_interventional_batches_small() -> None:
    assert plan_interventional_rows(500, background_rows=100, outputs=1) == 500
    assert plan_interventional_rows(500, background_rows=1000, outputs=5) == 10
    assert plan_interventional_rows(500, background_rows=10**6, outputs=1) == 1


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


def test_a_row_whose_matrices_do_not_fit_is_refused_with_the_largest_size_that_does() -> None:
    settings = Settings(worker_memory_limit_mb=200)
    for interactions in (Interactions(), Interactions(top_pairs=1)):
        with pytest.raises(BatchTooLargeError, match="at most") as refused:
            plan_interaction_rows(5000, 2, settings, interactions)
        most = int(re.findall(r"at most (\d+) features", str(refused.value))[0])
        assert plan_interaction_rows(most, 2, settings, interactions) >= 1
        with pytest.raises(BatchTooLargeError):
            plan_interaction_rows(most + 1, 2, settings, interactions)
