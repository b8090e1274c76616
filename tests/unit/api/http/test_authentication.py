from __future__ import annotations

import pytest

from services.api.http.authentication import Access, KeyRing
from shared.errors import UnauthorizedError
from shared.settings import Settings


def test_a_key_that_is_unset_opens_nothing() -> None:
    ring = KeyRing.of(Settings())
    for given in ("Bearer None", "Bearer ", "Bearer x", None):
        with pytest.raises(UnauthorizedError):
            ring.rights(given)


def test_the_scheme_is_read_in_any_case() -> None:
    ring = KeyRing.of(Settings(api_key="k" * 16, admin_api_key="a" * 16))
    assert ring.rights("bearer " + "k" * 16) == {Access.JOBS}
    assert Access.ADMIN in ring.rights("BEARER  " + "a" * 16)
