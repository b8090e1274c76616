"""Models as people train them: early stopping, markers, categories, depth, odd names."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xgboost as xgb

from tests.support.trained_case import (
    FEW,
    ModelCase,
    case_of,
    mixed_rows,
    mixed_target,
    number_rows,
    trained,
    trained_until_best,
)


def _early_stopping(seed: int) -> ModelCase:
    rows = number_rows(seed, ["tenure", "spend", "visits", "age", "score", "gap"])
    noise = np.random.default_rng(seed + 1).normal(size=len(rows)) * 2
    target = (rows.spend * rows.visits + noise > 0).astype(int)
    model = xgb.XGBClassifier(
        n_estimators=200, max_depth=4, learning_rate=0.4, early_stopping_rounds=12, n_jobs=1
    )
    model.fit(rows[:600], target[:600], eval_set=[(rows[600:], target[600:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    return case_of(
        model,
        rows,
        rounds=model.best_iteration + 1,
        owner=lambda frame: model.predict(frame, output_margin=True),
        background=rows[1000:1080],
    )


def _early_stopping_dart(seed: int) -> ModelCase:
    rows = number_rows(seed, list("abcde"))
    target = rows.a * rows.b + np.random.default_rng(seed).normal(size=len(rows)) * 2
    booster = trained_until_best(rows, target, booster="dart", rate_drop=0.3, one_drop=1, eta=0.5)
    return case_of(booster, rows, rounds=booster.best_iteration + 1)


def _early_stopping_classes(seed: int) -> ModelCase:
    rows = number_rows(seed, list("abcde"))
    target = (rows.a + np.random.default_rng(seed).normal(size=len(rows)) > 0).astype(int) + (
        rows.b > 0.5
    ).astype(int)
    booster = trained_until_best(rows, target, objective="multi:softprob", num_class=3, eta=0.5)
    return case_of(
        booster,
        rows,
        rounds=booster.best_iteration + 1,
        background=rows[:60],
        options=("--outputs", "none,some,all"),
    )


def _early_stopping_forests(seed: int) -> ModelCase:
    rows = number_rows(seed, list("abcd"))
    target = rows.a * rows.b + np.random.default_rng(seed).normal(size=len(rows)) * 2
    booster = trained_until_best(rows, target, num_parallel_tree=4, subsample=0.7, eta=0.6)
    return case_of(
        booster,
        rows,
        rounds=booster.best_iteration + 1,
        background=rows[:50],
    )


def _forest(seed: int) -> ModelCase:
    rows = number_rows(seed, list("abcd"))
    model = _quietly(xgb.XGBRFRegressor, n_estimators=25, max_depth=5, n_jobs=1, random_state=seed)
    model.fit(rows[:800], rows.a[:800] * rows.b[:800])
    return case_of(model, rows, owner=lambda frame: model.predict(frame, output_margin=True))


def _missing_marker(seed: int) -> ModelCase:
    rows = number_rows(seed, list("abcd"))
    rows = rows.mask(np.random.default_rng(seed).random(rows.shape) < 0.2, -999.0)
    model = xgb.XGBRegressor(missing=-999.0, n_estimators=30, max_depth=4, n_jobs=1)
    model.fit(rows, rows.a + rows.b)
    return case_of(
        model,
        rows,
        missing=-999.0,
        owner=lambda frame: model.predict(frame, output_margin=True),
        options=("--missing", "-999"),
        background=rows[:70],
    )


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


_DEEP: dict[str, Any] = {"max_depth": 12, "min_child_weight": 0}
_DEEP_REFUSED = {"interventional": "margin"}


def _deep_dart(seed: int) -> ModelCase:
    rows = number_rows(seed, [f"f{index}" for index in range(12)])
    target = np.sin(rows.to_numpy() @ np.random.default_rng(seed).normal(size=12)) * 2 + rows.f0 * rows.f1
    booster = trained(rows, target, 5, booster="dart", rate_drop=0.5, one_drop=1, **_DEEP)
    return case_of(booster, rows, background=rows[100:130], refused=_DEEP_REFUSED)


def _deep_expectiles(seed: int) -> ModelCase:
    rows = number_rows(seed, [f"f{index}" for index in range(12)])
    target = rows.f0 + np.exp(rows.f1 / 2) + np.random.default_rng(seed).normal(size=len(rows))
    booster = trained(
        rows, target, 5, objective="reg:expectileerror", expectile_alpha=[0.1, 0.5, 0.9], **_DEEP
    )
    return case_of(booster, rows, background=rows[100:130], refused=_DEEP_REFUSED)


def _linear(seed: int) -> ModelCase:
    rows = number_rows(seed, list("wxyz"))
    matrix = xgb.DMatrix(rows, rows.w * 2 - rows.z, nthread=1)
    booster = xgb.train({"booster": "gblinear", "nthread": 1, "verbosity": 0}, matrix, 20)
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
    booster = xgb.Booster(model_file=bytearray(json.dumps(document, ensure_ascii=False).encode()))
    return case_of(booster, rows.set_axis(names, axis=1), background=None)


def _vector_leaves(seed: int) -> ModelCase:
    rows = number_rows(seed, list("abcd"))
    target = np.column_stack([rows.a + rows.b, rows.b - rows.c * 2])
    booster = trained(rows, target, 8, multi_strategy="multi_output_tree")
    return case_of(booster, rows)


def _base_scores(seed: int) -> ModelCase:
    """Train several outputs, each with a base score of its own."""
    rows = number_rows(seed, list("abcd"))
    target = np.column_stack([rows.a + 10, rows.b - 5, rows.c * rows.d])
    booster = trained(rows, target, 8)
    base_scores = json.loads(booster.save_config())["learner"]["learner_model_param"]["base_score"]
    assert len(set(json.loads(base_scores))) == 3
    return case_of(booster, rows, background=rows[:50])


def _quietly(kind: Callable[..., Any], **params: Any) -> Any:
    """Make a wrapper; those of forests are deprecated, and used all the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return kind(**params)


