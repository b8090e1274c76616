from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
import shap

from services.api.results import json_result
from services.api.results.json_result import write_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


@dataclass
class Result:
    numbers: NDArray[np.float32]
    job_id: str = "j1"
    model: str = 'm"@1'
    method: str = "tree_path_dependent"
    passes: int = 0

    @property
    def feature_names(self) -> list[str]:
        return [f"f{number}" for number in range(self.numbers.shape[2] - 2)]

    @property
    def output_names(self) -> list[str]:
        return [f"o{number}" for number in range(self.numbers.shape[1])]

    @property
    def rows(self) -> int:
        return len(self.numbers)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        self.passes += 1
        for start in range(0, len(self.numbers), 3):
            yield self.numbers[start : start + 3]


def make(rows: int, outputs: int, features: int = 4) -> Result:
    random = np.random.default_rng(rows)
    return Result(random.normal(size=(rows, outputs, features + 2)).astype(np.float32))


def test_one_output_gives_rows_by_features() -> None:
    result = make(7, 1)
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
    np.testing.assert_array_equal(np.float32(document["values"]), result.numbers[:, 0, :-2])
    np.testing.assert_array_equal(np.float32(document["base_values"]), result.numbers[:, 0, -2])
    np.testing.assert_array_equal(np.float32(document["predictions"]), result.numbers[:, 0, -1])


@pytest.mark.parametrize("kept", [0, 262_144])
def test_several_outputs_come_last_and_small_and_large_results_are_alike(
    kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_result, "_KEPT_NUMBERS", kept)
    result = make(7, 3)
    document = json.loads(b"".join(write_json(result)))
    np.testing.assert_array_equal(
        np.float32(document["values"]), result.numbers[:, :, :-2].transpose(0, 2, 1)
    )
    np.testing.assert_array_equal(np.float32(document["base_values"]), result.numbers[:, :, -2])
    np.testing.assert_array_equal(np.float32(document["predictions"]), result.numbers[:, :, -1])
    assert result.passes == (1 if kept else 3)


def test_it_loads_straight_into_an_explanation_of_shap() -> None:
    document = json.loads(b"".join(write_json(make(7, 3))))
    explanation = shap.Explanation(
        values=np.array(document["values"]),
        base_values=np.array(document["base_values"]),
        feature_names=document["feature_names"],
        output_names=document["output_names"],
    )
    assert explanation[:, :, "o1"].values.shape == (7, 4)


def test_nan_becomes_null() -> None:
    result = make(1, 1)
    result.numbers[0, 0, 1] = np.nan
    assert json.loads(b"".join(write_json(result)))["values"][0][1] is None


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_page_without_rows_is_still_whole_json(outputs: int) -> None:
    document = json.loads(b"".join(write_json(make(0, outputs))))
    assert (document["values"], document["base_values"], document["predictions"]) == ([], [], [])
