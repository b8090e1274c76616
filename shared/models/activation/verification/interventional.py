"""Verifies interventional values: those of tables against the background, or else shap's."""

from __future__ import annotations

import hashlib
import io
import time

import numpy as np

from shared.engines.shap_engine import ShapEngine
from shared.errors import EngineError, ModelFaultError
from shared.models.activation.records import SHAP, MethodRecord
from shared.models.activation.verification.exact_interventional import Floats, values_of_tree
from shared.models.activation.verification.model_under_test import ModelUnderTest
from shared.models.activation.verification.tables import try_tables
from shared.models.activation.verification.values import TOLERANCE, Finding, largest, row_microseconds
from shared.models.version import ModelVersion
from shared.treeshap.compiled import Compiled
from shared.treeshap.explainer import Explainer
from shared.treeshap.forest import Forest, NotCoveredError
from shared.treeshap.interventional import against_background

#: Trial rows that shap explains, and those of them that are compared with the definition.
SHAP_ROWS, EXACT_ROWS = 12, 2
#: Processor seconds that computing the definition may take; after that only sums are compared.
EXACT_SECONDS = 60.0


def read_background(version: ModelVersion) -> Floats:
    """Return the contract's background rows. Raises ModelFaultError if they are not as it says."""
    entry, path = version.contract.background, version.background_path
    if entry is None or path is None:
        raise ModelFaultError("it has no background rows")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise ModelFaultError(f"{entry.file} was altered")
    rows = np.asarray(np.load(io.BytesIO(content), allow_pickle=False), dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] != len(version.features):
        raise ModelFaultError(f"{entry.file} has not one column for each feature")
    return rows


def verify_tables(
    tested: ModelUnderTest, compiled: Compiled | None, background: Floats
) -> tuple[MethodRecord, Compiled]:
    """Make and verify a model's tables against its background. Raises NotCoveredError."""
    if compiled is None or tested.forest is None or tested.library is None:
        raise NotCoveredError("the model itself is not compiled")
    tables = against_background(compiled, background)
    difference, residual = try_tables(tables, tested.forest, tested.predictor, background, tested.library)
    explainer = Explainer(tables, tested.library)
    cost = row_microseconds(explainer.explain, tested.rows)
    return MethodRecord(explainer.kernel.engine, None, difference, residual, cost), tables


def verify_shap(tested: ModelUnderTest, background: Floats) -> MethodRecord:
    """Verify shap's values of trial rows: their sums, and that they agree with the definition."""
    outputs = len(tested.contract.outputs)
    rows = np.concatenate([background[:EXACT_ROWS], tested.rows[:SHAP_ROWS]])
    if tested.forest is None:
        return MethodRecord(None, tested.unread)
    try:
        engine = ShapEngine(tested.predictor, background, outputs)
        got = engine.explain(rows)
        cost = row_microseconds(engine.explain, rows)
    except EngineError as fault:
        return MethodRecord(None, str(fault))
    except MemoryError:
        raise
    except Exception as fault:  # noqa: BLE001  # an exception in shap is a finding, not the end of the activation
        return MethodRecord(None, f"shap breaks: {type(fault).__name__} {fault}")
    scale = 1 + np.abs(got.array).max(axis=2)
    residual = largest(got.contributions.sum(axis=2, dtype=np.float64) - got.margins, scale)
    bases = tested.predictor.margins(background).mean(axis=0, dtype=np.float64)
    residual = max(residual, largest(got.base_values - bases, scale))
    if not residual <= TOLERANCE:
        return MethodRecord(None, f"shap's values are {residual:.2g} off the margin")
    difference = 0.0
    for row, values, row_scale in zip(rows[: EXACT_ROWS + 1], got.values, scale, strict=False):
        exact = _by_definition(tested.forest, row, background, outputs)
        if exact is None:
            return MethodRecord(SHAP, None, None, residual, cost)
        difference = max(difference, largest(values - exact, row_scale[:, None]))
    finding = Finding.of("shap's values", difference, residual)
    return MethodRecord(None if finding.fault else SHAP, finding.fault, difference, residual, cost)


def _by_definition(forest: Forest, row: Floats, background: Floats, outputs: int) -> Floats | None:
    """Return a row's values by definition, (outputs, features); None if that takes too long."""
    began = time.thread_time()
    result = np.zeros((outputs, forest.features))
    for tree in forest.trees:
        result[tree.output] += values_of_tree(tree, row, background)
        if time.thread_time() - began > EXACT_SECONDS:
            return None
    return result.astype(np.float32)
