"""The expected values of a job: XGBoost's own, computed before the appliance began."""

from __future__ import annotations

import io
import threading
import warnings

import numpy as np

from ops.lab.chaos.check import Matrix, Rows, check_rows, check_sums
from ops.lab.chaos.ledger import Entry
from ops.lab.chaos.planned_jobs import Pools
from services.worker.models import WarmModels
from shared.jobs.document import Method
from shared.models.catalog import ModelCatalog


class Truth:
    """Checks results. Safe to use from several threads."""

    def __init__(self, catalog: ModelCatalog, pools: Pools) -> None:
        self._pools = pools
        self._warm = WarmModels(catalog)
        self._one = threading.Lock()
        warnings.filterwarnings("ignore", module="shap")  # its advice is for notebooks

    def check(self, entry: Entry, body: bytes) -> Rows:
        """Compare a job's result (NPY), and what /v1/explain answered if it did, with the truth."""
        wanted = direct = self._pools.reference(entry.planned)
        if entry.planned.method is Method.INTERVENTIONAL:
            with self._one:
                engine = self._warm.get(entry.planned.model).engine(Method.INTERVENTIONAL)
                wanted = engine.explain(self._pools.rows(entry.planned)).contributions
        checked = self._compare(body, wanted, direct)
        if checked.right and entry.answered is not None:
            return self._compare(entry.answered, wanted, direct)
        return checked

    @staticmethod
    def _compare(body: bytes, wanted: Matrix, direct: Matrix) -> Rows:
        try:
            values = np.load(io.BytesIO(body), allow_pickle=False)
            given = np.asarray(values, dtype=np.float32).reshape(len(values), wanted.shape[1], -1)
        except (ValueError, EOFError) as error:
            return Rows(missing=len(wanted), said=f"the result cannot be read: {error}")
        checked = check_rows(given, wanted)
        if checked.right and (said := check_sums(given, direct.sum(axis=2, dtype=np.float64))):
            return Rows(wrong=len(wanted), said=said)
        return checked
