"""Labels, codes, booleans and missing markers mean the same in every format."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest

from services.api.rows.row_spec import RowSpec
from shared.errors import RowError
from shared.models.contract import Contract, Feature, Kind
from tests.unit.api.rows.reading import Floats, category, invalid, npy, read

HOME = category("home", "rent", "own", "mortgage", "None", "10", " padded ", "True")
TERM = category("term", 10, 20, 30)
SHOP = category("shop")
PAID = Feature("paid", Kind.BOOLEAN)
MORE = Feature("more")
FEATURES = (HOME, TERM, SHOP, PAID)
MISSING = (-999.0, 0.1)
NAN = np.nan
TEXT_FORMATS = ["csv", "json", "objects", "ndjson"]


def spec_of(*features: Feature, missing: tuple[float, ...] = MISSING) -> RowSpec:
    return RowSpec(features, chunk_rows=2, max_rows=10_000, missing=missing)


def body_of(form: str, rows: Any, spec: RowSpec) -> tuple[str, bytes]:
    """Return the reader's name and the body."""
    if form == "csv":
        file = io.StringIO()
        csv.writer(file).writerows([list(spec.names), *rows])
        return "csv", file.getvalue().encode()
    if form == "npy":
        return "npy", npy(rows)
    if form == "ndjson":
        return "ndjson", "\n".join(map(json.dumps, rows)).encode()
    if form == "objects":
        rows = [dict(zip(spec.names, row, strict=True)) for row in rows]
    return "json", json.dumps({"rows": rows}).encode()


def rows_from(form: str, rows: Any, spec: RowSpec) -> Floats:
    return read(*body_of(form, rows, spec), spec)


def fault_of(form: str, rows: Any, spec: RowSpec) -> RowError:
    (error,) = invalid(*body_of(form, rows, spec), spec).errors
    return error


@pytest.mark.parametrize("form", TEXT_FORMATS)
def test_labels_become_codes_and_booleans_numbers(form: str) -> None:
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
    np.testing.assert_array_equal(rows_from(form, rows, spec_of(*FEATURES)), np.array(expected, np.float32))
    if form != "csv":
        assert np.isnan(rows_from(form, [[None]], spec_of(HOME))).all()


def test_a_cell_of_csv_is_a_label_first() -> None:
    cells: list[tuple[Feature, dict[str, float]]] = [
        (HOME, {"None": 3, " rent": 0, "True": 6, "NA": NAN, "": NAN, "-999.0": NAN}),
        (category("x", "", "NA"), {"": 0, "NA": 1, "nan": NAN}),
        (category("x", " a", "a"), {" a": 0, "a ": 1}),
        (TERM, {" 20.0 ": 1, "2e1": 1, "none": NAN}),
        (category("x", 0, 1), {"True": 1, "false": 0}),
        (SHOP, {"True": 1, "<NA>": NAN}),
        (PAID, {"TRUE": 1, " false": 0}),
    ]
    for feature, wanted in cells:
        for cell, code in wanted.items():
            np.testing.assert_array_equal(
                rows_from("csv", [[cell, 1]], spec_of(feature, MORE)), [[code, 1]], err_msg=cell
            )


#: A cell that is neither a label nor a code, and words of the refusal.
IN_JSON: list[tuple[Feature, Any, str]] = [
    (HOME, "tent", "the text 'tent' is not a label"),
    (HOME, " rent", "is not a label"),
    (HOME, 10, "10 is not a label"),
    (HOME, True, "true is not a label"),
    (HOME, 0, "0 is not a label"),
    (TERM, "10", "the text '10' is not a label"),
    (TERM, 0, "0 is not a label of this category; the labels are 10, 20, 30"),
    (TERM, 10.5, "10.5 is not a label"),
    (TERM, 11.0, "11 is not a label"),
    (SHOP, "a", "--labels"),
    (SHOP, 1.5, "1.5 is not a code"),
    (SHOP, -1, "-1 is not a code"),
    (SHOP, 2**24, "16777216 is not a code"),
    (category("x", *(f"label {number}" for number in range(23))), "label", "'label 9' and 13 more"),
]
IN_CSV: list[tuple[Feature, Any, str]] = [
    (HOME, "tent", "'tent' is not a label"),
    (HOME, "11", "'11' is not a label"),
    (HOME, "false", "'false' is not a label"),
    (TERM, "0", "0 is not a label of this category; the labels are 10, 20, 30"),
    (TERM, "ten", "'ten' is not a label"),
    (TERM, "inf", "inf is not a label"),
    (SHOP, "a", "--labels"),
    (SHOP, "-1", "-1 is not a code"),
    (SHOP, "1e9", "1000000000 is not a code"),
]


