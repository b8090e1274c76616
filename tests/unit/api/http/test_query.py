"""Parameters of requests, and the keys that open them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from services.api.http.authentication import Access, KeyRing
from services.api.http.query import Query, RowRange, Wait, read_row_range, read_wait
from shared.errors import BadParameterError, ForbiddenError, UnauthorizedError
from shared.settings import Settings


def query(*known: str, **given: object) -> Query:
    return Query(SimpleNamespace(params=given), *known)


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        *(("wait=5", 5), ("Wait=5", 5), ("respond-async, wait=7", 7), ('wait="8"', 8), ("wait = 9; x=y", 9)),
        *(("wait=3, wait=4", 3), ("wait=99999", 60)),
        *((other, None) for other in (None, "", "wait", "wait=x", "wait=-1", "return=minimal", "await=5")),
    ],
)
def test_a_preference_to_wait_is_understood_and_any_other_leaves_the_default(
    prefer: str | None, seconds: float | None
) -> None:
    wanted = Wait(30) if seconds is None else Wait(seconds, preferred=True)
    assert read_wait(query("wait"), prefer, 30) == wanted
    assert read_wait(query("wait", wait="1.5"), prefer) == Wait(1.5)  # the parameter goes first


def test_numbers_are_ascii_and_a_range_of_rows_ends_with_the_last_row() -> None:
    with pytest.raises(BadParameterError):
        query("limit", limit="\u0663").whole("limit", 1, 1)
    assert read_row_range(query("offset", "limit", offset="3", limit="9")).of(5) == range(3, 5)
    assert RowRange().of(0) == range(0)
    with pytest.raises(BadParameterError, match="beyond"):
        RowRange(6).of(5)


def test_a_key_opens_what_it_is_for_and_one_that_is_unset_nothing() -> None:
    for given in ("Bearer None", "Bearer ", "Bearer x", None):
        with pytest.raises(UnauthorizedError):
            KeyRing(Settings()).require(Access.JOBS, given, "/v1/jobs")
    ring = KeyRing(Settings(api_key="k" * 16, admin_api_key="a" * 16, metrics_token="m" * 16))
    ring.require(Access.JOBS, "bearer " + "k" * 16, "/v1/jobs")
    ring.require(Access.ADMIN, "BEARER  " + "a" * 16, "/v1/workers/recycle")
    ring.require(Access.OPEN, None, "/healthz")
    with pytest.raises(ForbiddenError, match="/metrics, which requires the METRICS_TOKEN"):
        ring.require(Access.METRICS, "Bearer " + "k" * 16, "/metrics")
    with pytest.raises(ForbiddenError, match="/v1/jobs, which requires the API_KEY"):
        ring.require(Access.JOBS, "Bearer " + "m" * 16, "/v1/jobs")
