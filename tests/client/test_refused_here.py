"""The client itself refuses what would leak a key, or change or lose numbers on the way."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import numpy as np
import pytest

from shapbox import Explanation, RefusedError, RowsError, Shapbox
from shapbox.data import read_data
from shapbox.exchange import Address
from shapbox.rows import body_of, known
from tests.client.conftest import Script, reply


@pytest.mark.parametrize("url", ["https://shap.example.com", "HTTPS://shap.example.com"])
def test_certificates_are_verified_however_https_is_written(url: str) -> None:
    assert Address(url, "key").http_options["verify"]


@pytest.mark.parametrize(
    ("url", "key"), [("http://me:secret@127.0.0.1", "k"), ("http://127.0.0.1", "one\nsecret")]
)
def test_a_key_or_password_that_cannot_be_sent_is_refused_and_not_shown(url: str, key: str) -> None:
    with pytest.raises(ValueError, match=r"^The (key|address) has") as refusal:
        Address(url, key)
    assert "secret" not in str(refusal.value)


def test_masked_cells_are_missing() -> None:
    floats = np.ma.masked_invalid([[1.0, np.nan]])
    numbers = np.ma.array([[1, 2]], mask=[[False, True]])
    texts = np.ma.array([["a", "b"]], mask=[[False, True]])
    for rows in (floats, numbers):
        np.testing.assert_array_equal(known(rows), [[1.0, np.nan]])
    assert known(texts) == [["a", None]]


@pytest.mark.parametrize(
    "rows",
    [
        np.array([["2026-01-01"]], dtype="datetime64[ns]"),
        np.array([[5]], dtype="timedelta64[ns]"),
        [[np.datetime64("2026-01-01", "ns")]],
        [[dt.date(2026, 1, 1)]],
        {"a": [1, 2, 3], "b": [1, 2]},
    ],
)
def test_dates_and_columns_of_unequal_length_are_no_rows(rows: Any) -> None:
    with pytest.raises(RowsError):
        b"".join(body_of(known(rows)).open())


def test_a_redirect_is_no_success(script: Script) -> None:
    script.responses.append(reply(301, b"<html>", Location="https://shap.example.com/"))
    with pytest.raises(RefusedError, match=r"redirected to https://shap.example.com/"):
        Shapbox(script.url, "key").models()


def test_another_servers_errors_are_no_fault_of_the_client(script: Script) -> None:
    script.responses.append(
        reply(400, json.dumps({"detail": "no", "errors": ["x", {"row": 1, "new": 2}]}).encode())
    )
    with pytest.raises(RefusedError) as refusal:
        Shapbox(script.url, "key").models()
    assert [(error.row, error.column) for error in refusal.value.errors] == [(1, None)]


def test_a_models_own_markers_and_unknown_codes_are_missing_in_the_data() -> None:
    features = [{"name": "age"}, {"name": "grade", "labels": ["A", "B"]}]
    model = {"contract": {"features": features, "missing": [-999]}}
    found = read_data(np.array([[-999.0, 1.0], [5.0, -1.0]]), model)
    np.testing.assert_array_equal(found["data"][:, 0], [np.nan, 5.0])
    assert found["display_data"][0, 1] == "B"
    assert np.isnan(found["display_data"][1, 1])


def test_a_frame_does_not_replace_a_feature_by_a_column_of_ours() -> None:
    one = np.ones((1, 1), dtype=np.float32)
    with pytest.raises(ValueError, match="margin"):
        Explanation(
            values=one, base_values=one[:, 0], feature_names=["margin"], output_names=["y"]
        ).to_frame()
