from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np

from services.api.results.ndjson_result import write_ndjson


def make(numbers: Any, outputs: int) -> Any:
    array = np.array(numbers, dtype=np.float32)
    return SimpleNamespace(
        rows=len(array), output_names=["x"] * outputs, blocks=lambda: iter([array[:1], array[1:]])
    )


def test_one_output_gives_an_object_a_row() -> None:
    lines = b"".join(write_ndjson(make([[[1, 2, 3, 4]], [[5, np.nan, 7, 8]]], 1))).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"values": [1, 2], "base_value": 3, "prediction": 4},
        {"values": [5, None], "base_value": 7, "prediction": 8},
    ]


def test_several_outputs_come_last_as_in_json() -> None:
    lines = b"".join(write_ndjson(make([[[1, 2, 3, 4], [5, 6, 7, 8]]] * 3, 2))).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"values": [[1, 5], [2, 6]], "base_value": [3, 7], "prediction": [4, 8]}
    ] * 3


def test_a_page_without_rows_is_empty() -> None:
    assert b"".join(write_ndjson(make(np.zeros((0, 1, 3)), 1))) == b""
