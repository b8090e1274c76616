from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ops.models.source import read_source
from shared.engines.lean_xgboost import import_xgboost
from shared.models.catalog import ModelCatalog
from shared.models.contract import Adverse, Feature, Kind, Link, Reason, Trees, TreesReason
from tests.unit.ops.models.conftest import Owner, rows_of, train


@pytest.fixture
def stopped(owner: Owner) -> Path:
    """Train a model whose file says that the first 3 of its 5 rounds are the best."""
    booster = train(["a", "b", "c d"], rounds=5, objective="binary:logistic")
    return owner.model(booster, "stopped.ubj", best_iteration="2", best_score="0.25", note="mine")


@pytest.fixture
def coded(owner: Owner) -> Path:
    """Train a model on codes of a category, and on a boolean and a number, without labels."""
    rows = np.column_stack([np.arange(60) % 3, np.arange(60) % 2, np.arange(60) % 4]).astype(np.float32)
    return owner.model(train(["home", "new", "grade"], ["c", "i", "float"], rows=rows), "coded.ubj")


def test_trees_up_to_best_iteration_count_unless_others_are_chosen(owner: Owner, stopped: Path) -> None:
    best, everything = owner.do("add", "m", stopped), owner.do("add", "m", stopped, "--trees", "all")
    chosen = owner.do("add", "m", stopped, "--trees", "4")

    assert "3 of 5 rounds: best_iteration, as model.predict uses them; --trees all for all" in best
    assert "5 of 5 rounds: as --trees all says; model.predict uses 3 (best_iteration)" in everything
    assert "4 of 5 rounds: as --trees says" in chosen
    trees = [version.contract.trees for version in ModelCatalog.load(owner.models_dir).versions()]
    assert trees == [Trees(3, 5, TreesReason.BEST_ITERATION), Trees(5, 5), Trees(4, 5, TreesReason.CHOSEN)]
    booster = import_xgboost().Booster(model_file=owner.models_dir / "m/1/model.ubj")
    assert (booster.num_boosted_rounds(), booster.attr("best_iteration")) == (5, "2")
    for said in (owner.do("inspect", stopped), best):  # what the contract cannot hold is reported, and kept
        assert "not used    best_score = '0.25'" in said
        assert "not used    note = 'mine'" in said
    assert owner.contract().training["attributes"] == {"best_score": "0.25", "note": "mine"}


