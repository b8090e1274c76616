from __future__ import annotations

import falcon.testing
import pytest

from services.api.http.query import RowRange
from services.api.results.negotiation import accepts_gzip
from services.api.results.writer import Writer
from shared.errors import NotAcceptableError
from shared.interactions import Interactions

JSON, CSV, NDJSON, NPY = "application/json", "text/csv", "application/x-ndjson", "application/x-npy"


def negotiated(accept: str | None, interactions: Interactions | None = None) -> str:
    request = falcon.testing.create_req(headers={} if accept is None else {"Accept": accept})
    return Writer.negotiate(request, RowRange()).format_for(interactions).media_type


def test_the_highest_weight_is_chosen_and_json_where_there_is_no_choice() -> None:
    wanted = {
        **dict.fromkeys((None, "", "*/*", "application/*", f"{CSV}, {JSON}"), JSON),
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": JSON,
        **dict.fromkeys(("text/*", CSV, f"{CSV}, */*", f"{CSV}; q=0.5 , {JSON}; q=0.4"), CSV),
        f"{JSON};q=0, */*": CSV,
        f"{CSV};header=present;q=1.000": CSV,
        NDJSON: NDJSON,
        f"{JSON};q=0, application/*": NDJSON,
        "Application/X-NPY": NPY,
        f"{CSV};q=0.5, {NPY};q=0.9": NPY,
        f"{CSV};q=soon, {NPY};q=0.1": NPY,
    }
    assert {accept: negotiated(accept) for accept in wanted} == wanted


def test_where_nothing_fits_all_that_can_be_written_is_listed() -> None:
    for accept in ("text/html", "*/*;q=0", f"{JSON};q=0", "image/*", ",", ";;;", "application/problem+json"):
        with pytest.raises(NotAcceptableError) as caught:
            negotiated(accept)
        assert all(media_type in str(caught.value) for media_type in (JSON, CSV, NDJSON, NPY))


def test_a_result_with_interactions_takes_the_best_format_that_can_carry_them() -> None:
    assert negotiated(f"{CSV}, {NDJSON};q=0.5", Interactions()) == NDJSON
    assert negotiated(NPY, Interactions()) == NPY
    assert negotiated(f"{NPY}, {JSON};q=0.1", Interactions(3)) == JSON
    for accept, interactions in ((CSV, Interactions()), (NPY, Interactions(3))):
        with pytest.raises(NotAcceptableError, match="interactions=false"):
            negotiated(accept, interactions)


def test_gzip_is_used_where_it_is_asked_for() -> None:
    asked = ("gzip", "deflate, GZIP;q=0.5, br", "*")
    not_asked = (None, "", "gzip;q=0, *", "br", "gzip;q=oops")
    assert [accepts_gzip(one) for one in (*asked, *not_asked)] == [True] * 3 + [False] * 5
