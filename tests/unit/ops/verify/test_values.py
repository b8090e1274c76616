"""The rows that verify sends, and its judgement of their values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from ops.verify.checks.work import model
from ops.verify.jobs import residual_of
from ops.verify.report import FailedError
from ops.verify.values import Expectation, find_copy, local_versions, plausible_rows, served_contract
from ops.verify.visit import VerifyOptions, Visit
from shared.build import ROOT
from shared.models.contract import Contract, Feature, Kind
from shared.models.labelled_rows import labelled_rows

LOCAL = local_versions(ROOT / "models")
JOB = {"id": "0199f3a0c2d51b7e4f60a9c83d2e5f17", "model": "wine@1"}


def served(of: str, **changes: Any) -> Contract:
    [contract] = [version.contract for version in LOCAL if version.name == of]
    return replace(contract, **changes)


def expect(model: Contract) -> tuple[Expectation, dict[str, Any]]:
    """Return an expectation, and XGBoost's own values as a JSON result has them."""
    expectation = Expectation.of(model, LOCAL, 40)
    assert expectation.wanted is not None
    own = expectation.wanted
    values = own[:, :, :-1].swapaxes(1, 2)
    document = {"values": values, "base_values": own[:, :, -1], "predictions": own.sum(axis=2)}
    return expectation, {
        name: np.squeeze(one, -1).copy() if one.shape[-1] == 1 else one.copy()
        for name, one in document.items()
    }


def check(expectation: Expectation, result: dict[str, Any]) -> str:
    contiguous = {name: np.ascontiguousarray(one) for name, one in result.items()}
    return expectation.check(orjson.dumps(contiguous, option=orjson.OPT_SERIALIZE_NUMPY))


@pytest.mark.parametrize("name", ["breast-cancer", "diabetes", "wine"])
def test_xgboosts_own_values_are_exact_and_an_error_of_a_thousandth_is_found(name: str) -> None:
    expectation, result = expect(served(name))
    assert "XGBoost's own within 0e+00" in check(expectation, result)
    result["values"][7, 2] += 1e-3
    with pytest.raises(FailedError) as caught:
        check(expectation, result)
    assert f"{name}@1 gives wrong values" in caught.value.detail
    assert "base value and values miss the prediction by" in caught.value.detail
    assert f"1 rows are wrong; row 7, {expectation.model.feature_names[2]}" in caught.value.detail
    result["values"][7, 1] -= 1e-3  # now all add up
    with pytest.raises(FailedError, match="wrong values: they differ from XGBoost's own"):
        check(expectation, result)


def test_without_a_copy_the_sums_are_checked_all_the_same() -> None:
    expectation, result = expect(served("diabetes"))
    alone = replace(expectation, wanted=None)
    assert "no copy here" in check(alone, result)
    result["predictions"][3] += 0.01
    with pytest.raises(FailedError, match=r"miss the prediction by .* in row 3"):
        check(alone, result)
    with pytest.raises(FailedError, match="39 rows for 40"):
        check(alone, {name: one[1:] for name, one in expect(served("diabetes"))[1].items()})


def test_another_file_under_the_same_name_is_another_model_and_the_same_one_under_another_is_not(
    tmp_path: Path,
) -> None:
    expectation, result = expect(served("wine", sha256="0" * 64))
    with pytest.raises(FailedError, match=r"wine@1 is not the model .*000000000000… is served\)\."):
        check(expectation, result)
    assert local_versions(tmp_path) == ()
    assert find_copy(served("wine", name="vino"), LOCAL) is not None
    assert find_copy(served("wine", name="vino", sha256="0" * 64), LOCAL) is None


def test_a_number_that_is_none_and_another_document_fail() -> None:
    expectation, result = expect(served("diabetes"))
    result["values"][3, 0] = np.nan  # null in JSON
    with pytest.raises(FailedError, match="row 3"):
        check(expectation, result)
    for document in ({}, {"values": [[1.0, 2.0]], "base_values": [0.0], "predictions": [1.0, 2.0]}):
        with pytest.raises(FailedError, match="this is no result"):
            expectation.check(orjson.dumps(document))


def test_rows_are_the_models_examples_with_some_cells_missing() -> None:
    [version] = [one for one in LOCAL if one.name == "wine"]
    rows = plausible_rows(version.contract.features, version, 1000)
    examples = np.load(version.examples_path or "")
    missing = np.isnan(rows)
    assert 0.01 < missing.mean() < 0.05
    np.testing.assert_array_equal(rows[~missing], examples[np.arange(1000) % len(examples)][~missing])


def test_rows_of_a_model_that_is_not_here_are_of_all_sizes_and_codes_that_can_be_sent_as_labels() -> None:
    spreads = np.nanstd(plausible_rows([Feature(str(place)) for place in range(30)], None, 200), axis=0)
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


def test_a_served_model_has_its_contract_and_an_older_one_no_trees() -> None:
    contract = served("wine")
    assert served_contract({"contract": contract.document()}) == contract
    older = {**contract.document(), "format": 1, "trees": None}
    assert served_contract({"contract": older}) == replace(contract, trees=None)
    with pytest.raises(FailedError, match="contract that cannot be read"):
        served_contract({"name": "wine"})


def test_a_fallback_is_named_before_it_is_asked() -> None:
    with pytest.raises(FailedError, match="wine@1 is a fallback"):
        model(served("wine", fallback=True), Visit(VerifyOptions("http://127.0.0.1:1")))


def test_a_residual_that_is_too_large_or_missing_names_model_and_job() -> None:
    assert residual_of({**JOB, "largest_residual": 1e-4}) == 1e-4
    with pytest.raises(FailedError, match=r"job 0199f3a0\w+ of wine@1 is 2e-04, and 1e-04 is allowed"):
        residual_of({**JOB, "largest_residual": 2e-4})
    with pytest.raises(FailedError, match=r"sums of job .* were not checked"):
        residual_of({**JOB, "largest_residual": None})
