"""Each format of a result: its layout, and that all give back the same float32 numbers."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st
from numpy.typing import NDArray

from services.api.results import json_format
from services.api.results.csv_format import write_csv
from services.api.results.json_format import write_json, write_ndjson
from services.api.results.negotiation import gzip_stream
from services.api.results.npy_format import measure_npy, write_npy
from services.api.results.result import SPAN_NUMBERS, Result
from services.api.results.writer import FORMATS
from shared.explanation import Explanation

type Floats = NDArray[np.float32]


def make_result(
    numbers: Any,
    features: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    block_rows: int = 3,
    times: int = 1,
) -> Result:
    """Return a result of `numbers`, repeated `times` times, in blocks of `block_rows` rows.

    `numbers` are rows x outputs x (features + 2).
    """
    explanation = Explanation(np.asarray(numbers, dtype=np.float32))

    def explanations() -> Iterator[Explanation]:
        for _ in range(times):
            for start in range(0, len(explanation), block_rows):
                yield explanation[start : start + block_rows]

    return Result(
        job_id="j1",
        model='m"@1',
        method="tree_path_dependent",
        feature_names=features or [f"f{number}" for number in range(explanation.values.shape[2])],
        output_names=outputs or [f"o{number}" for number in range(explanation.outputs)],
        rows=len(explanation) * times,
        explanations=explanations,
    )


def test_csv_has_a_line_for_each_row_and_output() -> None:
    one = make_result([[[0.1, -2, 0.5, 7]], [[1e-7, np.nan, 0.5, 3.4e38]]], ["a", "b"], ["x"])
    assert b"".join(write_csv(one)) == (
        b"a,b,base_value,prediction\r\n0.1,-2.0,0.5,7.0\r\n1e-7,,0.5,3.4e+38\r\n"
    )
    several = make_result([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]], ['a,"b"\n'], ["x,1", "null"])
    assert list(csv.reader(io.StringIO(b"".join(write_csv(several)).decode(), newline=""))) == [
        ["output", 'a,"b"\n', "base_value", "prediction"],
        ["x,1", "1.0", "2.0", "3.0"],
        ["null", "4.0", "5.0", "6.0"],
        ["x,1", "7.0", "8.0", "9.0"],
        ["null", "10.0", "11.0", "12.0"],
    ]


def test_names_in_csv_are_no_formulas_and_numbers_stay_numbers() -> None:
    formulas = ["=1+1", "-1", "-a", "'@b", "\uff1dc"]
    result = make_result([[[-1, 2, 3, -4, 5, 6, 7]]] * 2, formulas, ["+x"])
    several = make_result([[[1, 2, 3]] * 2], ["a"], ["+x", "+1"])
    cells = list(csv.reader(io.StringIO(b"".join(write_csv(result)).decode(), newline="")))
    assert cells[0] == ["'=1+1", "-1", "'-a", "''@b", "'\uff1dc", "base_value", "prediction"]
    assert cells[1] == ["-1.0", "2.0", "3.0", "-4.0", "5.0", "6.0", "7.0"]
    assert b"".join(write_csv(several)).split()[1:] == [b"'+x,1.0,2.0,3.0", b"+1,1.0,2.0,3.0"]
    assert b"".join(write_csv(result, safe=False)).startswith("=1+1,-1,-a,'@b,\uff1dc,base".encode())


def test_json_is_the_same_whether_its_numbers_are_kept_or_read_three_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = make_result(np.random.default_rng(1).normal(size=(7, 3, 6)))
    passes: list[int] = []

    def counted() -> Iterator[Explanation]:
        passes.append(1)
        return result.explanations()

    kept = b"".join(write_json(replace(result, explanations=counted)))
    assert len(passes) == 1
    monkeypatch.setattr(json_format, "KEPT_NUMBERS", 0)
    assert b"".join(write_json(replace(result, explanations=counted))) == kept
    assert len(passes) == 4
    document = json.loads(kept)
    names = (
        "job",
        "model",
        "method",
        "feature_names",
        "output_names",
        "values",
        "base_values",
        "predictions",
    )
    assert tuple(document) == names
    assert document["model"] == 'm"@1'


def test_the_length_of_npy_is_known_before_it_is_written() -> None:
    for shape in ((0, 1, 6), (7, 3, 6)):
        result = make_result(np.ones(shape))
        assert measure_npy(result) == len(b"".join(write_npy(result)))
    assert measure_npy(replace(make_result(np.zeros((1, 1, 1001))), rows=10**9)) == 128 + 4 * 10**12


def test_a_page_without_rows_is_whole_in_every_format() -> None:
    for outputs in (1, 2):
        nothing = make_result(np.ones((0, outputs, 6)))
        document = json.loads(b"".join(write_json(nothing)))
        assert (document["values"], document["base_values"], document["predictions"]) == ([], [], [])
        assert b"".join(write_ndjson(nothing)) == b""
        assert b"".join(write_csv(nothing)).endswith(b"f0,f1,f2,f3,base_value,prediction\r\n")


RESULTS = np_st.arrays(
    np.float32,
    st.tuples(st.integers(1, 20), st.integers(1, 4), st.integers(3, 8)),
    elements=st.floats(width=32, allow_infinity=False, allow_nan=True),
)


def with_sums(parts: list[Any], outputs: int) -> Floats:
    """Stack values, base values and predictions: rows x outputs x (features + 2).

    `None` becomes NaN.
    """
    array, *sums = (np.array(part, float).astype(np.float32) for part in parts)
    array = array[:, None, :] if outputs == 1 else array.transpose(0, 2, 1)
    return np.concatenate([array, *(part.reshape(-1, outputs, 1) for part in sums)], axis=2)


@settings(max_examples=60)
@given(numbers=RESULTS, block_rows=st.integers(1, 25))
def test_all_writers_give_back_the_same_float32_numbers(numbers: Floats, block_rows: int) -> None:
    result = make_result(numbers, block_rows=block_rows)
    outputs = numbers.shape[1]
    document = json.loads(b"".join(write_json(result)))
    parts = [document[name] for name in ("values", "base_values", "predictions")]
    np.testing.assert_array_equal(with_sums(parts, outputs), numbers)

    rows = [json.loads(line) for line in b"".join(write_ndjson(result)).splitlines()]
    parts = [[row[name] for row in rows] for name in ("values", "base_value", "prediction")]
    np.testing.assert_array_equal(with_sums(parts, outputs), numbers)

    _, *lines = csv.reader(io.StringIO(b"".join(write_csv(result)).decode()))
    cells = [[float(cell or "nan") for cell in line[outputs > 1 :]] for line in lines]
    np.testing.assert_array_equal(np.array(cells).astype(np.float32).reshape(numbers.shape), numbers)

    array = np.load(io.BytesIO(b"".join(write_npy(result))))
    assert array.dtype == np.float32
    wanted = Explanation(numbers).contributions  # base values last, outputs where XGBoost has them
    np.testing.assert_array_equal(array, wanted[:, 0] if outputs == 1 else wanted)


@pytest.mark.parametrize("writer", FORMATS.values(), ids=lambda writer: writer.media_type)
def test_many_times_the_rows_take_no_more_memory(writer: Any) -> None:
    numbers = np.random.default_rng(1).normal(size=(500, 3, 7)).astype(np.float32)
    peaks = []
    for times in (1, 60):
        tracemalloc.start()
        try:
            result = make_result(numbers, block_rows=500, times=times)
            assert sum(map(len, gzip_stream(writer.write(result)))) > 0
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_500_000


def test_a_compressed_stream_is_one_gzip_member_and_comes_piece_by_piece() -> None:
    chance = np.random.default_rng(2)
    chunks = [chance.bytes(50_000) for _ in range(20)]
    packed = list(gzip_stream(iter(chunks)))
    assert len(packed) > 5
    assert gzip.decompress(b"".join(packed)) == b"".join(chunks)
    assert gzip.decompress(b"".join(gzip_stream([]))) == b""


NAMES = ['a "b"', "ü, ]", "c"]
QUOTED = [orjson.dumps(name) for name in NAMES]


def test_pairs_are_lists_of_rows_and_outputs_without_those_of_0() -> None:
    for outputs in (1, 2):
        block = np.zeros((3, outputs, 2, 3), np.float32)
        block[0, :, 0] = (0, 1, 0.1)
        block[0, :, 1] = (1, 2, -1e-7)
        block[1, -1, 0] = (0, 2, np.nan)
        first = [{"features": NAMES[:2], "value": 0.1}, {"features": NAMES[1:], "value": -1e-7}]
        second = [{"features": NAMES[::2], "value": None}]
        wanted: list[list[object]] = [[first] * outputs, [[]] * (outputs - 1) + [second], [[]] * outputs]
        written = json_format._pair_texts(block, QUOTED)
        assert written == [orjson.dumps(row[0] if outputs == 1 else row) for row in wanted]


def test_a_block_of_very_many_rows_with_one_pair_each_is_written_in_little_memory() -> None:
    block = np.tile(np.array([0, 1, 0.5], np.float32), (SPAN_NUMBERS // 3, 1, 1, 1))
    tracemalloc.start()
    json_format._pair_texts(block, QUOTED)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 2**20
