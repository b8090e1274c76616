"""Models as people train them, from `models add` to values over REST that fit the model."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from ops.lab.trial_appliance import Appliance
from ops.models.command import run
from tests.support.case_requests import FORMATS, distance, explained, post, post_bytes
from tests.support.model_cases import MAKERS, too_few_names
from tests.support.trained_case import ModelCase, codes_of

#: How far values may be off, relative to the largest of their row and output.
EXACT = 1e-5
#: Seconds for a start that activates all these models on a busy machine.
START_SECONDS = 300.0
SEED = 71


@pytest.fixture(scope="module")
def cases() -> dict[str, ModelCase]:
    return {name: make(SEED) for name, make in MAKERS.items()}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, cases: dict[str, ModelCase]) -> Iterator[Appliance]:
    """Import all models, compare their margins with the owner's, and serve them."""
    folder = tmp_path_factory.mktemp("cases")
    models_dir = folder / "models"
    for name, case in cases.items():
        assert run(import_arguments(folder, name, case), models_dir) == 0, name
    appliance = Appliance(folder / "data", {"MODELS_DIR": str(models_dir), "BATCH_ROWS": "500"})
    appliance.start(START_SECONDS)
    try:
        yield appliance
    finally:
        appliance.stop()


def import_arguments(folder: Path, name: str, case: ModelCase) -> list[str]:
    model, rows, margins = folder / f"{name}.json", folder / f"{name}.csv", folder / f"{name}.npy"
    case.model.save_model(model)
    case.rows.to_csv(rows, index=False)
    np.save(margins, case.margins)
    arguments = ["add", name, str(model), *case.options, "--check", str(rows), str(margins)]
    if case.background is not None:
        background = folder / f"{name}-background.csv"
        case.background.to_csv(background, index=False)
        arguments += ["--background", str(background)]
    return arguments


