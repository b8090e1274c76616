from __future__ import annotations

import csv
import io

import numpy as np

from services.api.results.csv_format import write_csv
from tests.unit.api.results.made_result import make_result


def test_one_output_gives_a_line_a_row() -> None:
    result = make_result([[[0.1, -2, 0.5, 7]], [[1e-7, np.nan, 0.5, 3.4e38]]], ["a", "b"], ["x"])
    assert b"".join(write_csv(result)) == (
        b"a,b,base_value,prediction\r\n0.1,-2.0,0.5,7.0\r\n1e-7,,0.5,3.4e+38\r\n"
    )


def test_several_outputs_give_a_line_a_row_and_output_named_first() -> None:
    result = make_result([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]], ["a"], ["x", "y"])
    assert b"".join(write_csv(result)).decode().split() == [
        "output,a,base_value,prediction",
        "x,1.0,2.0,3.0",
        "y,4.0,5.0,6.0",
        "x,7.0,8.0,9.0",
        "y,10.0,11.0,12.0",
    ]


def test_names_with_commas_quotes_and_line_breaks_are_quoted() -> None:
    result = make_result([[[1, 2, 3], [4, 5, 6]]], ['a,"b"\n'], ["x,1", "null"])
    lines = list(csv.reader(io.StringIO(b"".join(write_csv(result)).decode(), newline="")))
    assert lines[0] == ["output", 'a,"b"\n', "base_value", "prediction"]
    assert [line[0] for line in lines[1:]] == ["x,1", "null"]


def test_a_page_without_rows_is_the_header_alone() -> None:
    assert (
        b"".join(write_csv(make_result(np.zeros((0, 1, 3)), ["a"], ["x"]))) == b"a,base_value,prediction\r\n"
    )
