"""Models to explain: trained ones, and documents that no training would give."""

import copy
import json
import warnings
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.engines.lean_xgboost import import_xgboost

type Floats = NDArray[np.float32]


def rows_of(seed: int, rows: int, features: int, missing: float = 0.1) -> Floats:
    chance = np.random.default_rng(seed)
    x = chance.normal(size=(rows, features)).astype(np.float32)
    x[chance.random(x.shape) < missing] = np.nan
    return x


def train(depth: int, trees: int, features: int, seed: int = 0, **params: Any) -> tuple[Any, Floats]:
    """A booster and the rows that it was trained on."""
    chance = np.random.default_rng(seed)
    x = rows_of(seed, 600, features)
    filled = np.nan_to_num(x)
    y = filled @ chance.normal(size=features) + filled[:, 0] * filled[:, -1]
    if targets := params.pop("targets", 0):
        y = np.column_stack([y + filled[:, i] for i in range(targets)])
    kinds = None
    if categories := params.pop("categories", 0):
        x[:, 0] = chance.integers(0, categories, len(x))
        x[:10, 0] = np.nan
        y = y + np.nan_to_num(x[:, 0]) % 3 * 2
        kinds = ["c", *"q" * (features - 1)]
    if classes := params.get("num_class"):
        y = np.digitize(y, np.quantile(y, np.linspace(0, 1, classes + 1)[1:-1]))
    xgboost = import_xgboost()
    data = xgboost.DMatrix(x, y, nthread=1, feature_types=kinds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that dart has another name now
        booster = xgboost.train(
            {"max_depth": depth, "nthread": 1, "seed": seed, "verbosity": 0, **params}, data, trees
        )
    return booster, x


def contributions(booster: Any, rows: Floats) -> Floats:
    return _predicted(booster, rows, "pred_contribs").reshape(len(rows), -1, rows.shape[1] + 1)


def interactions(booster: Any, rows: Floats) -> Floats:
    columns = rows.shape[1] + 1
    return _predicted(booster, rows, "pred_interactions").reshape(len(rows), -1, columns, columns)


def margins(booster: Any, rows: Floats) -> Floats:
    return _predicted(booster, rows, "output_margin").reshape(len(rows), -1)


def _predicted(booster: Any, rows: Floats, what: str) -> Floats:
    data = import_xgboost().DMatrix(rows, nthread=1)
    return np.asarray(booster.predict(data, validate_features=False, **{what: True}), np.float32)


@cache
def _template(features: int) -> str:
    booster, _ = train(1, 1, features)
    return bytes(booster.save_raw("json")).decode()


def load(document: Any) -> Any:
    xgboost = import_xgboost()
    return xgboost.Booster({"nthread": 1}, model_file=bytearray(json.dumps(document).encode()))


def document_with(trees: list[Any], features: int) -> Any:
    """A regression's document with these trees and the margin beginning at a half."""
    document = json.loads(_template(features))
    document["learner"]["learner_model_param"]["base_score"] = "[5E-1]"
    model = document["learner"]["gradient_booster"]["model"]
    model["trees"] = [{**tree, "id": i} for i, tree in enumerate(trees)]
    model["tree_info"] = [0] * len(trees)
    model["iteration_indptr"] = list(range(len(trees) + 1))
    model["gbtree_model_param"]["num_trees"] = str(len(trees))
    return document


def tree_document(
    splits: dict[int, tuple[int, float, bool]],
    leaves: dict[int, float],
    covers: dict[int, float],
    features: int,
) -> Any:
    """A complete tree in XGBoost's format: node N has the children 2 N + 1 and 2 N + 2."""
    old = sorted([*splits, *leaves])
    new = {node: at for at, node in enumerate(old)}
    parents = [2147483647 if node == 0 else new[(node - 1) // 2] for node in old]
    tree = copy.deepcopy(json.loads(_template(features))["learner"]["gradient_booster"]["model"]["trees"][0])
    tree |= {
        "left_children": [new[2 * node + 1] if node in splits else -1 for node in old],
        "right_children": [new[2 * node + 2] if node in splits else -1 for node in old],
        "parents": parents,
        "split_indices": [splits[node][0] if node in splits else 0 for node in old],
        "split_conditions": [splits[node][1] if node in splits else leaves[node] for node in old],
        "default_left": [int(splits[node][2]) if node in splits else 0 for node in old],
        "sum_hessian": [covers[node] for node in old],
        "split_type": [0] * len(old),
        "loss_changes": [0.0] * len(old),
        "base_weights": [0.0] * len(old),
    }
    tree["tree_param"]["num_nodes"] = str(len(old))
    return tree
