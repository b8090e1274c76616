"""Models that a 475 MB appliance compiles, with interactions, within its default limits."""

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

FEATURES = 10

pytestmark = pytest.mark.skipif(find_library() is None, reason="the kernels are not built: no C compiler")


def train(trees: int, depth: int) -> tuple[bytes, float]:
    """Return a model in UBJSON and its leaves per tree.

    A sum splits every node in the middle, so that trees are full.
    """
    xgboost = import_xgboost()
    x = np.random.default_rng(1).uniform(size=(10_000, FEATURES)).astype(np.float32)
    params = {"max_depth": depth, "eta": 0.003, "min_child_weight": 0, "max_bin": 64, "nthread": 1}
    booster = xgboost.train(params, xgboost.DMatrix(x, x.sum(axis=1), nthread=1), trees)
    leaves = sum(tree.count("leaf=") for tree in booster.get_dump())
    return bytes(booster.save_raw("ubj")), leaves / trees


@pytest.mark.parametrize(("trees", "depth"), [(1500, 8), (5000, 6)])
def test_a_large_model_is_compiled_with_interactions(trees: int, depth: int, tmp_path: Path) -> None:
    model, leaves = train(trees, depth)
    assert leaves > 0.75 * 2**depth
    contract = Contract(
        name="large",
        version=1,
        sha256="",
        features=tuple(Feature(f"f{place}") for place in range(FEATURES)),
        outputs=("y",),
        objective="reg:squarederror",
        library_version=str(import_xgboost().__version__),
        training={},
        trees=Trees(trees, trees),
    )
    background = np.random.default_rng(2).uniform(size=(50, FEATURES)).astype(np.float32)
    version = write_model_folder(tmp_path, ModelDraft(contract, model, background))
    settings = Settings()
    limits = Limits(settings.activation_growth_mb, settings.activation_seconds)
    record = activate_version(version, tmp_path, limits, "key")
    assert record.state is State.READY, record.reason
    for explanation in (ExplanationKind.TREE_PATH_DEPENDENT, ExplanationKind.INTERACTIONS):
        assert is_compiled(record.methods[explanation]), record.methods[explanation].reason
    # Its tables against a background are too large. Without a record, shap would be offered unverified.
    assert ExplanationKind.INTERVENTIONAL in record.methods
    assert record.seconds < settings.activation_seconds / 2  # a slow machine has the other half
