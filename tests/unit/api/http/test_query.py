from __future__ import annotations

from types import SimpleNamespace

import pytest

from services.api.http.query import Query, RowRange, Wait, read_row_range, read_wait
from shared.errors import BadParameterError


def query(*known: str, **given: object) -> Query:
    return Query(SimpleNamespace(params=given), *known)


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait=5", 5),
        ("Wait=5", 5),
        ("respond-async, wait=7", 7),
        ('wait="8"', 8),
        ("wait = 9; x=y", 9),
        ("wait=3, wait=4", 3),
        ("wait=99999", 60),
    ],
)
def test_a_preference_to_wait_is_understood(prefer: str, seconds: int) -> None:
    assert read_wait(query("wait"), prefer) == Wait(seconds, preferred=True)


@pytest.mark.parametrize("prefer", [None, "", "wait", "wait=x", "wait=-1", "return=minimal", "await=5"])
def test_any_other_preference_leaves_the_default(prefer: str | None) -> None:
    assert read_wait(query("wait"), prefer, 30) == Wait(30)


def test_the_parameter_goes_before_the_preference() -> None:
    assert read_wait(query("wait", wait="1.5"), "wait=9") == Wait(1.5)


def test_numbers_in_other_scripts_are_no_numbers() -> None:
    with pytest.raises(BadParameterError):
        query("limit", limit="\u0663").whole("limit", 1, 1)


def test_a_range_of_rows_ends_with_the_last_row() -> None:
    assert read_row_range(query("offset", "limit", offset="3", limit="9")).of(5) == range(3, 5)
    assert RowRange().of(0) == range(0)
    with pytest.raises(BadParameterError, match="beyond"):
        RowRange(6).of(5)
