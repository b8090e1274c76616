"""The demo's rows: the model's own examples, repeated until there are enough."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ops.lab.demo.failure import DemoError
from ops.lab.reference import reference_contributions
from shared.errors import ShapboxError
from shared.models.activation.records import Activations
from shared.models.catalog import ModelCatalog
from shared.models.version import ModelVersion
from shared.settings import Settings


def find_model(settings: Settings, wanted: str, served: list[dict[str, object]]) -> ModelVersion:
    """Return our copy of the served model; raises DemoError if the two differ."""
    try:
        model = ModelCatalog.load(
            settings.models_dir, settings.placeholders_dir, Activations.read(settings.activations_file)
        ).get(wanted)
    except ShapboxError as error:
        raise DemoError(str(error)) from error
    if model.examples_path is None:
        raise DemoError(f"{model.id} has no example rows: choose another one with --model.")
    theirs = [one["sha256"] for one in served if f"{one['name']}@{one['version']}" == model.id]
    if model.contract.sha256 not in theirs:
        raise DemoError(f"The appliance does not serve the {model.id} that lies in {model.folder}.")
    return model


def examples(model: ModelVersion) -> NDArray[np.float32]:
    """Return the model's example rows, rows x features."""
    if model.examples_path is None:
        raise DemoError(f"{model.id} has no example rows.")
    return np.asarray(np.load(model.examples_path, allow_pickle=False), dtype=np.float32)


def repeated(rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return `count` rows, taken from `rows` round and round."""
    return np.ascontiguousarray(rows[np.arange(count) % len(rows)])


def reference(model: ModelVersion, rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return XGBoost's own values of what `repeated` gives, computing each different row once."""
    return repeated(reference_contributions(model.model_path, rows[:count], model.contract.trees), count)
