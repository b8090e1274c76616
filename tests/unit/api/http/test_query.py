"""Parameters of requests, and the keys that open them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from services.api.http.authentication import Access, KeyRing
from services.api.http.query import Query, RowRange, Wait, read_row_range, read_wait
from shared.errors import BadParameterError, UnauthorizedError
from shared.settings import Settings


def query(*known: str, **given: object) -> Query:
    return Query(SimpleNamespace(params=given), *known)


def test_a_preference_to_wait_is_understood_and_any_other_leaves_the_default() -> None:
    understood = {"wait=5": 5, "Wait=5": 5, "respond-async, wait=7": 7, 'wait="8"': 8, "wait = 9; x=y": 9}
    understood |= {"wait=3, wait=4": 3, "wait=99999": 50}
    for prefer, seconds in understood.items():
        assert read_wait(query("wait"), prefer, 30) == Wait(seconds, preferred=True)
        assert read_wait(query("wait", wait="1.5"), prefer) == Wait(1.5)  # the parameter goes first
    for other in (None, "", "wait", "wait=x", "wait=-1", "return=minimal", "await=5"):
        assert read_wait(query("wait"), other, 30) == Wait(30)


def test_numbers_are_ascii_and_a_range_of_rows_ends_with_the_last_row() -> None:
    with pytest.raises(BadParameterError):
        query("limit", limit="\u0663").whole("limit", 1, 1)
    assert read_row_range(query("offset", "limit", offset="3", limit="9")).of(5) == range(3, 5)
    assert RowRange().of(0) == range(0)
    with pytest.raises(BadParameterError, match="beyond"):
        RowRange(6).of(5)


def test_a_key_that_is_unset_opens_nothing_and_the_scheme_has_any_case() -> None:
    for given in ("Bearer None", "Bearer ", "Bearer x", None):
        with pytest.raises(UnauthorizedError):
            KeyRing(Settings()).require(Access.JOBS, given, "/v1/jobs")
    ring = KeyRing(Settings(api_key="k" * 16, admin_api_key="a" * 16))
    ring.require(Access.JOBS, "bearer " + "k" * 16, "/v1/jobs")
    ring.require(Access.ADMIN, "BEARER  " + "a" * 16, "/v1/workers/recycle")
