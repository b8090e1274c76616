"""A model beyond the limits is refused and affects no other: real models, real children."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ops.run.data_dir import make_folders
from ops.run.model_activation import activate_models
from shared.engines.lean_xgboost import import_xgboost
from shared.errors import ModelRefusedError
from shared.models.activation.records import ExplanationKind, State
from shared.models.catalog import ModelCatalog
from shared.settings import Settings
from tests.support.activated import add_model

#: The large one is between the others in the order of names.
LARGE, SMALL = "b-large", ("a-small", "c-small")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    xgboost = import_xgboost()
    x = np.random.default_rng(1).uniform(size=(4000, 10)).astype(np.float32)
    matrix = xgboost.DMatrix(x, x.sum(axis=1), nthread=1)
    for name in (*SMALL, LARGE):
        trees, depth = (1500, 8) if name == LARGE else (20, 4)
        params = {"max_depth": depth, "eta": 0.01, "min_child_weight": 0, "max_bin": 64, "nthread": 1}
        add_model(folder, xgboost.train(params, matrix, trees), name)
    return folder


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"activation_memory_mb": 64}, "needs more than 64 MB of memory (ACTIVATION_MEMORY_MB)"),
        ({"activation_seconds": 3}, "did not end within 3 s of processor time (ACTIVATION_SECONDS)"),
    ],
    ids=["memory", "time"],
)
def test_a_model_beyond_a_limit_is_refused_by_name_and_the_others_are_ready(
    models: Path, tmp_path: Path, limits: dict[str, Any], said: str
) -> None:
    settings = replace(Settings(), data_dir=tmp_path, models_dir=models, **limits)
    make_folders(settings)
    activations = activate_models(settings, [])
    refused = activations.versions[f"{LARGE}@1"]
    assert refused.state is State.REFUSED
    assert said in (refused.reason or "")
    for name in SMALL:
        record = activations.versions[f"{name}@1"]
        assert record.state is State.READY, record.reason
        assert record.methods[ExplanationKind.INTERACTIONS].engine is not None
    catalog = ModelCatalog.load(models, activations=activations)
    assert [version.name for version in catalog.latest()] == list(SMALL)
    with pytest.raises(ModelRefusedError, match=LARGE):
        catalog.get(LARGE)
    assert activate_models(settings, []) == activations  # known, and not tried again
