"""A large model that a 475 MB appliance compiles, with interactions, within its default limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.engines.lean_xgboost import import_xgboost
from shared.models.activation.activate import Limits, activate_version
from shared.models.activation.records import ExplanationKind, State, is_compiled
from shared.models.contract import Contract, Feature, Trees
from shared.models.store import ModelDraft, write_model_folder
from shared.settings import Settings
from shared.treeshap.library import find_library

FEATURES, TREES, DEPTH = 10, 2500, 6

pytestmark = pytest.mark.skipif(find_library() is None, reason="the kernels are not built: no C compiler")


def train() -> bytes:
    """Return a model in UBJSON. A sum splits every node in the middle, so that its trees are full."""
    xgboost = import_xgboost()
    x = np.random.default_rng(1).uniform(size=(10_000, FEATURES)).astype(np.float32)
    params = {"max_depth": DEPTH, "eta": 0.003, "min_child_weight": 0, "max_bin": 64, "nthread": 1}
    booster = xgboost.train(params, xgboost.DMatrix(x, x.sum(axis=1), nthread=1), TREES)
    leaves = sum(tree.count("leaf=") for tree in booster.get_dump())
    assert leaves > 0.75 * 2**DEPTH * TREES
    return bytes(booster.save_raw("ubj"))


def test_a_large_model_is_compiled_with_interactions(tmp_path: Path) -> None:
    contract = Contract(
        name="large",
        version=1,
        sha256="",
        features=tuple(Feature(f"f{place}") for place in range(FEATURES)),
        outputs=("y",),
        objective="reg:squarederror",
        library_version=str(import_xgboost().__version__),
        training={},
        trees=Trees(TREES, TREES),
    )
    background = np.random.default_rng(2).uniform(size=(50, FEATURES)).astype(np.float32)
    version = write_model_folder(tmp_path, ModelDraft(contract, train(), background))
    settings = Settings()
    limits = Limits(settings.activation_growth_mb, settings.activation_seconds)
    record = activate_version(version, tmp_path, limits, "key")
    assert record.state is State.READY, record.reason
    for explanation in (ExplanationKind.TREE_PATH_DEPENDENT, ExplanationKind.INTERACTIONS):
        assert is_compiled(record.methods[explanation]), record.methods[explanation].reason
    # Its tables against a background are too large. Without a record, shap would be offered unverified.
    assert ExplanationKind.INTERVENTIONAL in record.methods
