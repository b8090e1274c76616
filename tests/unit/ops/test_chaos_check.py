"""The check finds and names every change of a result."""

from __future__ import annotations

import numpy as np
import pytest

from ops.lab.chaos.check import Matrix, check_rows, check_sums


@pytest.fixture
def wanted() -> Matrix:
    return np.random.default_rng(1).normal(size=(40, 2, 5)).astype(np.float32)


def test_the_right_rows_are_right(wanted: Matrix) -> None:
    found = check_rows(wanted.copy(), wanted)
    assert found.right
    assert not found.said


def test_a_value_that_is_a_little_off_is_found(wanted: Matrix) -> None:
    given = wanted.copy()
    given[17, 1, 3] += 1e-3
    found = check_rows(given, wanted)
    assert (found.wrong, found.duplicated, found.missing) == (1, 0, 0)
    assert "row 17" in found.said


def test_two_rows_that_changed_places_are_misplaced(wanted: Matrix) -> None:
    given = wanted.copy()
    given[[3, 9]] = wanted[[9, 3]]
    found = check_rows(given, wanted)
    assert (found.wrong, found.duplicated, found.missing) == (0, 2, 0)
    assert "those of row 9" in found.said


def test_a_batch_in_the_place_of_another_is_duplicated(wanted: Matrix) -> None:
    given = wanted.copy()
    given[10:20] = wanted[:10]
    assert check_rows(given, wanted).duplicated == 10


@pytest.mark.parametrize("nothing", [0.0, np.nan])
def test_rows_that_were_never_written_are_missing(wanted: Matrix, nothing: float) -> None:
    given = wanted.copy()
    given[5:8] = nothing
    found = check_rows(given, wanted)
    assert (found.wrong, found.duplicated, found.missing) == (0, 0, 3)
    assert "row 5 first" in found.said


def test_rows_that_are_not_there_are_missing(wanted: Matrix) -> None:
    found = check_rows(wanted[:30], wanted)
    assert (found.missing, found.said) == (10, "30 rows were given for 40")


def test_rows_too_many_are_duplicated(wanted: Matrix) -> None:
    found = check_rows(np.concatenate([wanted, wanted[:4]]), wanted)
    assert (found.duplicated, found.said) == (4, "44 rows were given for 40")


def test_one_value_that_is_no_number_is_found(wanted: Matrix) -> None:
    given = wanted.copy()
    given[0, 0, 0] = np.nan
    assert not check_rows(given, wanted).right


def test_a_result_of_another_model_is_wrong_as_a_whole(wanted: Matrix) -> None:
    assert check_rows(wanted[:, :, :-1], wanted).wrong == 40


def test_sums_that_are_not_the_margin_are_told(wanted: Matrix) -> None:
    margins = wanted.sum(axis=2)
    assert not check_sums(wanted, margins)
    margins[4, 0] += 1
    assert "1 sums" in check_sums(wanted, margins)
