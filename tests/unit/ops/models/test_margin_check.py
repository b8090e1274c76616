from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ops.models.rounds_search import rounds_to_try, rounds_tried
from shared.engines.lean_xgboost import import_xgboost
from shared.models.activation.inspection import ModelInspection
from shared.models.catalog import ModelCatalog
from shared.models.version import ModelVersion
from tests.unit.ops.models.training import Rows, margins_of, rows_of, saved, trained

NAMES = ["a", "c", "b"]


@dataclass
class Owner:
    """A model's owner: has files, and adds them."""

    folder: Path
    models_dir: Path
    do: Callable[..., str]
    refuse: Callable[..., str]

    def npy(self, name: str, matrix: NDArray[Any]) -> Path:
        np.save(self.folder / f"{name}.npy", matrix)
        return self.folder / f"{name}.npy"

    def csv(self, name: str, rows: Rows, names: list[str]) -> Path:
        path = self.folder / f"{name}.csv"
        np.savetxt(path, rows, "%.9g", ",", header=",".join(names), comments="")
        return path

    def model(self, booster: Any) -> Path:
        return saved(self.folder / "model.ubj", booster)

    def advised(self, *arguments: object) -> str:
        """Add with --check, which must be refused; add again with the options of the message."""
        said = self.refuse("add", "m", *arguments)
        options = re.search(r"With (--.+) all rows agree", said)
        assert options is not None, said
        changed = [argument for argument in arguments if argument not in {"--trees", "all", "best"}]
        assert "rows agree with your margins" in self.do("add", "m", *changed, *options[1].split())
        return options[1]

    def version(self) -> ModelVersion:
        return ModelCatalog.load(self.models_dir).get("m")


@pytest.fixture
def owner(tmp_path: Path, models_dir: Path, do: Callable[..., str], refuse: Callable[..., str]) -> Owner:
    return Owner(tmp_path, models_dir, do, refuse)


def with_best(booster: Any, best: int) -> Any:
    booster.set_attr(best_iteration=str(best))
    return booster


def test_margins_that_agree_are_kept_for_activation(owner: Owner) -> None:
    rows = rows_of(500)
    rows[::7, 1] = np.nan
    booster = trained(NAMES, rounds=4)
    margins = margins_of(booster, rows)

    said = owner.do(
        "add", "m", owner.model(booster), "--check", owner.npy("rows", rows), owner.npy("expected", margins)
    )

    assert "500 rows agree with your margins" in said
    version = owner.version()
    expected = version.contract.expected
    assert expected is not None
    kept = np.linspace(0, 499, 200).round().astype(int)
    np.testing.assert_array_equal(np.load(version.folder / expected.rows.file), rows[kept])
    np.testing.assert_array_equal(np.load(version.folder / expected.margins.file)[:, 0], margins[kept])


@pytest.mark.parametrize("header", ["margin\n", "0\n", ""])
def test_expected_may_be_csv_with_or_without_a_header(owner: Owner, header: str) -> None:
    rows, booster = rows_of(6), trained(NAMES)
    expected = owner.folder / "expected.csv"
    expected.write_text(header + "".join(f"{margin:.9g}\n" for margin in margins_of(booster, rows)))

    said = owner.do(
        "add", "m", owner.model(booster), "--check", owner.csv("rows", rows, NAMES), expected, "--dry-run"
    )

    assert "6 rows agree" in said


def test_several_outputs_are_compared_each(owner: Owner) -> None:
    rows, booster = rows_of(9), trained(NAMES, objective="multi:softprob", num_class=3)
    margins = margins_of(booster, rows)
    check = [owner.npy("rows", rows), owner.npy("expected", margins)]
    assert "9 rows agree" in owner.do("add", "m", owner.model(booster), "--check", *check, "--dry-run")

    margins[4, 2] += 0.5
    said = owner.refuse("add", "m", owner.model(booster), "--check", check[0], owner.npy("expected", margins))

    assert "1 of 9 rows differ" in said
    assert "row 4 (counted from 0)" in said
    assert "Nothing that was tried makes them agree" in said


@pytest.mark.parametrize("given", ["all", "best"])
def test_the_rounds_that_make_margins_agree_are_named(owner: Owner, given: str) -> None:
    rows, booster = rows_of(20), with_best(trained(NAMES, rounds=5), 1)
    margins = margins_of(booster, rows, rounds=2 if given == "all" else 5)

    other = "best" if given == "all" else "all"
    arguments = [owner.model(booster), "--trees", given, "--check"]
    advice = owner.advised(*arguments, owner.npy("rows", rows), owner.npy("expected", margins))

    assert advice == f"--trees {other}"