@pytest.fixture(params=list(MAKERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def case(cases: dict[str, ModelCase], name: str) -> ModelCase:
    return cases[name]


def model_document(served: Appliance, name: str) -> dict[str, Any]:
    return dict(served.get(f"/v1/models/{name}").json())


@pytest.mark.parametrize("form", FORMATS)
def test_values_and_margins_are_the_owners_in_every_format_alone_and_among_2000_rows(
    served: Appliance, name: str, case: ModelCase, form: str
) -> None:
    among = explained(post(served, name, case.rows, form))
    assert among.job is not None  # by a worker
    assert distance(among.contributions, case.contributions) <= EXACT
    assert among.margins == pytest.approx(case.margins, rel=EXACT, abs=EXACT)
    compiled = model_document(served, name)["engine"] != "xgboost"
    for row in (0, 3, 1999):
        alone = explained(post(served, name, case.rows[row : row + 1], form))
        assert (alone.job is None) == compiled  # inline where it can be
        assert distance(alone.contributions, case.contributions[row : row + 1]) <= EXACT
        assert alone.margins == pytest.approx(case.margins[row : row + 1], rel=EXACT, abs=EXACT)


def test_the_model_is_described_with_the_trees_that_its_owner_uses(served: Appliance, name: str) -> None:
    document = model_document(served, name)
    trees = document["contract"]["trees"]
    assert document["state"] == "ready"
    stops_early = name.startswith("early-stopping") or name in {
        "fitted-classifier",
        "fitted-regressor",
        "fitted-ranker",
    }
    assert (trees["used"] < trees["total"]) == stops_early
    assert trees["reason"] == ("best_iteration" if stops_early else "all")


def check_refused(served: Appliance, name: str, reason: str, **option: Any) -> None:
    """Check that every format is refused with the reason before its rows are read."""
    unreadable = pd.DataFrame({"no such feature": ["no number"]})
    for form in FORMATS[:-1]:
        answer = post(served, name, unreadable, form, **option)
        assert (answer.status, answer.json()["type"]) == (422, "/problems/method-refused")
        assert reason in answer.json()["detail"]


def test_interventional_values_are_those_of_the_definition_or_refused_with_the_reason(
    served: Appliance, name: str, case: ModelCase
) -> None:
    reason = "without background rows" if case.background is None else case.refused.get("interventional")
    if reason is not None:
        check_refused(served, name, reason, method="interventional")
        return
    rows = case.rows[:3]
    found = explained(post(served, name, rows, "json objects", method="interventional"))
    for row in range(len(rows)):
        wanted = shapley_values(case, rows[row : row + 1])
        assert distance(found.contributions[row], wanted) <= EXACT
    assert found.margins == pytest.approx(case.margins[:3], rel=EXACT, abs=EXACT)


def shapley_values(case: ModelCase, row: Any) -> NDArray[np.float64]:
    """Return outputs x (features + 1) by all coalitions of the row and each background row."""
    names = list(row.columns)
    coalitions = list(itertools.product([False, True], repeat=len(names)))
    repeated = row.loc[row.index.repeat(len(case.background))].reset_index(drop=True)
    background = case.background.reset_index(drop=True)
    frames = [
        pd.DataFrame(
            {
                one: (repeated if taken else background)[one]
                for one, taken in zip(names, coalition, strict=True)
            }
        )
        for coalition in coalitions
    ]
    margins = case.margins_of(pd.concat(frames, ignore_index=True)).astype(np.float64)
    worths = dict(
        zip(coalitions, margins.reshape(len(coalitions), len(background), -1).mean(axis=1), strict=True)
    )
    columns = []
    for feature in range(len(names)):
        total = np.zeros(margins.shape[1])
        for coalition in coalitions:
            if not coalition[feature]:
                joined = (*coalition[:feature], True, *coalition[feature + 1 :])
                ways = len(names) * math.comb(len(names) - 1, sum(coalition))
                total += (worths[joined] - worths[coalition]) / ways
        columns.append(total)
    return np.column_stack([*columns, worths[coalitions[0]]])


def test_interactions_are_xgboosts_with_the_owners_trees_or_refused_with_the_reason(
    served: Appliance, name: str, case: ModelCase
) -> None:
    if "interactions" in case.refused:
        check_refused(served, name, case.refused["interactions"], interactions=True)
        return
    rows = case.rows[:5]
    answer = post(served, name, rows, "json objects", interactions=True)
    result = explained(answer)
    found = np.array(answer.json()["interactions"], np.float64).reshape(5, *[len(rows.columns)] * 2, -1)
    wanted = case.interactions_of(rows)[:, :, :-1, :-1]
    largest = np.abs(case.contributions[:5]).max(axis=2)[:, :, np.newaxis, np.newaxis]
    off = np.abs(np.moveaxis(found, 3, 1) - wanted) / np.where(largest == 0, 1, largest)
    assert off.max() <= EXACT
    assert distance(result.contributions, case.contributions[:5]) <= EXACT


@pytest.mark.parametrize("form", FORMATS[:-1])
def test_an_unknown_label_is_refused_with_the_known_ones(
    served: Appliance, cases: dict[str, ModelCase], form: str
) -> None:
    for column, label, known in (("home", "castle", "'mortgage', 'own', 'rent'"), ("term", 1, "10, 20, 30")):
        rows = cases["categories-onehot"].rows[:3].astype({column: object})
        rows.loc[1, column] = label
        answer = post(served, "categories-onehot", rows, form)
        assert (answer.status, answer.json()["type"]) == (422, "/problems/invalid-rows")
        [error] = answer.json()["errors"]
        assert (error["row"], error["column"]) == (1, column)
        assert known in error["detail"]


def test_a_code_that_no_category_has_is_refused(served: Appliance, cases: dict[str, ModelCase]) -> None:
    for wrong in (3, -1, 0.5):
        codes = codes_of(cases["categories-onehot"].rows[:3])
        codes[2, 0] = wrong
        body = io.BytesIO()
        np.save(body, codes)
        answer = post_bytes(served, "?model=categories-onehot", "application/x-npy", body.getvalue())
        assert answer.status == 422
        [error] = answer.json()["errors"]
        assert (error["row"], error["column"]) == (2, "home")


def test_a_model_with_too_few_names_is_refused_at_import_with_both_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    too_few_names().save_model(tmp_path / "model.json")
    assert run(["add", "few", str(tmp_path / "model.json")], tmp_path / "models") == 1
    assert "5 features and 2 feature names ('first', 'second')" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()
