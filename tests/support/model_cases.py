"""Models as people train them: early stopping, markers, categories, depth, odd names."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from shared.engines.lean_xgboost import import_xgboost
from tests.support.trained_case import (
    FEW,
    ModelCase,
    case_of,
    mixed_rows,
    mixed_target,
    number_rows,
    trained,
    trained_until_best,
    whole_xgboost,
)


def noise(seed: int, rows: Any) -> Any:
    return np.random.default_rng(seed).normal(size=len(rows))


def _early_stopping_dart(seed: int) -> ModelCase:
    rows = number_rows(seed, list("abcde"))
    target = rows.a * rows.b + noise(seed, rows) * 2
    booster = trained_until_best(rows, target, booster="dart", rate_drop=0.3, one_drop=1, eta=0.5)
    return case_of(booster, rows, rounds=booster.best_iteration + 1)


def _early_stopping_classes(seed: int) -> ModelCase:
    rows = number_rows(seed, list("abcde"))
    target = (rows.a + noise(seed, rows) > 0).astype(int) + (rows.b > 0.5).astype(int)
    booster = trained_until_best(rows, target, objective="multi:softprob", num_class=3, eta=0.5)
    more: dict[str, Any] = {"background": rows[:60], "options": ("--outputs", "none,some,all")}
    return case_of(booster, rows, rounds=booster.best_iteration + 1, **more)


def _early_stopping_forests(seed: int) -> ModelCase:
    rows = number_rows(seed, list("abcd"))
    target = rows.a * rows.b + noise(seed, rows) * 2
    booster = trained_until_best(rows, target, num_parallel_tree=4, subsample=0.7, eta=0.6)
    return case_of(booster, rows, rounds=booster.best_iteration + 1, background=rows[:50])


def _categories(seed: int, onehot: int) -> ModelCase:
    rows = mixed_rows(seed)
    booster = trained(rows[:900], mixed_target(rows)[:900], 20, max_cat_to_onehot=onehot)
    return case_of(booster, rows, background=rows[100:180])


def _missing_zero(seed: int) -> ModelCase:
    """Train with missing=0: the number 0 and a category's code 0 are missing then."""
    rows = mixed_rows(seed).drop(columns="insured")
    booster = trained(rows[:900], mixed_target(rows.assign(insured=0))[:900], 20, missing=0.0)
    return case_of(booster, rows, missing=0.0, options=("--missing", "0"))


def _missing_marker_among_labels(seed: int) -> ModelCase:
    """Train with missing=-999 where -999 is a category's label too, which is not missing."""
    rows = mixed_rows(seed)
    rows["amount"] = rows.amount.mask(np.random.default_rng(seed).random(len(rows)) < 0.2, -999.0)
    booster = trained(rows[:900], mixed_target(rows)[:900], 20, missing=-999.0)
    return case_of(booster, rows, missing=-999.0, options=("--missing", "-999"))


def _deep_dart(seed: int) -> ModelCase:
    rows = number_rows(seed, [f"f{index}" for index in range(12)])
    target = np.sin(rows.to_numpy() @ np.random.default_rng(seed).normal(size=12)) * 2 + rows.f0 * rows.f1
    how: dict[str, Any] = {
        "booster": "dart",
        "rate_drop": 0.5,
        "one_drop": 1,
        "max_depth": 12,
        "min_child_weight": 0,
    }
    booster = trained(rows, target, 5, **how)
    return case_of(booster, rows, background=rows[100:130], refused={"interventional": "margin"})


def _linear(seed: int) -> ModelCase:
    rows, xgboost = number_rows(seed, list("wxyz")), import_xgboost()
    matrix = xgboost.DMatrix(rows, rows.w * 2 - rows.z, nthread=1)
    booster = xgboost.train({"booster": "gblinear", "nthread": 1, "verbosity": 0}, matrix, 20)
    refused = {"interventional": "gblinear", "interactions": "gblinear"}
    return case_of(booster, rows, background=rows[100:130], refused=refused)


def _single_leaves(seed: int) -> ModelCase:
    rows = number_rows(seed, list("abc"))
    return case_of(trained(rows, rows.a + 3, 5, gamma=1e9), rows, background=rows[50:80])


def _no_trees(seed: int) -> ModelCase:
    rows = number_rows(seed, list("abc"))
    return case_of(trained(rows, rows.a + 3, 0, base_score=1.25), rows)


