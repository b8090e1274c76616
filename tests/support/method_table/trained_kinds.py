"""Small models of every XGBoost objective and booster kind, trained here."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.engines.lean_xgboost import import_xgboost

type Floats = NDArray[np.float32]

ROWS, FEATURES = 600, 14
ROUNDS = 3
SHALLOW, DEEP = 3, 12

#: The parameters of each kind of booster, by its name on the page.
BOOSTERS: Mapping[str, Mapping[str, Any]] = {
    "gbtree": {},
    "dart": {"booster": "dart", "rate_drop": 0.5, "one_drop": 1},
    "gblinear": {"booster": "gblinear", "updater": "coord_descent"},
    "vector leaf": {"multi_strategy": "multi_output_tree"},
    "forest": {"num_parallel_tree": 3, "subsample": 0.7, "colsample_bynode": 0.7},
}


class NotTrainedError(Exception):
    """XGBoost trains no such model; the message says why."""


@dataclass(frozen=True, slots=True)
class Kind:
    """An objective with its parameters, a booster kind of BOOSTERS, and the depth of its trees."""

    objective: str
    booster: str
    depth: int
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def row(self) -> str:
        """The objective's name on the page."""
        alphas: list[float] = next(
            (value for name, value in self.params.items() if name.endswith("_alpha")), []
        )
        return f"{self.objective}, {len(alphas)} alphas" if len(alphas) > 1 else self.objective


def objectives_of_xgboost() -> set[str]:
    """Return all objectives of this XGBoost: it names them where it is asked for another."""
    xgboost = import_xgboost()
    try:
        xgboost.train({"objective": "reg:none"}, xgboost.DMatrix(np.zeros((2, 1)), np.zeros(2)), 1)
    except xgboost.core.XGBoostError as error:
        return set(re.findall(r"candidate: (\S+)", str(error)))
    raise AssertionError("XGBoost has an objective reg:none")


def every_kind() -> list[Kind]:
    """Return every combination; a linear model has no depth, and is there once."""
    objectives: list[tuple[str, dict[str, Any]]] = []
    for objective in sorted(objectives_of_xgboost()):
        if objective in {"reg:quantileerror", "reg:expectileerror"}:
            name = objective.removeprefix("reg:").removesuffix("error") + "_alpha"
            objectives += [(objective, {name: [0.5]}), (objective, {name: [0.1, 0.5, 0.9]})]
        else:
            objectives.append((objective, {"num_class": 3} if objective.startswith("multi:") else {}))
    return [
        Kind(objective, booster, depth, params)
        for objective, params in objectives
        for booster in BOOSTERS
        for depth in ((SHALLOW,) if booster == "gblinear" else (SHALLOW, DEEP))
    ]


def rows_of(seed: int, count: int) -> Floats:
    """Return normally distributed rows, a tenth of the values missing."""
    chance = np.random.default_rng(seed)
    rows = chance.normal(size=(count, FEATURES)).astype(np.float32)
    rows[chance.random(rows.shape) < 0.1] = np.nan
    return rows


def train(kind: Kind) -> Any:
    """Return the booster. Raises NotTrainedError with XGBoost's reason."""
    xgboost = import_xgboost()
    params = {"objective": kind.objective, "max_depth": kind.depth, "eta": 0.4, "min_child_weight": 0}
    params |= {
        "nthread": 1,
        "seed": 1,
        "verbosity": 0,
        "lambda": 0.1,
        **kind.params,
        **BOOSTERS[kind.booster],
    }
    if kind.booster == "gblinear":
        del params["max_depth"], params["min_child_weight"], params["lambda"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that dart has another name now
            booster = xgboost.train(params, _data(kind), ROUNDS)
    except (xgboost.core.XGBoostError, ValueError) as error:
        said = str(error).strip().splitlines()
        raise NotTrainedError(re.sub(r"^\[[\d:]+\] \S+:\d+: ", "", said[0])) from error
    if kind.booster == "vector leaf" and not re.search(r'"size_leaf_vector":\s*"?([2-9])', _model(booster)):
        raise NotTrainedError("XGBoost grows trees without vectors for a single output")
    return booster


def _model(booster: Any) -> str:
    return bytes(booster.save_raw("json")).decode()


def _data(kind: Kind) -> Any:
    """Return rows with the objective's labels; two of each for vector leaves."""
    xgboost = import_xgboost()
    rows = rows_of(1, ROWS)
    filled = np.nan_to_num(rows).astype(np.float64)
    score = filled @ np.linspace(1, -1, FEATURES) + filled[:, 0] * filled[:, 1]
    scores = [score, filled[:, 2] - score * 0.5] if kind.booster == "vector leaf" else [score]
    labels = [_labels(kind.objective, one) for one in scores]
    if kind.objective.startswith("multi:"):
        del labels[1:]
    data = xgboost.DMatrix(rows, labels[0] if len(labels) == 1 else np.column_stack(labels), nthread=1)
    if kind.objective.startswith("rank:"):
        data.set_info(qid=np.arange(ROWS) // 20)
    elif kind.objective == "survival:aft":
        data.set_float_info("label_lower_bound", labels[0])
        data.set_float_info("label_upper_bound", np.where(score > 1, np.inf, labels[0]))
    return data


def _labels(objective: str, score: NDArray[np.float64]) -> NDArray[np.float64]:
    positive = np.exp(score / 4)
    labels = score
    if objective.startswith("binary:") or objective == "rank:map":
        labels = (score > 0).astype(np.float64)
    elif objective.startswith(("multi:", "rank:")):
        labels = np.digitize(score, np.quantile(score, [0.33, 0.67])).astype(np.float64)
    elif objective == "reg:logistic":
        labels = 1 / (1 + np.exp(-score))
    elif objective == "count:poisson":
        labels = np.round(positive)
    elif objective in {"reg:gamma", "reg:tweedie", "reg:squaredlogerror", "survival:aft"}:
        labels = positive
    elif objective == "survival:cox":
        labels = positive * np.where(score > 1, -1, 1)  # below 0: censored
    return labels
