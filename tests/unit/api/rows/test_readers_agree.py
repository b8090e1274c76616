from __future__ import annotations

import csv
import io
import json
import tracemalloc
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from services.api.rows.csv_rows import read_csv
from services.api.rows.json_body import read_json_options, read_json_rows
from services.api.rows.json_rows import read_ndjson
from services.api.rows.npy_rows import read_npy
from services.api.rows.readers import READERS
from services.api.rows.row_spec import RowSpec
from tests.unit.api.rows.features import numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray

MATRICES = np_st.arrays(
    np.float32,
    st.tuples(st.integers(1, 40), st.integers(1, 6)),
    elements=st.floats(width=32, allow_infinity=False, allow_nan=True),
)
# A name of blanks alone is, as the only column, a blank line of CSV.
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=8).filter(
    str.strip
)


def to_cells(row: NDArray[np.float32]) -> list[float | None]:
    return [None if np.isnan(cell) else float(cell) for cell in row]


def write_csv_body(matrix: NDArray[np.float32], names: tuple[str, ...], order: list[int]) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow([names[column] for column in order])
    for row in matrix:
        cells = to_cells(row)
        # "nan" rather than empty: an empty line of a one-column model would be no row.
        writer.writerow(["nan" if cells[column] is None else cells[column] for column in order])
    return file.getvalue().encode()


def write_rows(matrix: NDArray[np.float32], names: tuple[str, ...], order: list[int]) -> list[Any]:
    """Arrays and objects in turn, the objects' members in another order."""
    rows = [to_cells(row) for row in matrix]
    return [
        {names[column]: row[column] for column in order} if index % 2 else row
        for index, row in enumerate(rows)
    ]


def write_npy_body(matrix: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    np.save(file, matrix)
    return file.getvalue()


@settings(max_examples=150, deadline=None)
@given(data=st.data(), matrix=MATRICES, chunk_rows=st.integers(1, 50))
def test_the_same_matrix_comes_out_of_all_readers_whatever_the_chunks(
    data: st.DataObject, matrix: NDArray[np.float32], chunk_rows: int
) -> None:
    columns = matrix.shape[1]
    names = tuple(
        data.draw(st.lists(NAMES, min_size=columns, max_size=columns, unique_by=lambda name: name.strip()))
    )
    order = data.draw(st.permutations(range(columns)))
    spec = RowSpec(numbers(*names), chunk_rows, len(matrix))
    rows = write_rows(matrix, names, order)
    bodies: dict[Callable[[BinaryIO, RowSpec], Iterator[NDArray[np.float32]]], bytes] = {
        read_csv: write_csv_body(matrix, names, order),
        read_ndjson: "\n".join(map(json.dumps, rows)).encode(),
        read_json_rows: json.dumps({"rows": rows}, ensure_ascii=columns > 2).encode(),
        read_npy: write_npy_body(matrix),
        partial(read_npy): write_npy_body(matrix.astype(">f8")),
    }
    for read, body in bodies.items():
        chunks = list(read(io.BytesIO(body), spec))
        np.testing.assert_array_equal(np.concatenate(chunks), matrix)
        assert all(len(chunk) == chunk_rows for chunk in chunks[:-1])
        assert all(chunk.flags.c_contiguous and chunk.dtype == np.float32 for chunk in chunks)


SPEC = RowSpec(numbers(*(f"feature_{number}" for number in range(10))), 500, 1_000_000)


def make_body(media_type: str, rows: int) -> io.BytesIO:
    line = ",".join(["0.12345678"] * 10)
    if media_type == "text/csv":
        return io.BytesIO((",".join(SPEC.names) + "\n" + (line + "\n") * rows).encode())
    if media_type == "application/x-ndjson":
        return io.BytesIO((f"[{line}]\n" * rows).encode())
    if media_type == "application/json":
        return io.BytesIO(('{"rows":[' + ",".join([f"[{line}]"] * rows) + '],"model":"m"}').encode())
    return io.BytesIO(write_npy_body(np.full((rows, 10), 0.12345678, dtype=np.float32)))


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.media_type)
def test_a_hundred_times_the_rows_take_no_more_memory(reader: Any) -> None:
    peaks = []
    for rows in (500, 50_000):
        body = make_body(reader.media_type, rows)
        tracemalloc.start()
        try:
            if reader.options_in_body:
                read_json_options(body)
                body.seek(0)
            assert sum(len(chunk) for chunk in reader.read(body, SPEC)) == rows
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000
    assert peaks[1] < 3_000_000
