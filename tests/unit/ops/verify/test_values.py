from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ops.lab.reference import EXACT
from ops.verify.report import FailedError
from ops.verify.values import Expectation, ServedModel, find_copy, local_versions, plausible_rows
from shared.build import ROOT
from shared.models.contract import Feature, Kind, Trees, TreesReason
from shared.models.labelled_rows import labelled_rows

ROWS = 40
NAMES = ("breast-cancer", "diabetes", "wine")
LOCAL = local_versions(ROOT / "models")


def served(name: str, **changes: Any) -> ServedModel:
    [contract] = [version.contract for version in LOCAL if version.name == name]
    model = ServedModel(contract.id, contract.features, contract.outputs, contract.sha256, fallback=False)
    return replace(model, **changes)


def expect(model: ServedModel) -> tuple[Expectation, dict[str, Any]]:
    """Return an expectation, and XGBoost's own values as a JSON result has them."""
    expectation = Expectation.of(model, LOCAL, ROWS)
    assert expectation.wanted is not None
    own = expectation.wanted
    values = own[:, :, :-1].swapaxes(1, 2)
    document = {"values": values, "base_values": own[:, :, -1], "predictions": own.sum(axis=2)}
    squeezed = {name: np.squeeze(one, -1) if one.shape[-1] == 1 else one for name, one in document.items()}
    return expectation, {name: one.copy() for name, one in squeezed.items()}


@pytest.mark.parametrize("name", NAMES)
def test_xgboosts_own_values_are_exact_and_a_wrong_one_is_found_by_both_checks(name: str) -> None:
    expectation, result = expect(served(name))
    assert "XGBoost's own exactly" in expectation.check(result)
    scale = max(1.0, float(np.abs(expectation.wanted).sum(axis=2).max()))  # type: ignore[arg-type]
    result["values"][7, 2] += 2 * EXACT * scale
    with pytest.raises(FailedError) as caught:
        expectation.check(result)
    assert f"{name}@1 gives wrong values" in caught.value.detail
    assert "in row 7" in caught.value.detail
    assert f"1 rows are wrong; row 7, {expectation.model.columns[2].name}" in caught.value.detail


def test_values_that_add_up_and_are_not_xgboosts_own_are_found() -> None:
    expectation, result = expect(served("wine"))
    result["values"][:, 0] += 1e-3
    result["values"][:, 1] -= 1e-3
    with pytest.raises(FailedError, match="wrong values: they differ from XGBoost's own"):
        expectation.check(result)


def test_without_a_copy_the_sums_are_checked_all_the_same() -> None:
    _, result = expect(served("diabetes"))
    alone = replace(expect(served("diabetes"))[0], wanted=None)
    assert "no copy here" in alone.check(result)
    result["predictions"] += 0.1
    with pytest.raises(FailedError, match="miss the prediction by"):
        alone.check(result)


def test_another_file_under_the_same_name_is_another_model_and_the_same_one_under_another_is_not() -> None:
    expectation, result = expect(served("wine", sha256="0" * 64))
    with pytest.raises(FailedError, match=r"wine@1 is not the model .*000000000000… is served\)\."):
        expectation.check(result)
    assert find_copy(served("wine", id="vino@3"), LOCAL) is not None
    assert find_copy(served("wine", id="vino@3", sha256="0" * 64), LOCAL) is None


def test_a_number_that_is_none_and_another_document_fail() -> None:
    expectation, result = expect(served("diabetes"))
    broken = {name: one.tolist() for name, one in result.items()}
    broken["values"][3][0] = None
    with pytest.raises(FailedError, match="row 3"):
        expectation.check(broken)
    for document in ({}, {"values": [[1.0]], "base_values": [0.0], "predictions": [1.0]}):
        with pytest.raises(FailedError, match="this is no result"):
            expectation.check(document)


def test_rows_are_the_models_examples_with_some_cells_missing() -> None:
    [version] = [one for one in LOCAL if one.name == "wine"]
    rows = plausible_rows(version.contract.features, version, 1000)
    examples = np.load(version.examples_path or "")
    missing = np.isnan(rows)
    assert 0.01 < missing.mean() < 0.05
    np.testing.assert_array_equal(rows[~missing], examples[np.arange(1000) % len(examples)][~missing])
    np.testing.assert_array_equal(rows, plausible_rows(version.contract.features, version, 1000))


def test_rows_of_a_model_that_is_not_here_are_of_all_sizes_and_codes_that_can_be_sent_as_labels() -> None:
    rows = plausible_rows([Feature(str(place)) for place in range(30)], None, 200)
    spreads = np.nanstd(rows, axis=0)
    assert rows.dtype == np.float32
    assert spreads.max() / spreads.min() > 100
    columns = (
        Feature("home", Kind.CATEGORY, ("own", "rent")),
        Feature("term", Kind.CATEGORY, (10, 20, 30)),
        Feature("married", Kind.BOOLEAN),
        Feature("code", Kind.CATEGORY),
    )
    sent = zip(*labelled_rows(columns, plausible_rows(columns, None, 200)), strict=True)
    wanted = [{"own", "rent", None}, {10, 20, 30, None}, {0, 1, None}, {0, 1, None}]
    assert [set(column) for column in sent] == wanted


def test_a_served_model_has_its_columns_and_trees_from_the_contract() -> None:
    contract = {
        "features": [{"name": "home", "kind": "category", "labels": ["own"]}],
        "trees": {"used": 3, "total": 9, "reason": "best_iteration"},
    }
    document = {"name": "loans", "version": 2, "outputs": ["risk"], "sha256": "0" * 64, "fallback": False}
    model = ServedModel.of({**document, "contract": contract})
    assert (model.id, model.columns) == ("loans@2", (Feature("home", Kind.CATEGORY, ("own",)),))
    assert model.trees == Trees(3, 9, TreesReason.BEST_ITERATION)
    with pytest.raises(FailedError, match="without 'contract'"):
        ServedModel.of(document)


def test_a_folder_without_usable_models_has_no_copies(tmp_path: Path) -> None:
    assert local_versions(tmp_path) == local_versions(None) == ()
