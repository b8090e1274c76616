from collections.abc import Callable

import pytest

from ops.lab.bench.timing import Cell, WayError, cell_text, fill_cells, rows_that_fit


def costing(a_row: float, a_call: float = 0.0, calls: list[int] | None = None) -> Callable[[int], float]:
    def way(rows: int) -> float:
        if calls is not None:
            calls.append(rows)
        return a_call + a_row * rows

    return way


@pytest.mark.parametrize(
    ("a_row", "a_call", "rows", "least", "most"),
    [
        (1e-6, 0.0, 100_000, 100_000, 100_000),
        (1e-4, 0.0, 100_000, 3_000, 15_000),
        (3e-3, 0.0, 100_000, 100, 500),
        (0.02, 0.0, 100_000, 15, 75),
        (1e-6, 5.0, 100_000, 100_000, 100_000),  # a costly beginning does not make rows costly
        (60.0, 0.0, 1, 1, 1),
        (60.0, 0.0, 500, 1, 1),  # one row is measured however slow it is
    ],
)
def test_as_many_rows_are_taken_as_fit(a_row: float, a_call: float, rows: int, least: int, most: int) -> None:
    assert least <= rows_that_fit(costing(a_row, a_call), rows, 1.0) <= most


def test_a_cell_holds_seconds_a_row_and_on_how_many_rows() -> None:
    calls: list[int] = []
    # A share of 0.02 s for each of two ways and LEAST_TURNS + 2 turns; the slow one has one turn.
    found = fill_cells({"quick": costing(1e-3), "slow": costing(0.5, calls=calls)}, 100, 0.2)
    quick = found["quick"]
    assert isinstance(quick, Cell)
    assert quick.rows == 20
    assert (quick.low, quick.median, quick.high) == pytest.approx((1e-3, 1e-3, 1e-3))
    assert isinstance(found["slow"], Cell)
    assert found["slow"].rows == 1
    assert calls[-2:] == [20, 1]
    assert cell_text(quick, 100) == "1,000 (1,000-1,000) on 20"


@pytest.mark.parametrize("good_calls", [0, 1, 2, 3])
def test_a_way_that_fails_says_why_and_the_others_are_measured(good_calls: int) -> None:
    left = iter(range(good_calls))

    def failing(rows: int) -> float:
        del rows
        for _ in left:
            return 0.01
        raise WayError("its process ended")

    found = fill_cells({"failing": failing, "well": costing(0.01)}, 1, 0.1)
    assert cell_text(found["failing"], 1) == "its process ended"
    assert isinstance(found["well"], Cell)
