"""The slow model of the proof: a batch of 500 rows takes a core half a second."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from ops.models.importing import add_model
from ops.models.options import ImportOptions
from shared.build import ROOT
from shared.engines.lean_xgboost import import_xgboost
from shared.models.version import ModelVersion

#: The trees, their depth, and the features.
TREES, DEPTH, FEATURES = 500, 6, 30
#: Rows that it is trained on, and of these the examples that are kept beside it.
TRAINING_ROWS, EXAMPLES = 4000, 200
#: The container's user reads the models.
FOLDER_MODE, FILE_MODE = 0o755, 0o644


def models_with_slow_one(folder: Path) -> tuple[Path, ModelVersion]:
    """Write the shipped models and the slow one below `folder`; return both folders."""
    models = folder / "models"
    shutil.copytree(ROOT / "models", models, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    model, examples = _train(folder)
    version = add_model(models, ImportOptions("slow", model, examples=examples, examples_rows=EXAMPLES))
    for path in (folder, *folder.rglob("*")):
        path.chmod(FOLDER_MODE if path.is_dir() else FILE_MODE)
    return models, version


def _train(folder: Path) -> tuple[Path, Path]:
    xgboost = import_xgboost()
    generator = np.random.default_rng(4)
    rows = generator.normal(size=(TRAINING_ROWS, FEATURES)).astype(np.float32)
    target = rows[:, 0] * rows[:, 1] + np.sin(3 * rows[:, 2]) + generator.normal(size=TRAINING_ROWS)
    parameters = {"max_depth": DEPTH, "eta": 0.05, "nthread": 1}
    booster = xgboost.train(parameters, xgboost.DMatrix(rows, target), TREES)
    model, examples = folder / "slow.ubj", folder / "examples.csv"
    booster.save_model(model)
    names = ",".join(f"f{number}" for number in range(FEATURES))
    np.savetxt(examples, rows[:EXAMPLES], delimiter=",", header=names, comments="")
    return model, examples