def test_trees_that_do_not_fit_are_refused(owner: Owner, stopped: Path, model: Path) -> None:
    said = owner.refuse("add", "m", stopped, "--trees", "6")
    assert "--trees 6 does not fit: the file has 5 rounds" in said
    assert "the file has no best_iteration" in owner.refuse("add", "m", model, "--trees", "best")
    beyond = owner.model(import_xgboost().Booster(model_file=stopped), "beyond.ubj", best_iteration="7")
    for command in (["add", "m"], ["inspect"]):
        assert "best_iteration is '7', and the file has 5 rounds" in owner.refuse(*command, beyond)
    assert "5 of 5 rounds" in owner.do("add", "m", beyond, "--trees", "all")

    linear = owner.model(train(booster="gblinear"), best_iteration="0")
    said = owner.do("add", "m", linear)
    assert "none: a linear model (gblinear) has weights" in said
    assert "best_iteration = '0' (XGBoost's predict ignores it for linear models)" in said
    assert "a linear model (gblinear) has weights" in owner.refuse("add", "m", linear, "--trees", "1")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--missing", "inf"], "finite"),
        (["--missing", "x"], "'x' is not a finite number"),
        (["--missing", "-1,-2"], "--missing: "),
        (["--trees", "0"], "'0' is not a whole number from 1"),
        (["--version", "1.5"], "'1.5' is not a whole number from 1"),
        (["--check", "rows.csv"], "expected 2 arguments"),
    ],
)
def test_an_option_that_makes_no_sense_is_a_wrong_call(owner: Owner, options: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        owner.do("add", "m", "model.ubj", *options)
    assert stopped.value.code == 2
    assert said in owner.capture.readouterr().err


def test_numbers_that_mean_missing_come_from_options_or_from_the_files_note(owner: Owner) -> None:
    plain = owner.model(train(), "plain.ubj")
    noting = owner.model(train(), scikit_learn='{"missing": -5, "n_jobs": null}')  # as XGBoost 1.x writes it
    two = ["--missing", "-999", "--missing", "-1", "--missing=-999"]
    for path, options, missing, said in (
        (plain, [], (), "NaN; a number that meant 'missing' in training is not in the file"),
        (plain, two, (-999.0, -1.0), "NaN, -999, -1 (from --missing)"),
        (noting, [], (-5.0,), "NaN, -5 (from the file's scikit_learn attribute)"),
        (
            noting,
            ["--missing", "-6"],
            (-6.0,),
            "NaN, -6 (from --missing); the file's scikit_learn attribute says -5",
        ),
        (
            noting,
            ["--missing", "none"],
            (),
            "NaN only (from --missing none); the file's scikit_learn attribute says",
        ),
    ):
        assert said in owner.do("add", "m", path, *options)
        assert owner.contract().missing == missing
    both = ["--missing", "none", "--missing", "-1"]
    assert "Give one or the other" in owner.refuse("add", "n", plain, *both)


def test_labels_name_the_codes_of_categories_and_of_ordinal_numbers(owner: Owner, coded: Path) -> None:
    labels = owner.json("labels", {"home": ["own", "rent", "other"], "grade": [1, 2, 3, 4]})

    assert "rows hold codes 0, 1, …: the file has no labels" in owner.do("inspect", coded)
    said = owner.do("add", "m", coded, "--labels", labels)

    assert "'other'; the model was trained on codes 0, 1, …, which --labels names" in said
    assert "1, 2, 3, 4; the model was trained on numbers 0, 1, …, which --labels names" in said
    assert owner.contract().features == (
        Feature("home", Kind.CATEGORY, ("own", "rent", "other")),
        Feature("new", Kind.BOOLEAN),
        Feature("grade", Kind.CATEGORY, (1, 2, 3, 4)),
    )


def test_labels_that_do_not_fit_are_refused(owner: Owner, coded: Path) -> None:
    for text, said in (
        ('{"house": ["a"]}', "names 'house', which the model does not have. Its features are 'home', 'new'"),
        ('{"new": ["no", "yes"]}', "'new' is a boolean in the model file"),
        ('{"home": ["a", "b", "a"]}', "'home' needs a list of different texts or whole numbers"),
        ('{"home": ["a", 1]}', "'home' needs a list of different texts or whole numbers"),
        ('{"home": [true]}', "'home' needs a list of different texts or whole numbers"),
        ('{"home": []}', "'home' needs a list of different texts or whole numbers"),
        ('{"home": ["a"], "home": ["b"]}', "a key appears twice among 'home'"),
        ('["a"]', "is not a JSON object"),
        ("home: [a]", "is not valid JSON"),
    ):
        assert said in owner.refuse("add", "m", coded, "--labels", owner.json("labels", text))
    assert "cannot be read" in owner.refuse("add", "m", coded, "--labels", owner.folder / "nowhere.json")


def test_labels_must_be_those_of_the_codes_that_the_trees_split_at(owner: Owner) -> None:
    """Train on a category of six codes, on ordinal codes with gaps, and on normal numbers."""
    codes = np.arange(120) % 6
    grade = np.where(np.arange(120) % 7 == 0, np.nan, codes)
    rows = np.column_stack([codes, grade, rows_of(120, 1)]).astype(np.float32)
    classes: dict[str, Any] = {"objective": "multi:softprob", "num_class": 5}
    six = owner.model(train(["home", "grade", "x"], ["c", "float", "float"], 20, rows, **classes))

    for feature, labels, said in (
        ("home", ["a", "b", "c"], "3 labels, and the model's trees know at least 6 codes (0 … 5)"),
        ("grade", [1, 2, 3], "3 labels, so its codes would be 0 … 2, but the model splits it as"),
        ("x", ["x", "y"], "2 labels, so its codes would be 0 … 1, but the model splits it as"),
    ):
        told = owner.refuse("add", "m", six, "--labels", owner.json("labels", {feature: labels}))
        assert f"{feature!r} has {said}" in told
    splits = read_source(six).splits[1]
    assert any(not 0 < one <= 5 for one in splits.thresholds), "no threshold parts missing values"
    assert splits.unlike_codes(6) == []
    assert "the trees split at codes up to 5" in owner.do("inspect", six)
    fitting = owner.json("labels", {"home": list("abcdef"), "grade": list("uvwxyz")})
    owner.do("add", "m", six, "--labels", fitting)


def test_other_labels_than_the_files_are_refused(owner: Owner, coded: Path) -> None:
    document = json.loads(bytes(import_xgboost().Booster(model_file=coded).save_raw("json")))
    empty: dict[str, Any] = {"offsets": [], "values": []}
    document["learner"]["gradient_booster"]["model"]["cats"] = {
        "enc": [{"offsets": [0, 1, 2, 3], "values": list(b"xyz")}, empty, empty],
        "feature_segments": [0, 3, 3, 3],
        "sorted_idx": [0, 1, 2],
    }
    path = owner.json("labelled", document)

    said = owner.refuse("add", "m", path, "--labels", owner.json("labels", {"home": ["x", "z", "y"]}))

    assert "'home' has other labels in the model file: 'x', 'y', 'z'. Leave it out." in said
    same = owner.json("labels", {"home": ["x", "y", "z"]})
    assert "'home'  category  'x', 'y', 'z'" in owner.do("add", "m", path, "--labels", same)


def test_a_contract_file_is_kept_if_it_fits(owner: Owner, model: Path) -> None:
    reasons = {"both": {"code": "R1", "text": "A and b"}}
    document = {
        "groups": {"both": ["a", "b"]},
        "reasons": reasons,
        "never_reasons": ["c d"],
        "adverse": "high",
    }
    for wrong, what in (
        ({"group": {}}, "has the unknown key 'group'. Known keys: groups, reasons"),
        ({"groups": {"x": ["nothing"]}}, "the group 'x' names 'nothing', which is no feature"),
        ({"reasons": {"a": {"code": "R"}}}, "'reasons.a' must be an object of code and text"),
        ({"never_reasons": "a"}, "'never_reasons' must be a list"),
        ({"groups": {"x": [float("nan")]}}, "cannot be used"),
    ):
        path = owner.json("contract", {**document, **wrong})
        told = owner.refuse("add", "m", model, "--contract", path)
        assert f"--contract {path} " in told
        assert what in told
        assert "Restore" not in told

    said = owner.do("add", "m", model, "--contract", owner.json("contract", document))

    contract = owner.contract()
    assert contract.groups == {"both": ("a", "b")}
    assert contract.reasons == {"both": Reason("R1", "A and b")}
    assert (contract.never_reasons, contract.adverse) == (("c d",), Adverse.HIGH)
    assert '{"both": {"code": "R1", "text": "A and b"}}' in said


def test_rows_are_taken_from_csv_in_any_column_order_and_sampled_evenly(owner: Owner, model: Path) -> None:
    background = owner.folder / "background.csv"
    background.write_text("\ufeffc d,a,b\n3,1,2\n\n,NaN,2e0\n", encoding="utf-8")
    many = owner.npy("many", np.arange(3003, dtype=np.float32).reshape(1001, 3))

    usual = owner.do("add", "m", model, "--background", background, "--examples", many)
    chosen = owner.do("add", "m", model, "--background", many, "--background-rows", 5)

    folder = owner.models_dir / "m"
    wanted = np.array([[1, 2, 3], [np.nan, 2, np.nan]], dtype=np.float32)
    np.testing.assert_array_equal(np.load(folder / "1/background.npy"), wanted)
    assert "background  2 rows\n" in usual
    assert "100 of 1,001 rows, evenly spaced. Every API key can read these rows." in usual
    assert "5 of 1,001 rows" in chosen
    np.testing.assert_array_equal(np.load(folder / "2/background.npy")[:, 0], [0, 750, 1500, 2250, 3000])
    assert np.load(folder / "1/examples.npy").dtype == np.float32
    assert "Give --background FILE too." in owner.refuse("add", "m", model, "--background-rows", 5)
    background.write_text("a,b\n1,2\n")
    said = owner.refuse("add", "m", model, "--background", background)
    assert str(background) in said
    assert "c d" in said


def test_names_are_kept_and_shown_or_their_number_is_refused(owner: Owner) -> None:
    names = ["net\u00a0income", "line\nbreak", 'quo"te,comma']
    booster = train(names)
    said = owner.do("add", "m", owner.model(booster, "odd.json"))
    assert owner.contract().feature_names == tuple(names)
    assert all(repr(name) in said for name in names)

    booster.feature_names = ["first", "second"]
    few = owner.refuse("add", "n", owner.model(booster, "few.json"))
    assert "has 3 features and 2 feature names ('first', 'second')" in few
    booster.feature_names = None
    unnamed = owner.do("add", "n", owner.model(booster, "none.json"))
    assert "the file has no names, so rows use f0, f1, …" in unnamed


def test_outputs_and_link_come_from_the_objective(owner: Owner) -> None:
    quantiles = {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.9]}
    for params, link, outputs in (
        ({"objective": "binary:logistic"}, Link.SIGMOID, "output"),
        ({"objective": "multi:softmax", "num_class": 3}, Link.ARGMAX, "class_0, class_1, class_2"),
        (quantiles, Link.IDENTITY, "output_0, output_1"),
    ):
        path = owner.model(train(**params))
        assert f"{outputs}; link {link}" in owner.do("add", "m", path)
        assert (owner.contract().link, ", ".join(owner.contract().outputs)) == (link, outputs)
        for wrong in ("a,b,c,d", ",".join("a" * len(owner.contract().outputs)) + ","):
            said = owner.refuse("add", "m", path, "--outputs", wrong)
            assert f"the model gives {len(owner.contract().outputs)}" in said
