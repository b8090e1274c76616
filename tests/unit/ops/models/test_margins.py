from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.engines.lean_xgboost import import_xgboost
from tests.unit.ops.models.conftest import Owner, Rows, rows_of, train

NAMES = ["a", "c", "b"]
CLASSES: dict[str, Any] = {"objective": "multi:softprob", "num_class": 3}


def margins_of(booster: Any, rows: Rows, rounds: int = 0, missing: float = np.nan) -> Rows:
    matrix = import_xgboost().DMatrix(rows, missing=missing, nthread=1)
    found: Rows = booster.predict(
        matrix, output_margin=True, validate_features=False, iteration_range=(0, rounds)
    )
    return found


def marked(marker: float) -> Rows:
    rows = rows_of()
    rows[::4, 0] = rows[1::5, 2] = marker
    return rows


def test_margins_that_agree_are_kept_for_activation(owner: Owner) -> None:
    rows = rows_of(500)
    rows[::7, 1] = np.nan
    booster = train(NAMES, rounds=4)
    margins = margins_of(booster, rows)

    check = ["--check", owner.npy("rows", rows), owner.npy("expected", margins)]
    said = owner.do("add", "m", owner.model(booster), *check)

    assert "500 rows agree with your margins" in said
    expected = owner.contract().expected
    assert expected is not None
    kept = np.linspace(0, 499, 200).round().astype(int)
    folder = owner.models_dir / "m/1"
    np.testing.assert_array_equal(np.load(folder / expected.rows.file), rows[kept])
    np.testing.assert_array_equal(np.load(folder / expected.margins.file)[:, 0], margins[kept])


def test_expected_may_be_csv_with_or_without_a_header(owner: Owner) -> None:
    rows, booster = rows_of(6), train(NAMES)
    arguments = ["add", "m", owner.model(booster), "--check", owner.csv("rows", rows[:, ::-1], NAMES[::-1])]
    expected = owner.folder / "expected.csv"
    for header in ("margin\n", "0\n", ""):
        expected.write_text(header + "".join(f"{margin:.9g}\n" for margin in margins_of(booster, rows)))
        assert "6 rows agree" in owner.do(*arguments, expected, "--dry-run")


@pytest.mark.parametrize("params", [CLASSES, {"booster": "gblinear"}], ids=["classes", "linear"])
def test_margins_are_compared_each(owner: Owner, params: dict[str, Any]) -> None:
    rows, booster = rows_of(9), train(NAMES, **params)
    margins = margins_of(booster, rows).reshape(9, -1)
    arguments = ["add", "m", owner.model(booster), "--check", owner.npy("rows", rows)]
    assert "9 rows agree" in owner.do(*arguments, owner.npy("expected", margins), "--dry-run")

    margins[4, -1] += 0.5
    said = owner.refuse(*arguments, owner.npy("expected", margins))

    assert "1 of 9 rows differ" in said
    assert "row 4 (counted from 0)" in said
    assert "Nothing that was tried makes them agree" in said


@pytest.mark.parametrize(
    ("params", "rows", "how", "given", "advice"),
    [
        ({}, rows_of(), {"rounds": 2}, ["--trees", "all"], "--trees best"),
        ({}, rows_of(), {}, [], "--trees all"),
        ({"rounds": 2}, marked(-999), {"missing": -999.0}, [], "--missing=-999"),
        ({"rounds": 2}, marked(4321.5), {"missing": 4321.5}, [], "--missing=4321.5"),
        ({}, marked(0), {"missing": 0.0}, [], "--trees all --missing=0"),
        ({"rounds": 2}, marked(-1), {}, ["--missing", "-1"], "--missing none"),
        ({"booster": "dart", "rate_drop": 0.5}, rows_of(), {"rounds": 4}, [], "--trees 4"),
        ({"num_parallel_tree": 2}, rows_of(), {"rounds": 4}, [], "--trees 4"),
    ],
)
def test_the_option_that_makes_margins_agree_is_named_and_works(
    owner: Owner, params: dict[str, Any], rows: Rows, how: dict[str, Any], given: list[str], advice: str
) -> None:
    booster = train(NAMES, rows=rows, missing=how.get("missing", np.nan), **{"rounds": 6, **params})
    path = owner.model(booster, best_iteration="1")
    check = ["--check", owner.npy("rows", rows), owner.npy("expected", margins_of(booster, rows, **how))]

    said = owner.refuse("add", "m", path, *given, *check)

    assert f"With {advice} all rows agree" in said
    assert "rows agree with your margins" in owner.do("add", "m", path, *advice.split(), *check)


