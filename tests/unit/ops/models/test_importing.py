from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ops.models.source import read_source
from shared.engines.lean_xgboost import import_xgboost
from shared.models.catalog import ModelCatalog
from shared.models.contract import Adverse, Feature, Kind, Link, Reason, Trees, TreesReason
from tests.unit.ops.models.training import rows_of, saved, trained


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """Train a model whose file says that the first 3 of its 5 rounds are the best."""
    booster = trained(["a", "b", "c d"], rounds=5, objective="binary:logistic")
    booster.set_attr(best_iteration="2", best_score="0.25", note="mine")
    return saved(tmp_path / "stopped.ubj", booster)


@pytest.fixture
def coded(tmp_path: Path) -> Path:
    """Train a model on codes of a category, and on a boolean and a number, without labels."""
    rows = np.column_stack([np.arange(60) % 3, np.arange(60) % 2, np.arange(60) % 4]).astype(np.float32)
    return saved(tmp_path / "coded.ubj", trained(["home", "new", "grade"], ["c", "i", "float"], rows=rows))


def written(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def test_trees_up_to_best_iteration_count_unless_others_are_chosen(
    do: Callable[..., str], models_dir: Path, stopped: Path
) -> None:
    best, everything = do("add", "m", stopped), do("add", "m", stopped, "--trees", "all")
    chosen = do("add", "m", stopped, "--trees", "4")

    assert "3 of 5 rounds: best_iteration, as model.predict uses them; --trees all for all" in best
    assert "5 of 5 rounds: as --trees all says; model.predict uses 3 (best_iteration)" in everything
    assert "4 of 5 rounds: as --trees says" in chosen
    trees = [version.contract.trees for version in ModelCatalog.load(models_dir).versions()]
    assert trees == [Trees(3, 5, TreesReason.BEST_ITERATION), Trees(5, 5), Trees(4, 5, TreesReason.CHOSEN)]
    booster = import_xgboost().Booster(model_file=models_dir / "m/1/model.ubj")
    assert (booster.num_boosted_rounds(), booster.attr("best_iteration")) == (5, "2")


def test_what_the_contract_cannot_hold_is_reported_and_kept(
    do: Callable[..., str], models_dir: Path, stopped: Path
) -> None:
    for said in (do("inspect", stopped), do("add", "m", stopped)):
        assert "not used    best_score = '0.25'" in said
        assert "not used    note = 'mine'" in said

    training = ModelCatalog.load(models_dir).get("m").contract.training
    assert training["attributes"] == {"best_score": "0.25", "note": "mine"}


def test_trees_that_do_not_fit_are_refused(
    refuse: Callable[..., str], stopped: Path, model: Path, tmp_path: Path
) -> None:
    assert "--trees 6 is too many: the file has 5 rounds" in refuse("add", "m", stopped, "--trees", "6")
    assert "the file has no best_iteration" in refuse("add", "m", model, "--trees", "best")
    booster = import_xgboost().Booster(model_file=stopped)
    booster.set_attr(best_iteration="7")
    beyond = saved(tmp_path / "beyond.ubj", booster)
    assert "best_iteration is '7', and the file has 5 rounds" in refuse("add", "m", beyond)
    with pytest.raises(SystemExit):
        refuse("add", "m", stopped, "--trees", "0")


def test_a_best_iteration_that_names_no_round_is_settled_by_an_option(
    do: Callable[..., str], stopped: Path, tmp_path: Path
) -> None:
    booster = import_xgboost().Booster(model_file=stopped)
    booster.set_attr(best_iteration="7")
    beyond = saved(tmp_path / "beyond.ubj", booster)

    assert "5 of 5 rounds" in do("add", "m", beyond, "--trees", "all")
    assert "best_iteration, '7', is none of them" in do("inspect", beyond)


def test_a_linear_model_has_no_trees_to_choose(
    do: Callable[..., str], refuse: Callable[..., str], tmp_path: Path
) -> None:
    booster = trained(booster="gblinear")
    booster.set_attr(best_iteration="0")
    path = saved(tmp_path / "linear.ubj", booster)

    said = do("add", "m", path)

    assert "none: a linear model (gblinear) has weights instead" in said
    assert "best_iteration = '0' (XGBoost's predict ignores it for linear models)" in said
    assert "a linear model (gblinear) has weights" in refuse("add", "m", path, "--trees", "1")


@pytest.mark.parametrize(
    "options",
    [
        ["--missing", "-999", "--missing", "-1"],
        ["--missing", "-999,-1"],
        ["--missing=-999,-1", "--missing", "-1"],
    ],
)
def test_missing_markers_are_kept(
    do: Callable[..., str], models_dir: Path, model: Path, options: list[str]
) -> None:
    assert "NaN, -999, -1 (from --missing)" in do("add", "m", model, *options)
    assert ModelCatalog.load(models_dir).get("m").contract.missing == (-999.0, -1.0)


@pytest.mark.parametrize(
    ("marker", "said"), [("nan", "NaN always means"), ("inf", "infinity"), ("x", "'x' is not a number")]
)
def test_a_marker_that_is_no_finite_number_is_a_wrong_call(
    refuse: Callable[..., str], model: Path, capsys: pytest.CaptureFixture[str], marker: str, said: str
) -> None:
    with pytest.raises(SystemExit):
        refuse("add", "m", model, "--missing", marker)

    assert said in capsys.readouterr().err


def test_a_marker_that_the_file_notes_is_used(
    do: Callable[..., str], models_dir: Path, model: Path, tmp_path: Path
) -> None:
    booster = import_xgboost().Booster(model_file=model)
    booster.set_attr(scikit_learn='{"missing": -5, "n_jobs": null}')  # as XGBoost 1.x writes it
    path = saved(tmp_path / "noted.ubj", booster)

    assert "NaN, -5 (from the file's scikit_learn attribute)" in do("add", "m", path)
    assert "NaN, -6 (from --missing); the file's scikit_learn attribute says -5" in do(
        "add", "m", path, "--missing", "-6"
    )
    assert "NaN only (from --missing none); the file's scikit_learn attribute says -5" in do(
        "add", "m", path, "--missing", "none"
    )
    assert ModelCatalog.load(models_dir).get("m@3").contract.missing == ()
    assert ModelCatalog.load(models_dir).get("m@1").contract.missing == (-5.0,)


def test_none_and_a_number_that_means_missing_contradict(refuse: Callable[..., str], model: Path) -> None:
    said = refuse("add", "m", model, "--missing", "none", "--missing", "-1")

    assert "Give one or the other" in said


def test_labels_name_the_codes_of_categories_and_of_ordinal_numbers(
    do: Callable[..., str], models_dir: Path, coded: Path, tmp_path: Path
) -> None:
    labels = written(tmp_path / "labels.json", {"home": ["own", "rent", "other"], "grade": [1, 2, 3, 4]})

    assert "rows hold codes 0, 1, …: the file has no labels" in do("inspect", coded)
    said = do("add", "m", coded, "--labels", labels)

    assert "'home': the model was trained on codes 0, 1, …; --labels names them" in said
    assert "'grade': the model was trained on numbers 0, 1, … that it splits as numbers" in said
    assert ModelCatalog.load(models_dir).get("m").contract.features == (
        Feature("home", Kind.CATEGORY, ("own", "rent", "other")),
        Feature("new", Kind.BOOLEAN),
        Feature("grade", Kind.CATEGORY, (1, 2, 3, 4)),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"house": ["a"]}', "names 'house', which the model does not have. Its features are 'home', 'new'"),
        ('{"new": ["no", "yes"]}', "'new' is a boolean in the model file"),
        ('{"home": ["a", "b", "a"]}', "'home' has 'a' more than once"),
        ('{"home": ["a", 1]}', "give 'home' a list of texts or of whole numbers"),
        ('{"home": [true]}', "give 'home' a list of texts or of whole numbers"),
        ('{"home": []}', "give 'home' a list of texts or of whole numbers"),
        ('{"home": ["a"], "home": ["b"]}', "the key 'home' is there twice"),
        ('["a"]', "is not a JSON object"),
        ("home: [a]", "is not valid JSON"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    refuse: Callable[..., str], coded: Path, tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text)

    assert said in refuse("add", "m", coded, "--labels", path)


@pytest.fixture
def six(tmp_path: Path) -> Path:
    """Train on a category of six codes, on ordinal codes with gaps, and on normal numbers."""
    codes = np.arange(120) % 6
    grade = np.where(np.arange(120) % 7 == 0, np.nan, codes)
    rows = np.column_stack([codes, grade, rows_of(120, 1)]).astype(np.float32)
    booster = trained(
        ["home", "grade", "x"], ["c", "float", "float"], 20, rows, objective="multi:softprob", num_class=5
    )
    return saved(tmp_path / "six.ubj", booster)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            {"home": ["a", "b", "c"]},
            "'home' has 3 labels, and the model's trees know at least 6 codes (0 … 5)",
        ),
        (
            {"grade": [1, 2, 3]},
            "'grade' has 3 labels, so its codes would be 0 … 2, but the model splits it as",
        ),
        ({"x": ["x", "y"]}, "'x' has 2 labels, so its codes would be 0 … 1, but the model splits it as"),
    ],
)
def test_labels_that_cannot_be_those_of_the_trees_codes_are_refused(
    refuse: Callable[..., str], six: Path, tmp_path: Path, labels: dict[str, Any], said: str
) -> None:
    assert said in refuse("add", "m", six, "--labels", written(tmp_path / "labels.json", labels))


