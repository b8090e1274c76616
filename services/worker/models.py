"""The models that a worker has loaded: kept warm between batches, the least used put away first."""

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
    """A model and its engines. All but the compiled ones need XGBoost, and are made when they are first asked for."""

    version: ModelVersion
    compiled: CompiledEngine | None = None
    #: Where compiled models are; without it XGBoost and shap explain everything.
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
        """The engine of interactions. Raises EngineError if the model has none, ModelFaultError if it cannot be loaded."""
        record = self.version.method_record(ExplanationKind.INTERACTIONS)
        if record.engine is None:
            raise EngineError(f"{self.version.id} has no interactions: {record.reason}.")
        if self.compiled is not None and record.engine != XGBOOST and self.compiled.pairs is not None:
            return self.compiled
        return self.predictor

    def uses_shap(self, method: Method) -> bool:
        """Tell whether shap is what the method's engine needs, or needed when it could not be made."""
        return method is Method.INTERVENTIONAL and self._needs_shap

    def _compiled_against_background(self) -> CompiledEngine | None:
        if self.compiled_dir is None or self._needs_shap:
            return None
        return CompiledEngine.find(self.version, self.compiled_dir, Method.INTERVENTIONAL)

    def _load_shap(self) -> ShapEngine:
        path = self.version.background_path
        if path is None:
            raise EngineError(
                f"{self.version.id} has no background data, which {Method.INTERVENTIONAL} is measured against."
            )
        self._needs_shap = True
        background = np.load(path, allow_pickle=False).astype(np.float32, copy=False)
        return ShapEngine(self.predictor, background, len(self.version.outputs))


class WarmModels:
    """Loads a model when its first batch comes. Used by one thread."""

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
        # XGBoost can crash on a damaged file, which boot has not seen if it was damaged since.
        if faults := faults_in(version.folder):
            raise ModelFaultError(str(faults[0]))
        compiled = None
        if self._compiled_dir:
            compiled = CompiledEngine.find(version, self._compiled_dir)
        model = WarmModel(version, compiled, self._compiled_dir)
        if compiled is None:
            _ = model.predictor  # now, and not in the middle of a batch
        return model

    def warm_up(self) -> None:
        """Load the newest version of each model that is ready, up to what stays loaded, and explain one row with it.

        One that was damaged after boot costs only the jobs that ask for it.
        """
        for version in self._catalog.latest()[:MOST_WARM]:
            row = np.full((1, len(version.features)), np.nan, dtype=np.float32)
            try:
                self.get(version.id).engine(Method.TREE_PATH_DEPENDENT).explain(row)
            except (ModelFaultError, EngineError, MemoryError) as fault:
                logger.error("model not loaded", extra={"model": version.id, "cause": str(fault)})  # noqa: TRY400  # the message says all
