"""Models as people train them, from `models add` to values over REST; refused models."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ops.lab.trial_appliance import Appliance
from ops.models.command import run
from shared.build import ROOT
from tests.support.case_requests import FORMATS, distance, explained, post, post_bytes
from tests.support.model_cases import MAKERS, STOPPED, too_few_names
from tests.support.trained_case import ModelCase, codes_of

#: Models that cannot be served, with what the reasons must say.
REFUSED = {"five-names": "has 5 features and 2 feature names", "wine": "Restore"}
#: How far values may be off, relative to the largest of their row and output.
EXACT = 1e-5
#: Seconds for a start that activates all these models on a busy machine.
START_SECONDS = 300.0
SEED = 71
#: Rows of a request that a worker explains, in two batches.
MANY = 600
#: Models whose names, labels and missing values every format must give as they are.
IN_EVERY_FORMAT = {"missing-zero", "missing-marker-among-labels", "categories-onehot", "odd-names"}


@pytest.fixture(scope="module")
def cases() -> dict[str, ModelCase]:
    return {name: make(SEED) for name, make in MAKERS.items()}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, cases: dict[str, ModelCase]) -> Iterator[Appliance]:
    """Import all models with a check of their margins; serve them from their records."""
    folder = tmp_path_factory.mktemp("cases")
    models_dir = folder / "models"
    for name, case in cases.items():
        assert run(import_arguments(folder, name, case), models_dir) == 0, name
    put_refused(models_dir)
    appliance = Appliance(folder / "data", {"MODELS_DIR": str(models_dir), "BATCH_ROWS": "400"})
    try:
        appliance.start(START_SECONDS)
        appliance.stop()
        appliance.start()  # from the records of the first start
        yield appliance
    finally:
        appliance.stop()


def put_refused(models_dir: Path) -> None:
    """Alter a shipped model, and add a model of 5 features of which it names 2."""
    shutil.copytree(ROOT / "models" / "wine", models_dir / "wine")
    with (models_dir / "wine" / "1" / "model.ubj").open("r+b") as file:
        file.seek(100)
        file.write(b"altered")
    folder = models_dir / "five-names" / "1"
    folder.mkdir(parents=True)
    too_few_names().save_model(folder / "model.ubj")
    manifest = {  # of format 1, as the first edition wrote them
        "name": "five-names",
        "version": 1,
        "sha256": hashlib.sha256((folder / "model.ubj").read_bytes()).hexdigest(),
        "features": ["first", "second", "third", "fourth", "fifth"],
        "outputs": ["output"],
        "objective": "reg:squarederror",
        "xgboost_version": "3.4.1",
        "training": {},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


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


def test_models_that_cannot_be_served_are_the_only_ones_refused_and_a_second_start_verifies_nothing(
    served: Appliance,
) -> None:
    ready = served.get("/readyz")
    assert ready.status == 200
    assert ready.json()["probes"]["models"]["refused"] == [f"{name}@1" for name in REFUSED]
    documents = {one["name"]: one for one in served.get("/v1/models").json()["models"]}
    assert {name for name, one in documents.items() if one["state"] == "ready"} == set(MAKERS)
    for name, reason in REFUSED.items():
        assert documents[name]["state"] == "refused"
        assert reason in documents[name]["reason"]
        refused = post_bytes(served, f"?model={name}", "text/csv", b"first\n1\n")
        assert (refused.status, refused.json()["type"]) == (422, "/problems/model-refused")
        assert documents[name]["reason"] in refused.json()["detail"]
    log = served.log().splitlines()
    assert [line for line in log if "model refused" in line and "wine@1" in line and "Restore" in line]
    activations = [line for line in log if "models activated" in line]
    before, after = (dict(re.findall(r"(\w+)=([\d.]+)", line)) for line in activations)
    assert int(before["verified"]) >= len(MAKERS)  # what was altered need not be verified
    assert int(after["verified"]) == 0
    assert before["versions"] == after["versions"]
    assert "Traceback" not in served.log()
    assert len(served.worker_pids()) == 2


@pytest.fixture(params=list(MAKERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def case(cases: dict[str, ModelCase], name: str) -> ModelCase:
    return cases[name]


def test_values_and_margins_are_the_owners_with_the_owners_trees_inline_and_by_a_worker(
    served: Appliance, name: str, case: ModelCase
) -> None:
    document = served.get(f"/v1/models/{name}").json()
    trees = document["contract"]["trees"]
    assert document["state"] == "ready"
    assert (trees["used"] < trees["total"]) == (name in STOPPED)
    assert trees["reason"] == ("best_iteration" if name in STOPPED else "all")
    for form in FORMATS if name in IN_EVERY_FORMAT else ("json arrays", "npy"):
        for rows in (slice(MANY), slice(3, 4)):
            found = explained(post(served, name, case.rows[rows], form))
            # One row is explained inline where it can be.
            assert (found.job is None) == (rows.start is not None and document["engine"] != "xgboost")
            assert distance(found.contributions, case.contributions[rows]) <= EXACT
            assert found.margins == pytest.approx(case.margins[rows], rel=EXACT, abs=EXACT)


def check_refused(served: Appliance, name: str, reason: str, **option: Any) -> None:
    """Check that a request is refused with the reason before its rows are read."""
    unreadable = b"no such feature\nno number\n"
    query = "&".join(f"{key}={str(value).lower()}" for key, value in {"model": name, **option}.items())
    answer = post_bytes(served, f"?{query}", "text/csv", unreadable)
    assert (answer.status, answer.json()["type"]) == (422, "/problems/method-refused")
    assert reason in answer.json()["detail"]


def test_interventional_values_are_those_of_the_definition_or_refused_with_the_reason(
    served: Appliance, name: str, case: ModelCase
) -> None:
    reason = "without background rows" if case.background is None else case.refused.get("interventional")
    if reason is not None:
        check_refused(served, name, reason, method="interventional")
        return
    rows = case.rows[:2]
    found = explained(post(served, name, rows, "json objects", method="interventional"))
    for row in range(len(rows)):
        wanted = shapley_values(case, rows[row : row + 1])
        assert distance(found.contributions[row], wanted) <= EXACT
    assert found.margins == pytest.approx(case.margins[:2], rel=EXACT, abs=EXACT)


def shapley_values(case: ModelCase, row: Any) -> NDArray[np.float64]:
    """Return outputs x (features + 1) by all coalitions of the row and each background row."""
    import pandas as pd

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
    means = margins.reshape(len(coalitions), len(background), -1).mean(axis=1)
    worths = dict(zip(coalitions, means, strict=True))
    values = np.zeros((len(names) + 1, margins.shape[1]))
    values[-1] = worths[coalitions[0]]
    for coalition, feature in itertools.product(coalitions, range(len(names))):
        if not coalition[feature]:
            joined = (*coalition[:feature], True, *coalition[feature + 1 :])
            ways = len(names) * math.comb(len(names) - 1, sum(coalition))
            values[feature] += (worths[joined] - worths[coalition]) / ways
    return values.T


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


def test_an_unknown_label_or_code_is_refused_with_its_place(
    served: Appliance, cases: dict[str, ModelCase]
) -> None:
    three = cases["categories-onehot"].rows[:3]
    labels: tuple[tuple[str, object, str], ...] = (
        ("home", "castle", "'mortgage', 'own', 'rent'"),
        ("term", 1, "10, 20, 30"),
    )
    for form, (column, label, known) in itertools.product(FORMATS[:-1], labels):
        rows = three.astype({column: object})
        rows.loc[1, column] = label
        answer = post(served, "categories-onehot", rows, form)
        assert (answer.status, answer.json()["type"]) == (422, "/problems/invalid-rows")
        [error] = answer.json()["errors"]
        assert (error["row"], error["column"]) == (1, column)
        assert known in error["detail"]
    for wrong in (3, -1, 0.5):
        codes, body = codes_of(three), io.BytesIO()
        codes[2, 0] = wrong
        np.save(body, codes)
        answer = post_bytes(served, "?model=categories-onehot", "application/x-npy", body.getvalue())
        assert answer.status == 422
        [error] = answer.json()["errors"]
        assert (error["row"], error["column"]) == (2, "home")