def _odd_names(seed: int) -> ModelCase:
    names = ["net\u00a0income", "tab\there", "line\nbreak", " padded ", 'quo"te,comma', "größe €"]
    rows = number_rows(seed, [f"f{index}" for index in range(len(names))])
    document = json.loads(trained(rows, rows.f0 - rows.f3, 8).save_raw("json"))
    document["learner"]["feature_names"] = names
    content = bytearray(json.dumps(document, ensure_ascii=False).encode())
    return case_of(import_xgboost().Booster(model_file=content), rows.set_axis(names, axis=1))


def _vector_leaves(seed: int) -> ModelCase:
    rows = number_rows(seed, list("abcd"))
    target = np.column_stack([rows.a + rows.b, rows.b - rows.c * 2])
    return case_of(trained(rows, target, 8, multi_strategy="multi_output_tree"), rows)


def _base_scores(seed: int) -> ModelCase:
    """Train several outputs, each with a base score of its own."""
    rows = number_rows(seed, list("abcd"))
    booster = trained(rows, np.column_stack([rows.a + 10, rows.b - 5, rows.c * rows.d]), 8)
    base_scores = json.loads(booster.save_config())["learner"]["learner_model_param"]["base_score"]
    assert len(set(json.loads(base_scores))) == 3
    return case_of(booster, rows, background=rows[:50])


def _fitted(wrapper: str, seed: int, **stopping: Any) -> ModelCase:
    """Fit a scikit-learn wrapper with categories and missing=-999."""
    rows, known = mixed_rows(seed), mixed_target(mixed_rows(seed))
    for name in ("amount", "years"):
        rows[name] = rows[name].mask(np.random.default_rng(seed).random(len(rows)) < 0.2, -999.0)
    scores = known + noise(seed + 1, rows)
    target = np.digitize(scores, np.quantile(scores, [1 / 3, 2 / 3]))
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # those of forests are deprecated, and used all the same
        model = getattr(whole_xgboost(), wrapper)(
            n_estimators=60, max_depth=4, missing=-999.0, enable_categorical=True, n_jobs=1, **stopping
        )
    more = {"eval_set": [(rows[800:], target[800:])], "verbose": False} if stopping else {}
    model.fit(rows[:800], target[:800], **more)
    rounds = model.best_iteration + 1 if stopping else 0
    assert not stopping or rounds < model.get_booster().num_boosted_rounds()
    return case_of(
        model,
        rows,
        rounds=rounds,
        missing=-999.0,
        owner=lambda frame: model.predict(frame, output_margin=True),
        options=("--missing", "-999"),
        background=rows[:60],
    )


#: The trainer of each kind, given a seed.
MAKERS: Mapping[str, Callable[[int], ModelCase]] = {
    "early-stopping-dart": _early_stopping_dart,
    "early-stopping-classes": _early_stopping_classes,
    "early-stopping-forests": _early_stopping_forests,
    "missing-zero": _missing_zero,
    "missing-marker-among-labels": _missing_marker_among_labels,
    "categories-partition": lambda seed: _categories(seed, onehot=1),
    "categories-onehot": lambda seed: _categories(seed, onehot=100),
    "deep-dart": _deep_dart,
    "linear": _linear,
    "single-leaves": _single_leaves,
    "no-trees": _no_trees,
    "odd-names": _odd_names,
    "vector-leaves": _vector_leaves,
    "base-scores": _base_scores,
    "fitted-classifier": lambda seed: _fitted(
        "XGBClassifier", seed, early_stopping_rounds=10, learning_rate=0.5
    ),
    "fitted-forest": lambda seed: _fitted("XGBRFClassifier", seed),
}
#: Those of which not all rounds count.
STOPPED = {"early-stopping-dart", "early-stopping-classes", "early-stopping-forests", "fitted-classifier"}


def too_few_names(seed: int = 1) -> Any:
    """Return a model of 5 features with 2 names, which XGBoost itself does not notice."""
    rows, xgboost = np.random.default_rng(seed).normal(size=(200, 5)).astype(np.float32), import_xgboost()
    booster = xgboost.train(FEW, xgboost.DMatrix(rows, rows[:, 0], nthread=1), 5)
    booster.feature_names = ["first", "second"]
    return booster
