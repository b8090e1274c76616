"""Labels, codes, booleans and missing markers mean the same in every format."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from services.api.rows.csv_rows import read_csv
from services.api.rows.json_body import read_json_rows
from services.api.rows.json_rows import read_ndjson
from services.api.rows.npy_rows import read_npy
from services.api.rows.request_body import parse_plain_body
from services.api.rows.row_spec import RowSpec
from shared.errors import InvalidRowsError, RowError
from shared.models.contract import Contract, Feature, Kind
from tests.unit.api.rows.features import category

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

HOME = category("home", "rent", "own", "mortgage", "None", "10", " padded ", "True")
TERM = category("term", 10, 20, 30)
SHOP = category("shop")
PAID = Feature("paid", Kind.BOOLEAN)
FEATURES = (HOME, TERM, SHOP, PAID)
MISSING = (-999.0, 0.1)
NAN = np.nan


def spec_of(*features: Feature, missing: tuple[float, ...] = MISSING) -> RowSpec:
    return RowSpec(features, chunk_rows=2, max_rows=10_000, missing=missing)


def read_plain(body: bytes, spec: RowSpec) -> Iterator[NDArray[np.float32]]:
    plain = parse_plain_body(body)
    assert plain is not None
    chunks = plain.read(spec)
    assert chunks is not None
    return chunks


def from_csv(rows: list[list[Any]], spec: RowSpec) -> Iterator[NDArray[np.float32]]:
    file = io.StringIO()
    csv.writer(file).writerows([list(spec.names), *rows])
    return read_csv(io.BytesIO(file.getvalue().encode()), spec)


def from_json(rows: list[list[Any]], spec: RowSpec) -> Iterator[NDArray[np.float32]]:
    return read_json_rows(io.BytesIO(json.dumps({"rows": rows}).encode()), spec)


def from_objects(rows: list[list[Any]], spec: RowSpec) -> Iterator[NDArray[np.float32]]:
    named = [dict(zip(spec.names, row, strict=True)) for row in rows]
    return read_json_rows(io.BytesIO(json.dumps({"rows": named}).encode()), spec)


def from_ndjson(rows: list[list[Any]], spec: RowSpec) -> Iterator[NDArray[np.float32]]:
    return read_ndjson(io.BytesIO("\n".join(map(json.dumps, rows)).encode()), spec)


def from_npy(rows: Any, spec: RowSpec) -> Iterator[NDArray[np.float32]]:
    file = io.BytesIO()
    np.save(file, rows)
    file.seek(0)
    return read_npy(file, spec)


TEXT_FORMATS = [from_csv, from_json, from_objects, from_ndjson]
JSON_FORMATS = TEXT_FORMATS[1:]


def faults(chunks: Callable[[], Iterator[NDArray[np.float32]]]) -> list[RowError]:
    with pytest.raises(InvalidRowsError) as caught:
        list(chunks())
    return caught.value.errors


@pytest.mark.parametrize("write", TEXT_FORMATS)
def test_labels_become_codes_and_booleans_numbers(write: Any) -> None:
    rows = [
        ["rent", 10, 0, True],
        ["mortgage", 30.0, 7.0, False],
        [" padded ", 20, None, 1],
        ["10", None, 2**24 - 1, 0.5],
        ["None", -999, -999, -999],
        [-999, 10, 1, 0.1],
    ]
    expected = [
        [0, 0, 0, 1],
        [2, 2, 7, 0],
        [5, 1, NAN, 1],
        [4, NAN, 2**24 - 1, 0.5],
        [3, NAN, NAN, NAN],
        [NAN, 0, 1, NAN],
    ]
    got = np.concatenate(list(write(rows, spec_of(*FEATURES))))
    np.testing.assert_array_equal(got, np.array(expected, dtype=np.float32))


@pytest.mark.parametrize("write", JSON_FORMATS)
def test_null_is_missing_in_json_whatever_the_labels(write: Any) -> None:
    assert np.isnan(next(write([[None]], spec_of(HOME)))).all()


@pytest.mark.parametrize(
    ("feature", "cell", "wanted"),
    [
        (HOME, "None", 3),
        (HOME, " rent", 0),
        (HOME, "True", 6),
        (HOME, "NA", NAN),
        (HOME, "", NAN),
        (HOME, "-999.0", NAN),
        (category("x", "", "NA"), "", 0),
        (category("x", "", "NA"), "NA", 1),
        (category("x", "", "NA"), "nan", NAN),
        (category("x", " a", "a"), " a", 0),
        (category("x", " a", "a"), "a ", 1),
        (TERM, " 20.0 ", 1),
        (TERM, "2e1", 1),
        (TERM, "none", NAN),
        (category("x", 0, 1), "True", 1),
        (category("x", 0, 1), "false", 0),
        (SHOP, "True", 1),
        (SHOP, "<NA>", NAN),
        (PAID, "TRUE", 1),
        (PAID, " false", 0),
    ],
)
def test_a_cell_of_csv_is_a_label_first(feature: Feature, cell: str, wanted: float) -> None:
    got = next(from_csv([[cell, 1]], spec_of(feature, Feature("more"))))
    np.testing.assert_array_equal(got, [[wanted, 1]])


@pytest.mark.parametrize(
    ("feature", "cell", "told"),
    [
        (HOME, "tent", "the text 'tent' is not a label"),
        (HOME, " rent", "is not a label"),
        (HOME, 10, "10 is not a label"),
        (HOME, True, "true is not a label"),
        (HOME, 0, "0 is not a label"),
        (TERM, "10", "the text '10' is not a label"),
        (TERM, 0, "0 is not a label"),
        (TERM, 10.5, "10.5 is not a label"),
        (TERM, 11.0, "11 is not a label"),
        (SHOP, "a", "--labels"),
        (SHOP, 1.5, "1.5 is not a code"),
        (SHOP, -1, "-1 is not a code"),
        (SHOP, 2**24, "16777216 is not a code"),
    ],
)
@pytest.mark.parametrize("write", JSON_FORMATS)
def test_another_label_or_code_is_refused_in_json(write: Any, feature: Feature, cell: Any, told: str) -> None:
    spec = spec_of(Feature("more"), feature)
    (error,) = faults(lambda: write([[1, None], [1, cell]], spec))
    assert (error.row, error.column) == (1, feature.name)
    assert told in error.detail
    assert "empty" not in error.detail
    assert "null" not in error.detail


@pytest.mark.parametrize(
    ("feature", "cell", "told"),
    [
        (HOME, "tent", "'tent' is not a label"),
        (HOME, "11", "'11' is not a label"),
        (HOME, "false", "'false' is not a label"),
        (TERM, "0", "0 is not a label"),
        (TERM, "ten", "'ten' is not a label"),
        (TERM, "inf", "inf is not a label"),
        (SHOP, "a", "--labels"),
        (SHOP, "-1", "-1 is not a code"),
        (SHOP, "1e9", "1000000000 is not a code"),
    ],
)
def test_another_label_or_code_is_refused_in_csv(feature: Feature, cell: str, told: str) -> None:
    (error,) = faults(lambda: from_csv([[1, None], [1, cell]], spec_of(Feature("more"), feature)))
    assert (error.row, error.column) == (1, feature.name)
    assert told in error.detail
    assert "leave the cell empty" not in error.detail


@pytest.mark.parametrize("write", TEXT_FORMATS)
def test_the_first_ten_labels_are_listed_and_the_others_counted(write: Any) -> None:
    many = category("x", *(f"label {number}" for number in range(23)))
    (error,) = faults(lambda: write([["label"]], spec_of(many)))
    assert error.detail.endswith("'label 8', 'label 9' and 13 more")
    (error,) = faults(lambda: write([[7]], spec_of(TERM)))
    assert error.detail.endswith("the labels are 10, 20, 30")


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2"])
def test_npy_takes_codes(dtype: str) -> None:
    rows = np.array([[0, 2, 5, 1], [6, NAN, -999, 0.5], [NAN, 0, NAN, -999]], dtype)
    expected = [[0, 2, 5, 1], [6, NAN, NAN, 0.5], [NAN, 0, NAN, NAN]]
    np.testing.assert_array_equal(np.concatenate(list(from_npy(rows, spec_of(*FEATURES)))), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize(
    ("column", "code", "told"),
    [
        (0, 7, "7 is not a code of this category; the codes are 0 to 6, for 'rent', 'own'"),
        (1, 3, "the codes are 0 to 2, for 10, 20, 30"),
        (1, -1, "-1 is not a code"),
        (2, 2**24, "whole numbers from 0 to 16777215"),
    ],
)
def test_a_code_out_of_range_is_refused_in_npy(dtype: Any, column: int, code: int, told: str) -> None:
    rows = np.zeros((5, 4), dtype)
    rows[3, column] = code
    (error,) = faults(lambda: from_npy(rows, spec_of(*FEATURES)))
    assert (error.row, error.column) == (3, FEATURES[column].name)
    assert told in error.detail


@pytest.mark.parametrize("code", [1.5, np.inf, -np.inf, 1e300])
def test_a_number_that_cannot_be_a_code_is_refused_once_in_npy(code: float) -> None:
    (error,) = faults(lambda: from_npy(np.array([[0.0, code, 0, 0]]), spec_of(*FEATURES)))
    assert (error.row, error.column) == (0, "term")


@pytest.mark.parametrize("write", [*TEXT_FORMATS, from_npy])
def test_a_code_that_is_a_marker_is_missing_as_it_is_to_xgboost(write: Any) -> None:
    spec = spec_of(TERM, Feature("more"), missing=(1.0,))
    rows = [[20, 1], [30, 2]] if write is not from_npy else [[1.0, 1.0], [2.0, 2.0]]
    np.testing.assert_array_equal(next(write(rows, spec)), [[NAN, NAN], [2, 2]])


@pytest.mark.parametrize("write", [*TEXT_FORMATS, from_npy])
def test_markers_are_compared_as_float32_and_before_infinity_is_refused(write: Any) -> None:
    spec = spec_of(Feature("a"), Feature("b"), missing=(0.1, 16777217.0, -1e300))
    rows = [[0.10000000149011612, 16777216.0], [0.1, -1e200], [0.11, 16777218.0]]
    got = np.concatenate(list(write(rows, spec)))
    np.testing.assert_array_equal(got, np.array([[NAN, NAN], [NAN, NAN], [0.11, 16777218.0]], np.float32))


def test_markers_leave_the_array_of_the_body_alone() -> None:
    plain = parse_plain_body(b'{"rows": [[10, -999], [20, 2]]}')
    assert plain is not None
    spec = spec_of(TERM, Feature("more"))
    for _ in range(2):
        chunks = plain.read(spec)
        assert chunks is not None
        np.testing.assert_array_equal(next(chunks), [[0, NAN], [1, 2]])


def test_a_small_plain_body_has_labels_too() -> None:
    body = b'{"rows": [[10, 1], [30, null], [-999, 2]]}'
    got = np.concatenate(list(read_plain(body, spec_of(TERM, Feature("more")))))
    np.testing.assert_array_equal(got, [[0, 1], [2, NAN], [NAN, 2]])
    other = b'{"rows": [[11, 1]]}'
    assert faults(lambda: read_plain(other, spec_of(TERM, Feature("more"))))[0].column == "term"


@pytest.mark.parametrize("write", TEXT_FORMATS)
@pytest.mark.parametrize("more", [1, 1.5, True, None])
def test_labels_that_float64_confuses_are_told_apart_whatever_is_beside_them(write: Any, more: Any) -> None:
    large = category("id", 2**53, 2**53 + 1, -(2**63), 2**63 - 1)
    rows = [[label, more] for label in large.labels]
    got = np.concatenate(list(write(rows, spec_of(large, Feature("more"), missing=()))))
    assert got[:, 0].tolist() == [0, 1, 2, 3]
    plain = parse_plain_body(b'{"rows": [[9007199254740993, 1]]}')
    assert plain is not None
    assert plain.read(spec_of(large, Feature("more"))) is None


def test_nan_beside_a_large_label_does_not_round_it() -> None:
    large = category("id", 2**53, 2**53 + 1)
    body = io.BytesIO(b'{"rows": [[9007199254740993, NaN]]}')
    assert next(read_json_rows(body, spec_of(large, Feature("more"))))[0, 0] == 1


def test_a_row_may_be_as_long_as_its_labels_need() -> None:
    long = category("x", "a", "b" * 500_000)
    assert next(from_csv([["b" * 100_000]], spec_of(category("x", "b" * 100_000)))).tolist() == [[0]]
    assert next(from_json([["b" * 500_000]], spec_of(long))).tolist() == [[1]]


def test_a_spec_takes_features_and_markers_from_the_contract() -> None:
    contract = Contract("m", 1, "0" * 64, FEATURES, ("y",), "reg:squarederror", "3.4", {}, missing=MISSING)
    assert RowSpec.of(contract, 5, 9) == RowSpec(FEATURES, 5, 9, MISSING)
