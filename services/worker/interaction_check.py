"""Compares a compiled model's interactions with XGBoost's before anybody relies on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from services.worker.engines.engine import Matrix
from services.worker.engines.xgboost_engine import XGBoostEngine
from shared.errors import EngineError
from shared.interactions import Interactions
from shared.treeshap.compiled import Compiled
from shared.treeshap.explainer import Explainer
from shared.treeshap.forest import NotCoveredError
from shared.treeshap.interactions import InteractionExplainer
from shared.treeshap.library import Library

#: How far interactions may be from XGBoost's, relative to the largest of the row.
TOLERANCE = 1e-5
#: XGBoost's own quadrature is exact for so many different features on a path.
XGBOOST_EXACT_FEATURES = 8
#: Rows that are compared: a register and some more. XGBoost takes several times as long for them as for values.
ROWS = 20
#: Numbers of their matrices, at most, of which several are held at a time: boot has little memory. A single row is always compared.
COMPARED_NUMBERS = 2**21


def compare_interactions(compiled: Compiled, booster: Any, library: Library, rows: Matrix) -> None:
    """Explain some of these rows with every kernel that runs here, and with XGBoost where it is exact.

    Raises NotCoveredError if they disagree: then nothing that was compiled of the model is to be trusted.
    """
    each = compiled.outputs * (compiled.features + 1) ** 2
    try:
        explainers = [InteractionExplainer(compiled, library, kernel) for kernel in library.kernels()]
    except NotCoveredError:
        return  # XGBoost explains them; a worker finds that out in the same way
    rows = rows[: max(1, min(ROWS, COMPARED_NUMBERS // each))]
    values = Explainer(compiled, library).explain(rows)
    if 2 * int(compiled.trees["points"].max(initial=0)) <= XGBOOST_EXACT_FEATURES:
        wanted = _xgboosts(compiled, booster, rows)
    else:  # beyond, XGBoost's are not exact: the kernels must agree with the portable one
        wanted = explainers[-1].matrices(rows, values)
    scale = 1 + np.abs(wanted).max(axis=(2, 3), keepdims=True)
    for explainer in explainers:
        apart = (np.abs(explainer.matrices(rows, values) - wanted) / scale).max()
        if not apart <= TOLERANCE:
            name = explainer.kernel.name
            raise NotCoveredError(
                f"the {name} kernel's interactions are {apart:.1e} apart from what they should be"
            )


def _xgboosts(compiled: Compiled, booster: Any, rows: Matrix) -> Matrix:
    try:
        return XGBoostEngine(booster, compiled.outputs).interactions(rows, rows, Interactions())
    except EngineError as error:
        raise NotCoveredError(str(error)) from error