def test_labels_of_all_codes_fit_where_trees_part_codes_from_missing_values(
    do: Callable[..., str], six: Path, tmp_path: Path
) -> None:
    labels = written(tmp_path / "labels.json", {"home": list("abcdef"), "grade": list("uvwxyz")})

    grade = read_source(six).splits[1]

    assert any(not 0 < one <= 5 for one in grade.thresholds), "no threshold parts missing values"
    assert grade.unlike_codes(6) == []
    assert grade.unlike_codes(5) != []
    assert "the trees split at codes up to 5" in do("inspect", six)
    do("add", "m", six, "--labels", labels)


def test_other_labels_than_the_files_are_refused_and_both_shown(
    refuse: Callable[..., str], do: Callable[..., str], coded: Path, tmp_path: Path
) -> None:
    document = json.loads(bytes(import_xgboost().Booster(model_file=coded).save_raw("json")))
    empty: dict[str, Any] = {"offsets": [], "values": []}
    document["learner"]["gradient_booster"]["model"]["cats"] = {
        "enc": [{"offsets": [0, 1, 2, 3], "values": list(b"xyz")}, empty, empty],
        "feature_segments": [0, 3, 3, 3],
        "sorted_idx": [0, 1, 2],
    }
    path = written(tmp_path / "labelled.json", document)
    other = written(tmp_path / "labels.json", {"home": ["x", "z", "y"]})

    said = refuse("add", "m", path, "--labels", other)

    assert "It has 'x', 'y', 'z'; --labels has 'x', 'z', 'y'." in said
    assert "'home'  category  'x', 'y', 'z'" in do(
        "add", "m", path, "--labels", written(other, {"home": ["x", "y", "z"]})
    )


