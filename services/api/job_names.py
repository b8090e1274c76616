"""What a job's columns and outputs are called."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import ModelNotFoundError
from shared.jobs.document import Job
from shared.models.catalog import ModelCatalog


@dataclass(frozen=True, slots=True)
class JobNames:
    """The features' names in their order, and the outputs'."""

    features: Sequence[str]
    outputs: Sequence[str]

    @classmethod
    def of(cls, job: Job, catalog: ModelCatalog) -> JobNames:
        """Take the names of the job's model; XGBoost's f0, f1, … if the model is gone."""
        with contextlib.suppress(ModelNotFoundError):
            model = catalog.get(job.model)
            if (len(model.features), len(model.outputs)) == (job.features, job.outputs):
                return cls(model.features, model.outputs)
        features = tuple(f"f{place}" for place in range(job.features))
        return cls(features, tuple(f"output_{place}" for place in range(job.outputs)))