def _fitted(kind: Callable[..., Any], seed: int) -> ModelCase:
    """Fit a wrapper with categories, missing=-999 and, unless a forest, early stopping."""
    rows = mixed_rows(seed)
    for name in ("amount", "years"):
        rows[name] = rows[name].mask(np.random.default_rng(seed).random(len(rows)) < 0.2, -999.0)
    scores = mixed_target(mixed_rows(seed)) + np.random.default_rng(seed + 1).normal(size=len(rows))
    target = scores if kind is xgb.XGBRegressor else pd.qcut(scores, 3, labels=False)
    stopping = {} if kind is xgb.XGBRFClassifier else {"early_stopping_rounds": 10, "learning_rate": 0.5}
    model = _quietly(
        kind, n_estimators=80, max_depth=4, missing=-999.0, enable_categorical=True, n_jobs=1, **stopping
    )
    groups: dict[str, Any] = {}
    if kind is xgb.XGBRanker:
        groups = {"qid": np.arange(800) // 10, "eval_qid": [np.arange(1200) // 10]}
    if stopping:
        model.fit(rows[:800], target[:800], eval_set=[(rows[800:], target[800:])], verbose=False, **groups)
        assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    else:
        model.fit(rows[:800], target[:800])
    return case_of(
        model,
        rows,
        rounds=model.best_iteration + 1 if stopping else 0,
        missing=-999.0,
        owner=lambda frame: model.predict(frame, output_margin=True),
        options=("--missing", "-999"),
        background=rows[:60],
    )


#: The trainer of each kind, given a seed.
MAKERS: Mapping[str, Callable[[int], ModelCase]] = {
    "early-stopping": _early_stopping,
    "early-stopping-dart": _early_stopping_dart,
    "early-stopping-classes": _early_stopping_classes,
    "early-stopping-forests": _early_stopping_forests,
    "forest": _forest,
    "missing-marker": _missing_marker,
    "missing-zero": _missing_zero,
    "missing-marker-among-labels": _missing_marker_among_labels,
    "categories-partition": lambda seed: _categories(seed, onehot=1),
    "categories-onehot": lambda seed: _categories(seed, onehot=100),
    "deep-dart": _deep_dart,
    "deep-expectiles": _deep_expectiles,
    "linear": _linear,
    "single-leaves": _single_leaves,
    "no-trees": _no_trees,
    "odd-names": _odd_names,
    "vector-leaves": _vector_leaves,
    "base-scores": _base_scores,
    "fitted-classifier": lambda seed: _fitted(xgb.XGBClassifier, seed),
    "fitted-regressor": lambda seed: _fitted(xgb.XGBRegressor, seed),
    "fitted-ranker": lambda seed: _fitted(xgb.XGBRanker, seed),
    "fitted-forest": lambda seed: _fitted(xgb.XGBRFClassifier, seed),
}


def too_few_names(seed: int = 1) -> Any:
    """Return a model of 5 features with 2 names, which XGBoost itself does not notice."""
    rows = np.random.default_rng(seed).normal(size=(200, 5)).astype(np.float32)
    booster = xgb.train(FEW, xgb.DMatrix(rows, rows[:, 0], nthread=1), 5)
    booster.feature_names = ["first", "second"]
    return booster