@pytest.mark.parametrize("params", [{}, {"booster": "dart", "rate_drop": 0.5}, {"num_parallel_tree": 2}])
def test_a_number_of_rounds_that_no_note_names_is_found(owner: Owner, params: dict[str, Any]) -> None:
    rows, booster = rows_of(200), trained(NAMES, rounds=30, **params)
    margins = margins_of(booster[:17], rows)
    check = ["--check", owner.npy("rows", rows), owner.npy("expected", margins)]

    assert owner.advised(owner.model(booster), *check) == "--trees 17"

    owner.npy("expected", margins + 1)
    said = owner.refuse("add", "n", owner.model(booster), *check)
    assert "makes them agree: every number of rounds from 1 to 30 (--trees), frequent values" in said


def test_a_linear_model_has_no_rounds_to_try(owner: Owner) -> None:
    rows, booster = rows_of(20), trained(NAMES, booster="gblinear")
    margins = margins_of(booster, rows)
    check = ["--check", owner.npy("rows", rows), owner.npy("expected", margins)]
    owner.do("add", "m", owner.model(booster), *check)

    owner.npy("expected", margins + 1)
    said = owner.refuse("add", "m", owner.model(booster), *check)

    assert "makes them agree: frequent values as --missing" in said


def test_of_many_rounds_the_likeliest_numbers_are_tried() -> None:
    seen = ModelInspection((), False, 1, "reg:squarederror", "gbtree", 2000, 1233, {}, "3")

    tried = rounds_to_try(seen)

    assert len(tried) == 300
    assert {*range(1229, 1240), *range(10, 2001, 10)} <= {*tried}
    assert rounds_tried(tried, 2000).startswith("300 of the 2,000 numbers of rounds")


@pytest.mark.parametrize("marker", [-999.0, 0.0, 4321.5])
def test_the_missing_marker_that_makes_margins_agree_is_named(owner: Owner, marker: float) -> None:
    rows = rows_of(60)
    rows[::4, 0] = rows[1::5, 2] = marker
    booster = trained(NAMES, rounds=4, rows=rows, missing=marker)
    margins = margins_of(booster, rows, missing=marker)

    advice = owner.advised(
        owner.model(booster), "--check", owner.csv("rows", rows, NAMES), owner.npy("expected", margins)
    )

    assert advice == f"--missing {marker:g}"


def test_a_missing_marker_that_only_codes_of_categories_meet_is_named(owner: Owner) -> None:
    rows = rows_of(200)
    rows[:, 1] = np.arange(200) % 3
    types = ["float", "c", "float"]
    classes = {"objective": "multi:softprob", "num_class": 3}  # each is told by the code
    booster = trained(NAMES, types, rounds=4, rows=rows, missing=0.0, **classes)
    matrix = import_xgboost().DMatrix(
        rows, missing=0.0, feature_types=types, feature_names=NAMES, enable_categorical=True, nthread=1
    )

    advice = owner.advised(
        owner.model(booster),
        "--check",
        owner.npy("rows", rows),
        owner.npy("expected", booster.predict(matrix, output_margin=True)),
    )

    assert advice == "--missing 0"


def test_rounds_and_a_missing_marker_are_found_together(owner: Owner) -> None:
    rows = rows_of(60)
    rows[::4, 0] = -999
    booster = with_best(trained(NAMES, rounds=5, rows=rows, missing=-999.0), 1)
    margins = margins_of(booster, rows, missing=-999.0)

    advice = owner.advised(
        owner.model(booster), "--check", owner.npy("rows", rows), owner.npy("expected", margins)
    )

    assert advice == "--trees all --missing -999"


def test_a_missing_marker_that_is_none_is_named(owner: Owner) -> None:
    rows = rows_of(20)
    rows[::3, 0] = -1
    booster = trained(NAMES, rounds=4, rows=rows)
    check = ["--check", owner.npy("rows", rows), owner.npy("expected", margins_of(booster, rows))]

    said = owner.refuse("add", "m", owner.model(booster), "--missing", "-1", *check)

    assert "With --missing none all rows agree." in said
    owner.do("add", "m", owner.model(booster), "--missing", "none", *check)


