"""What a job's columns and outputs are called, and what their values are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import ModelNotFoundError, ModelRefusedError
from shared.jobs.document import Job
from shared.models.catalog import ModelCatalog
from shared.models.contract import Contract, Feature


@dataclass(frozen=True, slots=True)
class JobNames:
    """The columns in their order, and the outputs' names."""

    columns: Sequence[Feature]
    outputs: Sequence[str]

    @property
    def features(self) -> tuple[str, ...]:
        """The features' names, in their order."""
        return tuple(column.name for column in self.columns)

    @classmethod
    def of(cls, job: Job, catalog: ModelCatalog) -> JobNames:
        """Take the names of the job's model, also if it was refused since; XGBoost's f0, f1, … if it is gone."""
        contract = _contract(job.model, catalog)
        if contract is not None and (len(contract.features), len(contract.outputs)) == (
            job.features,
            job.outputs,
        ):
            return cls(contract.features, contract.outputs)
        columns = tuple(Feature(f"f{place}") for place in range(job.features))
        return cls(columns, tuple(f"output_{place}" for place in range(job.outputs)))


def _contract(model: str, catalog: ModelCatalog) -> Contract | None:
    try:
        return catalog.get(model).contract
    except ModelRefusedError:
        refused = catalog.find_refused(model)
        return None if refused is None else refused.contract
    except ModelNotFoundError:
        return None