def test_a_missing_marker_that_only_codes_of_categories_meet_is_named(owner: Owner) -> None:
    rows = rows_of()
    rows[:, 1] = np.arange(60) % 3
    types = ["float", "c", "float"]  # each of the classes is told by the code
    booster = train(NAMES, types, rounds=4, rows=rows, missing=0.0, **CLASSES)
    matrix = import_xgboost().DMatrix(
        rows, missing=0.0, feature_types=types, feature_names=NAMES, enable_categorical=True, nthread=1
    )
    expected = owner.npy("expected", booster.predict(matrix, output_margin=True))

    said = owner.refuse("add", "m", owner.model(booster), "--check", owner.npy("rows", rows), expected)

    assert "With --missing=0 all rows agree." in said


def test_a_missing_marker_that_only_the_file_notes_is_overruled_as_advised(owner: Owner) -> None:
    booster = train(NAMES, rounds=4, rows=marked(-1))
    check = ["--check", owner.npy("rows", marked(-1)), owner.npy("expected", margins_of(booster, marked(-1)))]
    path = owner.model(booster, scikit_learn='{"missing": -1}')

    assert "With --missing none all rows agree." in owner.refuse("add", "m", path, *check)
    owner.do("add", "m", path, "--missing", "none", *check)
    assert owner.contract().missing == ()


@pytest.mark.parametrize(
    ("objective", "made", "what"),
    [
        ("binary:logistic", lambda p: p, "predictions"),
        ("binary:logistic", lambda p: np.column_stack([1 - p, p]), "probabilities of both classes"),
        ("binary:logistic", lambda p: (p > 0.5).astype(np.int64), "classes"),
        ("multi:softprob", lambda p: p.argmax(axis=1), "classes"),
        ("count:poisson", lambda p: p, "predictions"),
    ],
)
def test_predictions_are_told_from_margins(
    owner: Owner, objective: str, made: Callable[[Rows], NDArray[Any]], what: str
) -> None:
    classes: dict[str, Any] = {"num_class": 3} if objective.startswith("multi") else {}
    rows, booster = rows_of(30), train(NAMES, rounds=5, objective=objective, **classes)
    predictions = booster.predict(import_xgboost().DMatrix(rows, nthread=1), validate_features=False)
    check = ["--check", owner.npy("rows", rows), owner.npy("expected", made(predictions))]

    said = owner.refuse("add", "m", owner.model(booster, best_iteration="1"), *check)

    assert re.search(f"EXPECTED holds {what}, not margins. .* instead, and add --trees all", said)


def test_a_file_without_a_table_of_margins_is_refused(owner: Owner) -> None:
    path = owner.folder / "expected.npy"
    model, rows = owner.model(train(NAMES)), owner.npy("rows", rows_of(5))
    for content, said in (
        (np.zeros(4), "it has 4 lines, and ROWS has 5"),
        (np.zeros((5, 2)), "has 2 columns, and the model gives 1 margins a row"),
        (np.full(5, np.nan), "nan in line 0, column 0"),
        (np.array([None] * 5), "Object arrays cannot be loaded"),
        (b",0\n0,1\n1,1\n2,1\n3,1\n4,1\n", "begins with an index column"),
        (b"m\n1\n2\nx\n4\n5\n", "could not convert string 'x' to float64 at row 2"),
        (b"1\n2,3\n1\n1\n1\n", "number of columns changed"),
        (b"", "it has 0 lines"),
        (b"\xff\xfe\x00", "can't decode byte"),
    ):
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            np.save(path, content)
        told = owner.refuse("add", "m", model, "--check", rows, path)
        assert said in told
        assert str(path) in told