def test_a_missing_marker_that_only_the_file_notes_is_overruled_as_advised(owner: Owner) -> None:
    rows = rows_of(20)
    rows[::3, 0] = -1
    booster = trained(NAMES, rounds=4, rows=rows)
    margins = margins_of(booster, rows)
    booster.set_attr(scikit_learn='{"missing": -1}')

    advice = owner.advised(
        owner.model(booster), "--check", owner.npy("rows", rows), owner.npy("expected", margins)
    )

    assert advice == "--missing none"
    assert owner.version().contract.missing == ()


@pytest.mark.parametrize(
    ("params", "made", "what"),
    [
        ({"objective": "binary:logistic"}, lambda p: p, "probabilities"),
        (
            {"objective": "binary:logistic"},
            lambda p: np.column_stack([1 - p, p]),
            "probabilities of both classes",
        ),
        ({"objective": "binary:logistic"}, lambda p: (p > 0.5).astype(np.int64), "classes"),
        ({"objective": "multi:softprob", "num_class": 3}, lambda p: p, "probabilities"),
        ({"objective": "multi:softmax", "num_class": 3}, lambda p: p, "classes"),
        ({"objective": "count:poisson"}, lambda p: p, "predictions"),
    ],
)
def test_predictions_are_told_from_margins(
    owner: Owner, params: dict[str, Any], made: Callable[[Rows], NDArray[Any]], what: str
) -> None:
    rows, booster = rows_of(30), trained(NAMES, rounds=5, **params)
    predictions = booster.predict(import_xgboost().DMatrix(rows, nthread=1), validate_features=False)

    said = owner.refuse(
        "add",
        "m",
        owner.model(with_best(booster, 1)),
        "--check",
        owner.npy("rows", rows),
        owner.npy("expected", made(predictions)),
    )

    assert f"EXPECTED holds {what}, not margins. Give model.predict(rows, output_margin=True) instead" in said
    assert "and add --trees all." in said


def test_columns_in_alphabetical_order_are_told(owner: Owner) -> None:
    rows, booster = rows_of(30), trained(NAMES, rounds=4)
    expected = owner.npy("expected", margins_of(booster, rows))
    alphabetical = rows[:, [0, 2, 1]]

    said = owner.refuse(
        "add", "m", owner.model(booster), "--check", owner.npy("rows", alphabetical), expected
    )

    assert "the columns of ROWS are in alphabetical order" in said
    by_name = owner.csv("rows", alphabetical, ["a", "b", "c"])
    owner.do("add", "m", owner.model(booster), "--check", by_name, expected)


def test_codes_in_place_of_labels_are_told(owner: Owner) -> None:
    codes = np.column_stack([np.arange(30) % 3, np.arange(30) % 7]).astype(np.float32)
    booster = trained(["term", "x"], ["c", "float"], rounds=4, rows=codes)
    labels = owner.folder / "labels.json"
    labels.write_text('{"term": [2, 0, 1]}')  # each label is a code as well
    arguments = ["add", "m", owner.model(booster), "--labels", labels, "--check"]
    expected = owner.npy("expected", margins_of(booster, codes))

    said = owner.refuse(*arguments, owner.csv("codes", codes, ["term", "x"]), expected)

    assert "All rows agree if ROWS holds codes of categories" in said
    owner.do(*arguments, owner.npy("codes", codes), expected)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: np.save(path, np.zeros(4)), "has 4 lines, and ROWS has 5"),
        (lambda path: np.save(path, np.zeros((5, 2))), "has 2 columns, and the model gives 1 margin a row"),
        (lambda path: np.save(path, np.full(5, np.nan)), "has nan in line 0, column 0"),
        (lambda path: np.save(path, np.zeros((5, 1, 1))), "holds an array of shape (5, 1, 1)"),
        (lambda path: np.save(path, np.array(["x"] * 5)), "not numbers"),
        (lambda path: np.save(path, np.array([None] * 5)), "is not an .npy file of numbers"),
        (lambda path: path.write_text(",0\n0,1\n1,1\n2,1\n3,1\n4,1\n"), "begins with an index column"),
        (lambda path: path.write_text("m\n1\n2\nx\n4\n5\n"), "has 'x' in line 2"),
        (lambda path: path.write_text("1\n2,3\n1\n1\n1\n"), "has lines of different lengths"),
        (lambda path: path.write_text(""), "is empty"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "is neither .npy nor CSV in UTF-8"),
    ],
)
def test_what_is_no_table_of_margins_is_refused(
    owner: Owner, write: Callable[[Path], object], said: str
) -> None:
    rows, path = owner.npy("rows", rows_of(5)), owner.folder / "expected.npy"
    write(path)

    assert said in owner.refuse("add", "m", owner.model(trained(NAMES)), "--check", rows, path)
