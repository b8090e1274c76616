from __future__ import annotations

import csv
import gzip
import io
import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from services.api.results.csv_format import write_csv
from services.api.results.json_format import write_json, write_ndjson
from services.api.results.negotiation import gzip_stream
from services.api.results.npy_format import write_npy
from services.api.results.writer import FORMATS
from tests.unit.api.results.made_result import make_result

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESULTS = np_st.arrays(
    np.float32,
    st.tuples(st.integers(1, 20), st.integers(1, 4), st.integers(3, 8)),
    elements=st.floats(width=32, allow_infinity=False, allow_nan=True),
)


def outputs_second(values: Any, outputs: int) -> NDArray[np.float32]:
    """Turn rows x features (x outputs) into rows x outputs x features, `None` into NaN."""
    array = np.array(values, dtype=np.float64).astype(np.float32)
    return array[:, None, :] if outputs == 1 else array.transpose(0, 2, 1)


def with_sums(values: Any, base_values: Any, predictions: Any, outputs: int) -> NDArray[np.float32]:
    sums = [np.array(part, dtype=np.float64).astype(np.float32) for part in (base_values, predictions)]
    columns = [part.reshape(-1, outputs, 1) for part in sums]
    return np.concatenate([outputs_second(values, outputs), *columns], axis=2)


@settings(max_examples=150, deadline=None)
@given(numbers=RESULTS, block_rows=st.integers(1, 25))
def test_all_writers_give_back_the_same_float32_numbers(
    numbers: NDArray[np.float32], block_rows: int
) -> None:
    result = make_result(numbers, block_rows=block_rows)
    outputs = numbers.shape[1]

    document = json.loads(b"".join(write_json(result)))
    from_json = with_sums(document["values"], document["base_values"], document["predictions"], outputs)
    np.testing.assert_array_equal(from_json, numbers)

    rows = [json.loads(line) for line in b"".join(write_ndjson(result)).splitlines()]
    values, base_values, predictions = (
        [row[key] for row in rows] for key in ("values", "base_value", "prediction")
    )
    np.testing.assert_array_equal(with_sums(values, base_values, predictions, outputs), numbers)

    _, *lines = csv.reader(io.StringIO(b"".join(write_csv(result)).decode()))
    cells = [[float(cell or "nan") for cell in line[outputs > 1 :]] for line in lines]
    np.testing.assert_array_equal(np.array(cells).astype(np.float32).reshape(numbers.shape), numbers)

    array = np.load(io.BytesIO(b"".join(write_npy(result))))
    np.testing.assert_array_equal(array.reshape(*numbers.shape[:2], -1), numbers[:, :, :-1])


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("writer", FORMATS.values(), ids=lambda writer: writer.media_type)
def test_a_hundred_times_the_rows_take_no_more_memory(writer: Any, outputs: int) -> None:
    numbers = np.random.default_rng(1).normal(size=(1000, outputs, 7)).astype(np.float32)
    peaks = []
    for times in (1, 100):
        tracemalloc.start()
        try:
            assert (
                sum(map(len, gzip_stream(writer.write(make_result(numbers, block_rows=500, times=times)))))
                > 0
            )
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_500_000


def test_a_compressed_stream_is_one_gzip_member_and_comes_piece_by_piece() -> None:
    random = np.random.default_rng(2)
    chunks = [random.bytes(50_000) for _ in range(20)]
    packed = list(gzip_stream(iter(chunks)))
    assert len(packed) > 5
    assert gzip.decompress(b"".join(packed)) == b"".join(chunks)


def test_an_empty_stream_is_still_valid_gzip() -> None:
    assert gzip.decompress(b"".join(gzip_stream([]))) == b""