def test_a_contract_file_is_kept(
    do: Callable[..., str], models_dir: Path, model: Path, tmp_path: Path
) -> None:
    path = written(
        tmp_path / "contract.json",
        {
            "groups": {"both": ["a", "b"]},
            "reasons": {"both": {"code": "R1", "text": "A and b"}},
            "never_reasons": ["c d"],
            "adverse": "high",
        },
    )

    said = do("add", "m", model, "--contract", path)

    contract = ModelCatalog.load(models_dir).get("m").contract
    assert contract.groups == {"both": ("a", "b")}
    assert contract.reasons == {"both": Reason("R1", "A and b")}
    assert (contract.never_reasons, contract.adverse) == (("c d",), Adverse.HIGH)
    assert "'both': R1 'A and b'" in said


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"group": {}}, "has the unknown key 'group'. Known keys: groups, reasons"),
        ({"groups": {"x": ["nothing"]}}, "the group 'x' names 'nothing', which is no feature"),
        ({"adverse": "up"}, "'adverse' must be one of high, low"),
        ({"reasons": {"a": {"code": "R"}}}, "'reasons.a' must be an object of code and text"),
        ({"reasons": ["a"]}, "'reasons' must be an object"),
        ({"never_reasons": "a"}, "'never_reasons' must be a list"),
    ],
)
def test_a_contract_file_that_does_not_fit_is_refused(
    refuse: Callable[..., str], model: Path, tmp_path: Path, document: dict[str, Any], said: str
) -> None:
    path = written(tmp_path / "contract.json", document)

    told = refuse("add", "m", model, "--contract", path)

    assert f"--contract {path} " in told
    assert said in told


