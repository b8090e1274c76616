from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import orjson
import pytest
import shap

from services.api.results import json_format
from services.api.results.json_format import write_json, write_ndjson
from services.api.results.result import SPAN_NUMBERS, Result
from shared.explanation import Explanation
from tests.unit.api.results.made_result import make_result


def make(rows: int, outputs: int, features: int = 4) -> tuple[Result, Explanation]:
    random = np.random.default_rng(rows)
    numbers = random.normal(size=(rows, outputs, features + 2)).astype(np.float32)
    return make_result(numbers), Explanation(numbers)


def test_one_output_gives_rows_by_features() -> None:
    result, explanation = make(7, 1)
    document = json.loads(b"".join(write_json(result)))
    assert list(document) == [
        "job",
        "model",
        "method",
        "feature_names",
        "output_names",
        "values",
        "base_values",
        "predictions",
    ]
    assert document["model"] == 'm"@1'
    np.testing.assert_array_equal(np.float32(document["values"]), explanation.values[:, 0])
    np.testing.assert_array_equal(np.float32(document["base_values"]), explanation.base_values[:, 0])
    np.testing.assert_array_equal(np.float32(document["predictions"]), explanation.margins[:, 0])


@pytest.mark.parametrize("kept", [0, 262_144])
def test_several_outputs_come_last_and_small_and_large_results_are_alike(
    kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_format, "KEPT_NUMBERS", kept)
    result, explanation = make(7, 3)
    passes = []

    def counted() -> Iterator[Explanation]:
        passes.append(1)
        return result.explanations()

    document = json.loads(b"".join(write_json(replace(result, explanations=counted))))
    np.testing.assert_array_equal(np.float32(document["values"]), explanation.values.transpose(0, 2, 1))
    np.testing.assert_array_equal(np.float32(document["base_values"]), explanation.base_values)
    np.testing.assert_array_equal(np.float32(document["predictions"]), explanation.margins)
    assert len(passes) == (1 if kept else 3)


def test_it_loads_straight_into_an_explanation_of_shap() -> None:
    document = json.loads(b"".join(write_json(make(7, 3)[0])))
    explanation = shap.Explanation(
        values=np.array(document["values"]),
        base_values=np.array(document["base_values"]),
        feature_names=document["feature_names"],
        output_names=document["output_names"],
    )
    assert explanation[:, :, "o1"].values.shape == (7, 4)


def test_nan_becomes_null() -> None:
    result = make_result([[[1, np.nan, 2, 3]]])
    assert json.loads(b"".join(write_json(result)))["values"][0][1] is None


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_page_without_rows_is_still_whole_json(outputs: int) -> None:
    document = json.loads(b"".join(write_json(make(0, outputs)[0])))
    assert (document["values"], document["base_values"], document["predictions"]) == ([], [], [])


def test_ndjson_one_output_gives_an_object_a_row() -> None:
    lines = b"".join(write_ndjson(make_result([[[1, 2, 3, 4]], [[5, np.nan, 7, 8]]]))).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"values": [1, 2], "base_value": 3, "prediction": 4},
        {"values": [5, None], "base_value": 7, "prediction": 8},
    ]


def test_ndjson_several_outputs_come_last_as_in_json() -> None:
    lines = b"".join(write_ndjson(make_result([[[1, 2, 3, 4], [5, 6, 7, 8]]] * 3))).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"values": [[1, 5], [2, 6]], "base_value": [3, 7], "prediction": [4, 8]}
    ] * 3


def test_ndjson_a_page_without_rows_is_empty() -> None:
    assert b"".join(write_ndjson(make_result(np.zeros((0, 1, 3))))) == b""


NAMES = ['a "b"', "ü, ]", "c"]
QUOTED = [orjson.dumps(name) for name in NAMES]


@pytest.mark.parametrize("outputs", [1, 2])
def test_pairs_are_lists_of_rows_and_outputs_without_those_of_0(outputs: int) -> None:
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
