from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ops.address import local_address
from ops.lab.demo.comparison import compare
from ops.lab.demo.example_rows import examples, reference, repeated
from ops.lab.demo.report import ProgressBar, bar, ranking, table
from ops.run.announce import announcement
from shared.build import ROOT
from shared.models.catalog import ModelCatalog
from shared.settings import Settings

FEATURES = ["age", "weight"]


def values() -> NDArray[np.float32]:
    return np.array([[[1.0, -2.0, 0.5]], [[0.25, 3.0, 0.5]]], dtype=np.float32)


def sums() -> NDArray[np.float32]:
    return np.asarray(values().sum(axis=2), dtype=np.float32)


def test_equal_values_that_add_up_are_right() -> None:
    comparison = compare(values(), values(), sums(), FEATURES)
    assert comparison.fault is None
    assert comparison.largest_difference == 0.0


def test_a_wrong_value_is_named_by_row_and_feature() -> None:
    wrong = values()
    wrong[1, 0, 1] += 1e-3
    fault = compare(wrong, values(), sums(), FEATURES).fault
    assert fault is not None
    assert "Row 1, weight" in fault


def test_a_value_that_is_not_a_number_is_wrong() -> None:
    wrong = values()
    wrong[0, 0, 0] = np.nan
    assert "Row 0, age" in (compare(wrong, values(), sums(), FEATURES).fault or "")


def test_a_row_that_does_not_add_up_is_named() -> None:
    predictions = sums()
    predictions[0, 0] += 0.1
    assert "Row 0" in (compare(values(), values(), predictions, FEATURES).fault or "")


def test_missing_rows_are_wrong() -> None:
    assert "shape" in (compare(values()[:1], values(), sums()[:1], FEATURES).fault or "")


def test_features_are_ranked_by_mean_absolute_value_over_rows_and_outputs() -> None:
    assert ranking(values(), FEATURES) == [("weight", 2.5), ("age", 0.625)]
    lines = table(ranking(values(), FEATURES)).splitlines()
    assert lines[0].split()[0] == "weight"
    assert lines[0].count("█") == 4 * lines[1].count("█")


def test_a_table_of_zeros_can_be_drawn() -> None:
    assert "age" in table([("age", 0.0)])


@pytest.mark.parametrize(("share", "filled"), [(-1.0, 0), (0.0, 0), (0.5, 20), (1.0, 40), (2.0, 40)])
def test_a_bar_stays_within_its_width(share: float, filled: int) -> None:
    assert bar(share).count("█") == filled
    assert len(bar(share)) == 40


def test_without_a_terminal_progress_is_five_lines_at_most(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = ProgressBar()
    for done in range(101):
        progress.show(done, 100)
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_rows_are_repeated_in_order() -> None:
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert repeated(rows, 5)[:, 0].tolist() == [0, 2, 4, 0, 2]


@pytest.mark.parametrize("name", ["breast-cancer", "wine", "diabetes"])
def test_the_reference_adds_up_for_every_shipped_model(name: str) -> None:
    model = ModelCatalog.load(ROOT / "models", ROOT / "no-placeholders").get(name)
    rows = examples(model)
    contributions = reference(model, rows, len(rows) + 2)
    assert contributions.shape == (len(rows) + 2, len(model.outputs), len(model.features) + 1)
    np.testing.assert_array_equal(contributions[-2:], contributions[:2])


def test_the_announcement_has_a_call_with_a_real_row() -> None:
    text = announcement(Settings(models_dir=ROOT / "models"), {})
    assert "http://127.0.0.1:10000/v1/explain" in text
    assert '"rows":[[' in text
    assert "keys/API_KEY" in text


def test_a_key_that_was_set_is_not_looked_for_in_a_file() -> None:
    text = announcement(Settings(models_dir=ROOT / "models", api_key="k" * 20), {"API_KEY": "k" * 20})
    assert "$API_KEY" in text
    assert "k" * 20 not in text


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("0.0.0.0", "http://127.0.0.1:10000"),
        ("::", "http://[::1]:10000"),
        ("::1", "http://[::1]:10000"),
        ("box", "http://box:10000"),
    ],
)
def test_the_address_is_one_that_can_be_called(host: str, address: str) -> None:
    assert local_address(Settings(host=host)) == address
