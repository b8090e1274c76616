from __future__ import annotations

import pytest

from services.api.results.accept_header import accepts_gzip
from services.api.results.negotiation import choose_writer
from shared.errors import NotAcceptableError

JSON, CSV, NDJSON, NPY = "application/json", "text/csv", "application/x-ndjson", "application/x-npy"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("text/*", CSV),
        (CSV, CSV),
        (NDJSON, NDJSON),
        ("Application/X-NPY", NPY),
        (f"{CSV}, */*", CSV),
        (f"{CSV};q=0.5, {NPY};q=0.9", NPY),
        (f"{CSV}; q=0.5 , {JSON}; q=0.4", CSV),
        (f"{JSON};q=0, */*", CSV),
        (f"{JSON};q=0, application/*", NDJSON),
        (f"{CSV}, {JSON}", JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", JSON),
        (f"{CSV};header=present;q=1.000", CSV),
        (f"{CSV};q=soon, {NPY};q=0.1", NPY),
    ],
)
def test_the_highest_weight_is_chosen_and_json_where_there_is_no_choice(
    accept: str | None, media_type: str
) -> None:
    assert choose_writer(accept).media_type == media_type


@pytest.mark.parametrize(
    "accept", ["text/html", "*/*;q=0", f"{JSON};q=0", "image/*", ",", ";;;", "application/problem+json"]
)
def test_where_nothing_fits_all_that_can_be_written_is_listed(accept: str) -> None:
    with pytest.raises(NotAcceptableError) as caught:
        choose_writer(accept)
    assert all(media_type in str(caught.value) for media_type in (JSON, CSV, NDJSON, NPY))


def test_the_length_is_known_beforehand_for_npy_alone() -> None:
    assert choose_writer(NPY).measure is not None
    assert all(choose_writer(media_type).measure is None for media_type in (JSON, CSV, NDJSON))


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5, br", True),
        ("*", True),
        ("gzip;q=0, *", False),
        ("br", False),
        ("gzip;q=oops", False),
    ],
)
def test_gzip_is_used_where_it_is_asked_for(accept_encoding: str | None, expected: bool) -> None:  # noqa: FBT001 - a parametrised value
    assert accepts_gzip(accept_encoding) is expected