@pytest.mark.parametrize("form", TEXT_FORMATS)
def test_another_label_or_code_is_refused(form: str) -> None:
    for feature, cell, told in IN_CSV if form == "csv" else IN_JSON:
        error = fault_of(form, [[1, None], [1, cell]], spec_of(MORE, feature))
        assert (error.row, error.column) == (1, feature.name)
        assert told in error.detail
        # A missing value is no remedy for a wrong label.
        assert "empty" not in error.detail
        assert "null" not in error.detail


def test_npy_takes_codes_and_a_number_that_is_none_is_refused_once() -> None:
    rows = np.array([[0, 2, 5, 1], [6, NAN, -999, 0.5], [NAN, 0, NAN, -999]])
    expected = [[0, 2, 5, 1], [6, NAN, NAN, 0.5], [NAN, 0, NAN, NAN]]
    for dtype in ("<f4", ">f8", "<f2"):
        np.testing.assert_array_equal(rows_from("npy", rows.astype(dtype), spec_of(*FEATURES)), expected)
    wrong: list[tuple[int, float, str]] = [
        (0, 7, "7 is not a code of this category; the codes are 0 to 6, for 'rent', 'own'"),
        (1, 3, "the codes are 0 to 2, for 10, 20, 30"),
        (1, -1, "-1 is not a code"),
        (2, 2**24, "whole numbers from 0 to 16777215"),
        *((1, code, "") for code in (1.5, np.inf, -np.inf, 1e300)),
    ]
    for column, code, told in wrong:
        for dtype in ("f4", "f8", "i8") if told else ("f8",):
            rows = np.zeros((5, 4), dtype)
            rows[3, column] = code
            error = fault_of("npy", rows, spec_of(*FEATURES))
            assert (error.row, error.column) == (3, FEATURES[column].name)
            assert told in error.detail


@pytest.mark.parametrize("form", [*TEXT_FORMATS, "npy"])
def test_markers_are_compared_as_codes_and_float32_before_infinity_is_refused(form: str) -> None:
    rows = [[1.0, 1.0], [2.0, 2.0]] if form == "npy" else [[20, 1], [30, 2]]
    got = rows_from(form, rows, spec_of(TERM, MORE, missing=(1.0,)))  # as XGBoost sees them
    np.testing.assert_array_equal(got, [[NAN, NAN], [2, 2]])

    spec = spec_of(Feature("a"), Feature("b"), missing=(0.1, 16777217.0, -1e300))
    rows = [[0.10000000149011612, 16777216.0], [0.1, -1e200], [0.11, 16777218.0]]
    expected = np.array([[NAN, NAN], [NAN, NAN], [0.11, 16777218.0]], np.float32)
    np.testing.assert_array_equal(rows_from(form, rows, spec), expected)


@pytest.mark.parametrize("form", TEXT_FORMATS)
def test_labels_that_float64_confuses_are_told_apart_whatever_is_beside_them(form: str) -> None:
    large = category("id", 2**53, 2**53 + 1, -(2**63), 2**63 - 1)
    for more in (1, 1.5, True, None, NAN):
        got = rows_from(form, [[label, more] for label in large.labels], spec_of(large, MORE, missing=()))
        assert got[:, 0].tolist() == [0, 1, 2, 3]


def test_a_row_may_be_as_long_as_its_labels_need() -> None:
    assert rows_from("csv", [["b" * 100_000]], spec_of(category("x", "b" * 100_000))).tolist() == [[0]]
    assert rows_from("json", [["b" * 500_000]], spec_of(category("x", "a", "b" * 500_000))).tolist() == [[1]]


def test_a_spec_takes_features_and_markers_from_the_contract() -> None:
    contract = Contract("m", 1, "0" * 64, FEATURES, ("y",), "reg:squarederror", "3.4", {}, missing=MISSING)
    assert RowSpec.of(contract, 5, 9) == RowSpec(FEATURES, 5, 9, MISSING)