def test_background_and_examples_are_sampled_evenly_and_it_is_said(
    do: Callable[..., str], refuse: Callable[..., str], models_dir: Path, model: Path, tmp_path: Path
) -> None:
    many = tmp_path / "many.npy"
    np.save(many, np.arange(3003, dtype=np.float32).reshape(1001, 3))

    usual = do("add", "m", model, "--background", many, "--examples", many)
    chosen = do("add", "m", model, "--background", many, "--background-rows", 5)
    kept = do("add", "m", model, "--background", many, "--background-rows", 5000)

    assert "1,000 of 1,001 rows, evenly spaced (--background-rows N" in usual
    assert "100 of 1,001 rows, evenly spaced (--examples-rows N" in usual
    assert "Every API key can read these rows." in usual
    assert "5 of 1,001 rows" in chosen
    assert "1,001 rows" in kept
    sampled = np.load(models_dir / "m/2/background.npy")
    np.testing.assert_array_equal(sampled[:, 0], [0, 750, 1500, 2250, 3000])
    assert "Give --examples FILE too." in refuse("add", "m", model, "--examples-rows", 5)


def test_a_dry_run_says_all_and_writes_nothing(
    do: Callable[..., str], models_dir: Path, model: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.npy"
    np.save(rows, rows_of(5))
    arguments = ["add", "m", model, "--background", rows, "--examples", rows]

    said = do(*arguments, "--dry-run")

    assert "Dry run: nothing was written. Without --dry-run this adds m@1." in said
    assert not models_dir.exists()
    assert do(*arguments).startswith(said.partition("Dry run")[0])
    assert "m@1 is the same model" in do(*arguments, "--dry-run")


def test_unusual_names_are_kept_and_shown(do: Callable[..., str], models_dir: Path, tmp_path: Path) -> None:
    names = ["net\u00a0income", "tab\there", "line\nbreak", " padded ", 'quo"te,comma']
    path = saved(tmp_path / "odd.json", trained(names, rows=rows_of(columns=5)))

    said = do("add", "m", path)

    assert ModelCatalog.load(models_dir).get("m").features == tuple(names)
    for name in names:
        assert repr(name) in said


def test_a_wrong_number_of_names_is_refused_and_the_remedy_works(
    refuse: Callable[..., str], do: Callable[..., str], tmp_path: Path
) -> None:
    booster = trained()
    booster.feature_names = ["first", "second"]

    said = refuse("add", "m", saved(tmp_path / "few.json", booster))

    assert "has 3 features and 2 feature names ('first', 'second')" in said
    booster.feature_names = None
    assert "the file has no names, so rows use f0, f1, …" in do(
        "add", "m", saved(tmp_path / "none.json", booster)
    )
    booster.feature_names = ["x", "y", "z"]
    assert "'z'  number" in do("add", "n", saved(tmp_path / "named.json", booster))


@pytest.mark.parametrize(
    ("params", "link", "outputs"),
    [
        ({"objective": "binary:logistic"}, Link.SIGMOID, ("output",)),
        ({"objective": "multi:softmax", "num_class": 3}, Link.ARGMAX, ("class_0", "class_1", "class_2")),
        ({"objective": "count:poisson"}, Link.EXP, ("output",)),
        (
            {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.9]},
            Link.IDENTITY,
            ("output_0", "output_1"),
        ),
    ],
)
def test_outputs_and_link_come_from_the_objective(
    do: Callable[..., str],
    models_dir: Path,
    tmp_path: Path,
    params: dict[str, Any],
    link: Link,
    outputs: tuple[str, ...],
) -> None:
    said = do("add", "m", saved(tmp_path / "m.ubj", trained(**params)))

    contract = ModelCatalog.load(models_dir).get("m").contract
    assert (contract.link, contract.outputs) == (link, outputs)
    assert f"{', '.join(outputs)}; link {link}" in said
