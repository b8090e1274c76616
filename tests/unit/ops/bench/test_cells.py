from collections.abc import Callable

import pytest

from ops.lab.bench.cells import Cell, fill_cells, rows_that_fit
from ops.lab.bench.peer_engine import PeerError


def costing(a_row: float, a_call: float = 0.0, calls: list[int] | None = None) -> Callable[[int], float]:
    def way(rows: int) -> float:
        if calls is not None:
            calls.append(rows)
        return a_call + a_row * rows

    return way


def test_all_rows_fit_where_they_are_quick() -> None:
    assert rows_that_fit(costing(1e-6), 100_000, 1.0) == 100_000


@pytest.mark.parametrize("a_row", [1e-4, 3e-3, 0.02, 0.9])
def test_of_slow_rows_as_many_are_taken_as_fit(a_row: float) -> None:
    rows = rows_that_fit(costing(a_row), 100_000, 1.0)
    assert 0.3 < rows * a_row <= 1.5


def test_a_costly_beginning_does_not_make_rows_costly() -> None:
    assert rows_that_fit(costing(1e-6, a_call=5.0), 100_000, 1.0) == 100_000


def test_one_row_is_measured_however_slow_it_is() -> None:
    assert rows_that_fit(costing(60.0), 1, 1.0) == 1
    assert rows_that_fit(costing(60.0), 500, 1.0) == 1


def test_a_cell_holds_seconds_a_row_and_on_how_many_rows() -> None:
    # A share of 0.02 s for each of two ways and LEAST_TURNS + 2 turns.
    found = fill_cells({"quick": costing(1e-3), "slow": costing(0.5)}, 100, 0.2)
    quick = found["quick"]
    assert isinstance(quick, Cell)
    assert quick.rows == 20
    assert (quick.low, quick.median, quick.high) == pytest.approx((1e-3, 1e-3, 1e-3))
    assert isinstance(found["slow"], Cell)
    assert found["slow"].rows == 1


def test_who_fails_says_why_and_the_others_are_measured() -> None:
    def failing(rows: int) -> float:
        if rows > 1:
            raise PeerError("out of memory")
        return 0.001

    found = fill_cells({"failing": failing, "well": costing(1e-5)}, 500, 0.1)
    assert found["failing"] == "out of memory"
    assert isinstance(found["well"], Cell)


def test_who_fails_in_a_later_turn_says_why() -> None:
    left = iter([0.001, 0.001, 0.001])

    def failing(rows: int) -> float:
        del rows
        for each in left:
            return each
        raise PeerError("its process ended")

    assert fill_cells({"failing": failing}, 1, 0.1) == {"failing": "its process ended"}


def test_a_way_that_is_slower_than_all_the_time_has_one_turn() -> None:
    calls: list[int] = []
    fill_cells({"slow": costing(9.0, calls=calls), "quick": costing(1e-5)}, 1, 0.1)
    assert len(calls) == 2 + 1
