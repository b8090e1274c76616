"""A large model, compiled with interactions within the default limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.engines.lean_xgboost import import_xgboost
from shared.models.activation.activate import Limits, activate_version
from shared.models.activation.records import ExplanationKind, State, is_compiled
from shared.settings import Settings
from shared.treeshap.library import find_library
from tests.support.activated import add_model

FEATURES, TREES, DEPTH = 10, 2500, 6


@pytest.mark.skipif(find_library() is None, reason="the kernels are not built: no C compiler")
def test_a_large_model_is_compiled_with_interactions(tmp_path: Path) -> None:
    xgboost, settings = import_xgboost(), Settings()
    x = np.random.default_rng(1).uniform(size=(10_000, FEATURES)).astype(np.float32)
    params = {"max_depth": DEPTH, "eta": 0.003, "min_child_weight": 0, "max_bin": 64, "nthread": 1}
    # A sum splits every node in the middle, so that trees are full.
    booster = xgboost.train(params, xgboost.DMatrix(x, x.sum(axis=1), nthread=1), TREES)
    assert sum(tree.count("leaf=") for tree in booster.get_dump()) > 0.75 * 2**DEPTH * TREES
    version = add_model(tmp_path, booster, "large")
    limits = Limits(settings.activation_growth_mb, settings.activation_seconds)
    record = activate_version(version, tmp_path, limits, "key")
    assert record.state is State.READY, record.reason
    for explanation in (ExplanationKind.TREE_PATH_DEPENDENT, ExplanationKind.INTERACTIONS):
        assert is_compiled(record.methods[explanation]), record.methods[explanation].reason
