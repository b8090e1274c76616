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
from shared.models.contract import Contract, Feature, Trees
from shared.models.store import ModelDraft, write_model_folder
from shared.settings import Settings

SMALL = tuple(f"small-{number}" for number in range(8))
#: Between the others in the order of names, so that some come before it and some after.
LARGE = "small-4-large"


def train(trees: int, depth: int) -> bytes:
    xgboost = import_xgboost()
    x = np.random.default_rng(1).uniform(size=(4000, 10)).astype(np.float32)
    params = {"max_depth": depth, "eta": 0.01, "min_child_weight": 0, "max_bin": 64, "nthread": 1}
    booster = xgboost.train(params, xgboost.DMatrix(x, x.sum(axis=1), nthread=1), trees)
    return bytes(booster.save_raw("ubj"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    small, large = train(20, 4), train(1500, 8)
    for name in (*SMALL, LARGE):
        trees = 1500 if name == LARGE else 20
        contract = Contract(
            name=name,
            version=1,
            sha256="",
            features=tuple(Feature(f"f{place}") for place in range(10)),
            outputs=("y",),
            objective="reg:squarederror",
            library_version=str(import_xgboost().__version__),
            training={},
            trees=Trees(trees, trees),
        )
        write_model_folder(folder, ModelDraft(contract, large if name == LARGE else small))
    return folder


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"activation_memory_mb": 64}, "needs more than 64 MB of memory (ACTIVATION_MEMORY_MB)"),
        ({"activation_seconds": 3}, "did not end within 3 s of processor time (ACTIVATION_SECONDS)"),
    ],
    ids=["memory", "time"],
)
def test_a_model_beyond_a_limit_is_refused_by_name_and_eight_others_are_ready(
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
