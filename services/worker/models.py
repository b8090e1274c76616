"""The models that a worker keeps loaded; the least recently used is dropped first."""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class WarmModel:
    """A model and its engines, made at their first use where they need XGBoost."""

    version: ModelVersion
    compiled: CompiledEngine | None = None
    #: The folder of compiled models; without it XGBoost and shap explain everything.
    compiled_dir: Path | None = None
    _predictor: XGBoostEngine | None = field(default=None, init=False)
    _interventional: CompiledEngine | ShapEngine | None = field(default=None, init=False)
    _needs_shap: bool = field(default=False, init=False)

    @property
    def predictor(self) -> XGBoostEngine:
        """The model in XGBoost. Raises ModelFaultError if it cannot be loaded."""
        if self._predictor is None:
            self._predictor = XGBoostEngine.load(self.version)
        return self._predictor

    def engine(self, method: Method) -> Engine:
        """Return the engine of a method. Raises EngineError if the model cannot be explained by it."""
        record = self.version.method_record(method)
        if record.engine is None:
            raise EngineError(f"{self.version.id} cannot be explained by {method}: {record.reason}.")
        if method is Method.TREE_PATH_DEPENDENT:
            return self.compiled or self.predictor
        if self._interventional is None:
            self._interventional = self._compiled_against_background() or self._load_shap()
        return self._interventional

    @property
    def interaction_engine(self) -> InteractionEngine:
        """The engine of interactions. Raises EngineError if there is none, or ModelFaultError."""
        record = self.version.method_record(ExplanationKind.INTERACTIONS)
        if record.engine is None:
            raise EngineError(f"{self.version.id} has no interactions: {record.reason}.")
        if self.compiled is not None and record.engine != XGBOOST and self.compiled.pairs is not None:
            return self.compiled
        return self.predictor

    def uses_shap(self, method: Method) -> bool:
        """Return whether the method's engine needs shap, or needed it when it could not be made."""
        return method is Method.INTERVENTIONAL and self._needs_shap

    def _compiled_against_background(self) -> CompiledEngine | None:
        if self.compiled_dir is None or self._needs_shap:
            return None
        return CompiledEngine.find(self.version, self.compiled_dir, Method.INTERVENTIONAL)

    def _load_shap(self) -> ShapEngine:
        path = self.version.background_path
        if path is None:
            raise EngineError(
                f"{self.version.id} has no background rows, which {Method.INTERVENTIONAL} values need."
            )
        self._needs_shap = True
        background = np.load(path, allow_pickle=False).astype(np.float32, copy=False)
        return ShapEngine(self.predictor, background, len(self.version.outputs))


class WarmModels:
    """Loads a model at its first batch. For one thread."""

    def __init__(self, catalog: ModelCatalog, compiled_dir: Path | None = None) -> None:
        """Without `compiled_dir` XGBoost and shap explain everything."""
        self._catalog = catalog
        self._compiled_dir = compiled_dir
        self._warm: OrderedDict[str, WarmModel] = OrderedDict()

    def get(self, model_id: str) -> WarmModel:
        """Return a loaded model by NAME@VERSION. Raises ModelNotFoundError, ModelFaultError."""
        if model_id not in self._warm:
            self._warm[model_id] = self._load(self._catalog.get(model_id))
            if len(self._warm) > MOST_WARM:
                self._warm.popitem(last=False)
        self._warm.move_to_end(model_id)
        return self._warm[model_id]

    def _load(self, version: ModelVersion) -> WarmModel:
        # XGBoost can crash on a damaged file, and boot does not notice later damage.
        if faults := faults_in(version.folder):
            raise ModelFaultError(str(faults[0]))
        compiled = None
        if self._compiled_dir:
            compiled = CompiledEngine.find(version, self._compiled_dir)
        model = WarmModel(version, compiled, self._compiled_dir)
        if compiled is None:
            _ = model.predictor  # now, not during a batch
        return model

    def warm_up(self) -> None:
        """Load the newest ready versions, up to MOST_WARM, and explain one row with each.

        A model that was damaged after boot fails only its own jobs.
        """
        for version in self._catalog.latest()[:MOST_WARM]:
            row = np.full((1, len(version.features)), np.nan, dtype=np.float32)
            try:
                self.get(version.id).engine(Method.TREE_PATH_DEPENDENT).explain(row)
            except (ModelFaultError, EngineError, MemoryError) as fault:
                logger.error("model not loaded", extra={"model": version.id, "cause": str(fault)})  # noqa: TRY400  # the message says all
