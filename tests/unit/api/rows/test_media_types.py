from __future__ import annotations

import pytest

from services.api.rows.readers import choose_reader
from shared.errors import UnsupportedMediaTypeError


@pytest.mark.parametrize(
    ("content_type", "media_type"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=UTF-8", "application/json"),
        ('text/csv; header=present; charset="utf-8"', "text/csv"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("application/x-npy", "application/x-npy"),
    ],
)
def test_the_content_type_chooses_the_reader(content_type: str, media_type: str) -> None:
    reader = choose_reader(content_type)
    assert reader.media_type == media_type
    assert reader.options_in_body == (media_type == "application/json")


@pytest.mark.parametrize(
    "content_type", [None, "", "text/html", "application/xml", "json", "a\r\nb: c", "\xff" * 500]
)
def test_another_content_type_is_refused_and_supported_ones_are_listed(content_type: str | None) -> None:
    with pytest.raises(UnsupportedMediaTypeError, match="application/json, text/csv"):
        choose_reader(content_type)


def test_another_charset_than_utf8_is_refused() -> None:
    with pytest.raises(UnsupportedMediaTypeError, match="latin-1"):
        choose_reader("text/csv; charset=latin-1")


@pytest.mark.parametrize(
    "parameters",
    ["charset*=x; charset*0*=y", "charset*0*=x; charset*=y", f"charset*0=a; charset*{'1' * 5000}=b"],
)
def test_a_charset_in_pieces_that_do_not_fit_together_is_refused(parameters: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError, match="make no sense"):
        choose_reader(f"application/json; {parameters}")
