"""Compiles boosters for shared/treeshap."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from shared.engines.lean_xgboost import THREADS, import_xgboost
from shared.treeshap.compiled import Compiled
from shared.treeshap.compiler import compile_forest
from shared.treeshap.forest import Forest, NotCoveredError, read_forest


def compile_booster(booster: Any) -> Compiled:
    """Compile a loaded booster. Raises NotCoveredError with the reason why it cannot be."""
    forest = read_forest(bytes(booster.save_raw("ubj")))
    return compile_forest(forest, start_margins(booster, forest))


def start_margins(booster: Any, forest: Forest) -> NDArray[np.float32]:
    """Return the margins before the first tree: those of the first round with all leaves 0.

    Raises NotCoveredError if XGBoost cannot predict them.
    """
    xgboost = import_xgboost()
    first = booster[:1] if booster.num_boosted_rounds() > 1 else booster
    empty = orjson.loads(bytes(first.save_raw("json")))
    model = empty["learner"]["gradient_booster"]
    for tree in model.get("gbtree", model)["model"]["trees"]:
        leaves = np.array(tree["left_children"]) < 0
        tree["split_conditions"] = np.where(leaves, 0.0, tree["split_conditions"]).tolist()
        for name in ("base_weights", "leaf_weights"):
            if name in tree:
                tree[name] = [0.0] * len(tree[name])
    row = xgboost.DMatrix(np.zeros((1, forest.features), dtype=np.float32), nthread=THREADS)
    try:
        without_leaves = xgboost.Booster({"nthread": THREADS}, model_file=bytearray(orjson.dumps(empty)))
        margins = without_leaves.predict(row, output_margin=True, validate_features=False)
    except (xgboost.core.XGBoostError, TypeError, ValueError) as error:
        raise NotCoveredError("XGBoost does not tell where its margins begin") from error
    return np.asarray(margins, dtype=np.float32).reshape(-1)
