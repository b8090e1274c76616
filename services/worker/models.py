"""The models that a worker keeps loaded; the least recently used is dropped first."""

from __future__ import annotations

import functools
import logging
from pathlib import Path

import numpy as np

from shared.engines.compiled_engine import CompiledEngine
from shared.engines.engine import Engine, InteractionEngine
from shared.engines.shap_engine import ShapEngine
from shared.engines.xgboost_engine import XGBoostEngine
from shared.errors import EngineError, ModelFaultError
from shared.jobs.document import Method
from shared.models.activation.records import XGBOOST, ExplanationKind
from shared.models.catalog import ModelCatalog, faults_in
from shared.models.version import ModelVersion

logger = logging.getLogger(__name__)

#: How many models stay loaded.
MOST_WARM = 8


class WarmModel:
    """A model and its engines, made at their first use where they need XGBoost."""

    def __init__(self, version: ModelVersion, compiled_dir: Path | None) -> None:
        """Load the model. Raises ModelFaultError if XGBoost is needed and cannot load it."""
        self.version = version
        self._compiled_dir = compiled_dir
        self._compiled = CompiledEngine.find(version, compiled_dir) if compiled_dir else None
        if self._compiled is None:
            _ = self.predictor  # now, not during a batch

    @functools.cached_property
    def predictor(self) -> XGBoostEngine:
        """The model in XGBoost. Raises ModelFaultError if it cannot be loaded."""
        return XGBoostEngine.load(self.version)

    def engine(self, method: Method) -> Engine:
        """Return the engine of a method. Raises EngineError if the model cannot be explained by it."""
        record = self.version.method_record(method)
        if record.engine is None:
            raise EngineError(f"{self.version.id} cannot be explained by {method}: {record.reason}.")
        if method is Method.INTERVENTIONAL:
            return self._interventional
        return self._compiled or self.predictor

    @property
    def interaction_engine(self) -> InteractionEngine:
        """The engine of interactions. Raises EngineError if there is none, or ModelFaultError."""
        record = self.version.method_record(ExplanationKind.INTERACTIONS)
        if record.engine is None:
            raise EngineError(f"{self.version.id} has no interactions: {record.reason}.")
        compiled = self._compiled
        covered = compiled is not None and record.engine != XGBOOST and compiled.pairs is not None
        return compiled if compiled is not None and covered else self.predictor

    @functools.cached_property
    def _interventional(self) -> Engine:
        if self._compiled_dir is not None:
            compiled = CompiledEngine.find(self.version, self._compiled_dir, Method.INTERVENTIONAL)
            if compiled is not None:
                return compiled
        path = self.version.background_path
        if path is None:
            raise EngineError(
                f"{self.version.id} has no background rows, which {Method.INTERVENTIONAL} values need."
            )
        background = np.load(path, allow_pickle=False).astype(np.float32, copy=False)
        return ShapEngine(self.predictor, background, len(self.version.outputs))


class WarmModels:
    """Loads a model at its first batch. For one thread."""

    def __init__(self, catalog: ModelCatalog, compiled_dir: Path | None = None) -> None:
        """Without `compiled_dir` XGBoost and shap explain everything."""
        self._catalog = catalog
        self._compiled_dir = compiled_dir
        #: Returns a loaded model by NAME@VERSION. Raises ModelNotFoundError, ModelFaultError.
        self.get = functools.lru_cache(MOST_WARM)(self._load)

    def _load(self, model_id: str) -> WarmModel:
        version = self._catalog.get(model_id)
        # XGBoost can crash on a damaged file, and boot does not notice later damage.
        if faults := faults_in(version.folder):
            raise ModelFaultError(str(faults[0]))
        return WarmModel(version, self._compiled_dir)

    def warm_up(self) -> None:
        """Load the newest ready versions, up to MOST_WARM, and explain one row with each.

        A model that was damaged after boot fails only its own jobs.
        """
        for version in self._catalog.latest()[:MOST_WARM]:
            row = np.full((1, len(version.features)), np.nan, dtype=np.float32)
            try:
                self.get(version.id).engine(Method.TREE_PATH_DEPENDENT).explain(row)
            except (ModelFaultError, EngineError, MemoryError) as fault:
                extra = {"model": version.id, "cause": str(fault)}
                logger.error("model not loaded", extra=extra)  # noqa: TRY400  # the cause is enough
