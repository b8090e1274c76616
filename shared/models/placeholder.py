"""Placeholder models, which replace models that cannot be used and explain nothing.

A placeholder is a real, tiny XGBoost model with the features and outputs of the model that it replaces, as far as
that model's manifest can be read. Its trees have one leaf of 0, so every SHAP value is 0. Its manifest says
`fallback: true`, which every response passes on.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.engines.lean_xgboost import THREADS, import_xgboost
from shared.errors import ModelFaultError
from shared.models.contract import MANIFEST_FILE, Contract, Feature, Kind, Trees, is_model_folder, link_of
from shared.models.manifest_reader import read_contract
from shared.models.store import ModelDraft, write_model_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from shared.models.catalog import ModelFault
    from shared.models.version import ModelVersion

#: Features, output and objective of a placeholder for a model whose manifest cannot be read.
GENERIC_FEATURES = ("f0", "f1", "f2", "f3")
GENERIC_OUTPUTS = ("output",)
GENERIC_OBJECTIVE = "reg:squarederror"

#: Rows of zeros in a placeholder's background and examples.
_ROWS = 4


def write_placeholder(models_dir: Path, placeholders_dir: Path, name: str, version: int) -> ModelVersion:
    """Write `placeholders_dir/NAME/VERSION` for the model `models_dir/NAME/VERSION`.

    An older one is replaced. Raises ModelFaultError for an invalid name or version, OSError if the disk refuses.
    """
    known = _readable_manifest(models_dir / name / str(version) / MANIFEST_FILE)
    contract = known or _generic_contract()
    objective, model = _train(contract)
    contract = replace(
        contract,
        name=name,
        version=version,
        objective=objective,
        library_version=str(import_xgboost().__version__),
        trees=Trees(1, 1),
        # prose: allow "stand-in": a key of stored manifests
        training={"stand_in_for": f"{name}@{version}", "manifest_read": known is not None},
        fallback=True,
    )
    # 0 is the code of every category's first label.
    zeros = np.zeros((_ROWS, len(contract.features)), dtype=np.float32)
    draft = ModelDraft(contract, model, background=zeros, examples=zeros)
    return write_model_folder(placeholders_dir, draft, replace=True)


def _generic_contract() -> Contract:
    return Contract(
        name="unknown",
        version=1,
        sha256="",
        features=tuple(map(Feature, GENERIC_FEATURES)),
        outputs=GENERIC_OUTPUTS,
        objective=GENERIC_OBJECTIVE,
        link=link_of(GENERIC_OBJECTIVE),
        library_version="",
        training={},
    )


def write_placeholders(
    models_dir: Path, placeholders_dir: Path, faults: Iterable[ModelFault]
) -> list[ModelVersion]:
    """Remove all old placeholders and write one for each faulty model.

    Faults of other folders (no models at all, an invalid name) get none. Raises OSError if the disk refuses.
    """
    if placeholders_dir.exists():  # those of an earlier start would hide models that were repaired since
        shutil.rmtree(placeholders_dir)
    broken = dict.fromkeys(fault.folder for fault in faults if is_model_folder(fault.folder))
    return [
        write_placeholder(models_dir, placeholders_dir, folder.parent.name, int(folder.name))
        for folder in broken
        if folder.parent.parent == models_dir
    ]


def _readable_manifest(source: Path) -> Contract | None:
    try:
        return read_contract(source.read_bytes(), source)
    except (OSError, ModelFaultError):
        return None


def _train(contract: Contract) -> tuple[str, bytes]:
    """Train one round on zeros; return the objective that allowed it, and the model in UBJSON."""
    xgboost = import_xgboost()
    types = ["c" if feature.kind is Kind.CATEGORY else "float" for feature in contract.features]
    outputs = len(contract.outputs)
    with suppress(xgboost.core.XGBoostError, ValueError):  # some objectives cannot be trained on a constant
        booster = _train_on_zeros(types, outputs, contract.objective)
        if _outputs_of(booster, types) == outputs:
            return contract.objective, bytes(booster.save_raw("ubj"))
    booster = _train_on_zeros(types, outputs, GENERIC_OBJECTIVE)
    return GENERIC_OBJECTIVE, bytes(booster.save_raw("ubj"))


def _train_on_zeros(types: list[str], outputs: int, objective: str) -> Any:
    xgboost = import_xgboost()
    params = {"objective": objective, "nthread": THREADS, "max_depth": 1, "eta": 0.0, "base_score": 0.5}
    rows = max(_ROWS, outputs)
    labels = np.full((rows, outputs) if outputs > 1 else rows, 0.5, dtype=np.float32)
    if objective.startswith("multi:"):
        params["num_class"] = outputs
        labels = np.arange(rows, dtype=np.float32) % outputs
    matrix = xgboost.DMatrix(
        np.zeros((rows, len(types)), dtype=np.float32), labels, feature_types=types, nthread=THREADS
    )
    return xgboost.train({**params, "verbosity": 0}, matrix, num_boost_round=1)


def _outputs_of(booster: Any, types: list[str]) -> int:
    row = import_xgboost().DMatrix(
        np.zeros((1, len(types)), dtype=np.float32), feature_types=types, nthread=THREADS
    )
    return int(np.atleast_2d(booster.predict(row, output_margin=True)).shape[1])
