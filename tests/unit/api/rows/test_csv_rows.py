from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from services.api.rows.csv_rows import read_csv
from services.api.rows.row_spec import RowSpec
from shared.errors import InvalidRowsError, TooManyRowsError, UnreadableBodyError
from tests.unit.api.rows.features import numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPEC = RowSpec(numbers("age", "sex", "bmi"), chunk_rows=2, max_rows=100)


def read(body: bytes | str, spec: RowSpec = SPEC) -> NDArray[np.float32]:
    data = body.encode() if isinstance(body, str) else body
    return np.concatenate(list(read_csv(io.BytesIO(data), spec)))


def refusal(body: bytes | str, spec: RowSpec = SPEC) -> InvalidRowsError:
    with pytest.raises(InvalidRowsError) as caught:
        read(body, spec)
    return caught.value


def assert_rows(got: NDArray[np.float32], expected: list[list[float]]) -> None:
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, np.array(expected, dtype=np.float32))


@pytest.mark.parametrize(
    "body",
    [
        "age,sex,bmi\n1,2,3\n4,5,6\n7,8,9\n",
        "age,sex,bmi\r\n1,2,3\r\n4,5,6\r\n7,8,9",
        "\ufeffage,sex,bmi\n1,2,3\n4,5,6\n7,8,9\n",
        "bmi,age,sex\n3,1,2\n6,4,5\n9,7,8\n",
        '"age","sex","bmi"\n"1","2","3"\n4,"5",6\n7,8,9\n',
        "\n\nage,sex,bmi\n\n1,2,3\n\n\n4,5,6\n   \n7,8,9\n\n",
        " age , sex,bmi\n 1, +2 ,3.\n4,5e0,.6e1\n7,8,9\n",
        'age,sex,bmi\n"1\n",2,3\n4,5,6\n7,"8","\r\n9"\n',
        "age,sex,bmi\r1,2,3\r4,5,6\r7,8,9\r",
    ],
)
def test_all_usual_ways_to_write_csv_are_read(body: str) -> None:
    assert_rows(read(body), [[1, 2, 3], [4, 5, 6], [7, 8, 9]])


def test_chunks_have_the_wanted_rows_and_are_contiguous_and_the_last_may_be_shorter() -> None:
    chunks = list(read_csv(io.BytesIO(b"bmi,age,sex\n" + b"1,2,3\n" * 5), SPEC))
    assert [chunk.shape for chunk in chunks] == [(2, 3), (2, 3), (1, 3)]
    assert all(chunk.flags.c_contiguous and chunk.dtype == np.float32 for chunk in chunks)


@pytest.mark.parametrize(
    "word",
    [
        *("", '""', " ", "nan", "NaN", "NAN", "-nan", "+NaN", "NA", "na", "Na", "N/A", "n/a"),
        *("null", "NULL", "None", "none", "<NA>", "#N/A"),
    ],
)
def test_empty_cells_and_the_words_for_missing_become_nan(word: str) -> None:
    nan = np.nan
    body = f"age,sex,bmi\n{word},2,3\n{word},{word},3\n1,2,{word}\n{word},{word},{word}\n"
    assert_rows(read(body), [[nan, 2, 3], [nan, nan, 3], [1, 2, nan], [nan, nan, nan]])


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ('x\n1\n\n""\n2\n', [1, np.nan, np.nan, 2]),
        ("x\n5\n\n", [5, np.nan]),
        ("x\n5", [5]),
        ("\n\nx\n\n", [np.nan]),
        ("x\r\n\r\n   \r\n5\r\n", [np.nan, np.nan, 5]),
        ("x\r5\r\r6", [5, np.nan, 6]),
        (f"x\n{'1\n' * 32_766}\n1\n", [*[1] * 32_766, np.nan, 1]),
        (f"x\n{'1\n' * 32_767}\n", [*[1] * 32_767, np.nan]),
        (f"x\n{'\n' * 70_000}", [np.nan] * 70_000),
    ],
)
def test_a_blank_line_is_a_missing_value_where_the_model_has_one_feature(
    body: str, wanted: list[float]
) -> None:
    assert_rows(read(body, RowSpec(numbers("x"), 1000, 100_000)), [[value] for value in wanted])


def test_feature_names_may_hold_commas_quotes_and_line_breaks() -> None:
    spec = RowSpec(numbers("a,b", 'say "x"', "two\nlines"), 10, 10)
    assert_rows(read('"a,b","say ""x""","two\nlines"\n1,2,3\n', spec), [[1, 2, 3]])


def test_a_row_with_too_few_columns_is_refused_with_its_row_number() -> None:
    error = refusal("age,sex,bmi\n1,2,3\n\n1,2\n").errors[0]
    assert (error.row, error.column) == (1, None)
    assert "2 cells" in error.detail
    assert "3" in error.detail


def test_a_row_with_too_many_columns_is_refused_with_its_row_number() -> None:
    assert refusal("age,sex,bmi\n1,2,3,4\n").errors[0].row == 0


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("age,sex,bmi,height", "unknown: 'height'"),
        ("age,sex", "missing: 'bmi'"),
        ("age,sex,bmi,sex", "doubled: 'sex'"),
        ("age;sex;bmi", "semicolons"),
        ('"age";"sex";"bmi"', "semicolons"),
        ('"age;years"\t"sex"\t"bmi"', "tabs"),
        ('"age"|"sex"|"bmi"', "vertical bars"),
        ("age;sex;bmi", 'sep=","'),
        ("0,1,2", "name the model's features instead, 'age', 'sex', 'bmi'. If this line is a row"),
        (",age,sex,bmi", "to_csv(..., index=False)"),
        ("Unnamed: 0,age,sex,bmi", "to_csv(..., index=False)"),
        ("age,sex,bmi,", "remove the comma at the end of each line"),
        ("1.5,2,3", "put a header before it, with the model's features, 'age', 'sex', 'bmi'"),
    ],
)
def test_a_header_with_other_columns_is_refused_and_they_are_named(header: str, named: str) -> None:
    fault = refusal(f"{header}\n1,2,3\n")
    assert named in str(fault)
    assert all(error.row is None and error.column is not None for error in fault.errors)


