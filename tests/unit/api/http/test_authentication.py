from __future__ import annotations

import pytest

from services.api.http.authentication import Access, KeyRing
from shared.errors import ForbiddenError, UnauthorizedError
from shared.settings import Settings


def test_a_key_that_is_unset_opens_nothing() -> None:
    ring = KeyRing(Settings())
    for given in ("Bearer None", "Bearer ", "Bearer x", None):
        with pytest.raises(UnauthorizedError):
            ring.require(Access.JOBS, given, "/v1/jobs")


def test_the_scheme_is_read_in_any_case() -> None:
    ring = KeyRing(Settings(api_key="k" * 16, admin_api_key="a" * 16))
    ring.require(Access.JOBS, "bearer " + "k" * 16, "/v1/jobs")
    ring.require(Access.ADMIN, "BEARER  " + "a" * 16, "/v1/workers/recycle")


def test_a_key_opens_what_it_is_for_and_nothing_else() -> None:
    ring = KeyRing(Settings(api_key="k" * 16, metrics_token="m" * 16))
    with pytest.raises(ForbiddenError, match="/metrics, which requires the METRICS_TOKEN"):
        ring.require(Access.METRICS, "Bearer " + "k" * 16, "/metrics")
    with pytest.raises(ForbiddenError, match="/v1/jobs, which requires the API_KEY"):
        ring.require(Access.JOBS, "Bearer " + "m" * 16, "/v1/jobs")
    ring.require(Access.OPEN, None, "/healthz")
