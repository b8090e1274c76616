from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.csv_cells import harmless, harmless_names, readable

TEXTS = st.text("'=+-@\t1.e\uff1da", max_size=4)


@given(TEXTS)
def test_a_harmless_text_does_not_begin_like_a_formula_unless_it_is_a_number(text: str) -> None:
    written = harmless(text)
    assert written in {text, f"'{text}"}
    if written[:1] in {*"=+-@\t\uff1d"} - {""}:
        assert written == text
        float(text)


@given(st.lists(TEXTS, unique=True))
def test_each_of_several_names_is_read_as_itself_however_it_is_written(names: list[str]) -> None:
    found, written = readable(names), harmless_names(names)
    assert [found[written[name]] for name in names] == names == [found[name] for name in names]