def test_text_in_a_number_column_is_named_by_row_and_column_and_quoted() -> None:
    error = refusal("bmi,age,sex\n1,2,3\n4,tall,6\n").errors[0]
    assert (error.row, error.column) == (1, "age")
    assert "'tall'" in error.detail


@pytest.mark.parametrize(
    "cell", ["1_000", '"1,5"', "0x10", "1 2", "\u0661", "--1", "yes", "nah", "nanna", "5'", '5"']
)
def test_texts_that_only_look_like_numbers_are_refused(cell: str) -> None:
    assert refusal(f"age,sex,bmi\n{cell},2,3\n").errors[0].column == "age"


def test_a_long_text_is_shortened_in_the_answer() -> None:
    assert len(refusal("age,sex,bmi\n" + "x" * 5000 + ",2,3\n").errors[0].detail) < 150


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e999"])
def test_infinity_is_refused_with_its_place(cell: str) -> None:
    error = refusal(f"age,sex,bmi\n1,2,3\n1,2,{cell}\n").errors[0]
    assert (error.row, error.column) == (1, "bmi")
    assert "infinity" in error.detail


def test_a_number_beyond_float32_is_refused_and_the_range_is_given() -> None:
    error = refusal("age,sex,bmi\n1,-1e39,3\n").errors[0]
    assert error.column == "sex"
    assert "float32's range" in error.detail


def test_the_largest_float32_is_taken() -> None:
    assert read("age,sex,bmi\n3.4028235e38,1e-45,0\n")[0, 0] == np.finfo(np.float32).max


def test_faults_are_gathered_over_the_chunk_and_no_more_than_twenty_are_listed() -> None:
    spec = RowSpec(SPEC.features, 1000, 1000)
    assert len(refusal("age,sex,bmi\na,2,3\n1,b\n1,2,inf\n", spec).errors) == 3
    assert len(refusal("age,sex,bmi\n" + "a,b,c\n" * 50, spec).errors) == 20


@pytest.mark.parametrize("body", [b"", b"\n\n", b"\xef\xbb\xbf", b"  \r\n"])
def test_an_empty_body_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableBodyError, match="is empty"):
        read(body)


@pytest.mark.parametrize("body", ["age,sex,bmi", "age,sex,bmi\n", "age,sex,bmi\r\n\r\n"])
def test_a_header_alone_is_refused_because_there_are_no_rows(body: str) -> None:
    assert "no rows" in str(refusal(body))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"age,sex,bmi\n1,2,\x00\n", "NUL"),
        ("age,sex,bmi\n1,2,3\n".encode("utf-16"), "NUL"),
        (b"age,sex,bmi\n1,2,\xe9\n", "Byte 16 .* not UTF-8"),
        (b'age,sex,bmi\n1,2,"3\n4,5,6\n', "close every quote"),
        (b'age,sex,bmi\n1,2,"3"4\n', "in row 0 .*close every quote"),
        (b'age,sex,bmi\n"1",2,3\n4,5,6\n1,2,"3"4\n', "in row 2 .*close every quote"),
    ],
)
def test_bytes_that_are_no_csv_are_unreadable_with_the_reason(body: bytes, told: str) -> None:
    with pytest.raises(UnreadableBodyError, match=told):
        read(body)


def test_more_rows_than_the_limit_are_refused_with_the_limit() -> None:
    with pytest.raises(TooManyRowsError, match="100 rows"):
        read("age,sex,bmi\n" + "1,2,3\n" * 101)


class Endless(io.RawIOBase):
    """A body without an end, made of one text over and over; counts what is taken of it."""

    def __init__(self, start: bytes, again: bytes) -> None:
        self.taken = 0
        self._start, self._again = start, again

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self.taken += size
        start, self._start = self._start, b""
        return (start + self._again * (size // len(self._again) + 1))[:size]


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (b"", b"feature_1,"),
        (b"age,sex,bmi\n1,2,3\n", b"1,"),
        (b"age,sex,bmi\n1,2,3\n", b"      "),
        (b'age,sex,bmi\n1,2,"3', b"xxxx\n"),
        (b"age,sex,bmi\n1,2,3", b'"\n","\n'),
    ],
)
def test_a_row_without_an_end_is_refused_after_a_few_blocks(start: bytes, again: bytes) -> None:
    body = Endless(start, again)
    with pytest.raises((InvalidRowsError, UnreadableBodyError)):
        list(read_csv(body, SPEC))  # type: ignore[arg-type]  # only read() is used
    assert body.taken < 2_000_000


def test_a_million_columns_are_refused_at_once() -> None:
    header = ",".join(f"feature_{number}" for number in range(1_000_000)).encode()
    started = time.process_time()
    assert "header is longer" in str(refusal(header + b"\n" + b"1," * 999_999 + b"1\n"))
    assert time.process_time() - started < 1


def test_a_row_of_a_million_cells_is_refused_with_its_number() -> None:
    assert refusal(b"age,sex,bmi\n1,2,3\n" + b"1," * 1_000_000).errors[0].row == 1
