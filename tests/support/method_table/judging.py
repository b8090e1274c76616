"""Activates a model with and without kernels, and compares its methods with float64."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import orjson
from numpy.typing import NDArray

from services.worker.models import WarmModel, WarmModels
from shared.engines.lean_xgboost import load_booster
from shared.errors import EngineError, ModelFaultError
from shared.explanation import join_parts
from shared.interactions import Interactions
from shared.jobs.document import Method
from shared.models.activation import stages
from shared.models.activation.inspection import inspect_booster
from shared.models.activation.records import ExplanationKind, MethodRecord, State, VersionRecord
from shared.models.activation.verification.exact_interventional import values_of_tree
from shared.models.activation.verification.model_under_test import ModelUnderTest
from shared.models.catalog import ModelCatalog, with_record
from shared.models.contract import Contract, Trees, link_of
from shared.models.store import ModelDraft, write_model_folder
from shared.models.version import ModelVersion
from shared.treeshap.library import find_library
from tests.support.method_table.trained_kinds import Floats, Kind, NotTrainedError, rows_of, train

type Doubles = NDArray[np.float64]

#: The largest error of an engine that is right, relative to the row's largest number.
TOLERANCE = 1e-5
#: Rows that are held against float64 and, for interventional values, against their definition; background rows.
EXACT_ROWS, DEFINED_ROWS, BACKGROUND_ROWS = 8, 2, 16


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on one explanation: an engine and its largest error, or the refusal.

    `engine` is None where the model cannot be trained, or activation refuses the explanation.
    """

    engine: str | None
    reason: str = ""
    error: float = 0.0


type Verdicts = dict[ExplanationKind, tuple[Verdict, Verdict]]


def judge(kind: Kind, folder: Path) -> Verdicts:
    """Return for each explanation two verdicts: with the compiled engine, and without it."""
    try:
        booster = train(kind)
    except NotTrainedError as reason:
        verdict = Verdict(None, f"XGBoost does not train it: {reason}")
        return dict.fromkeys(ExplanationKind, (verdict, verdict))
    version = _write(kind, booster, folder)
    truth = _Truth.of(version)
    both = []
    for kernels in (True, False):
        compiled_dir = folder / f"compiled-{kernels}"
        compiled_dir.mkdir()
        record = _activate(version, compiled_dir, kernels=kernels)
        both.append(_judge_record(version, record, compiled_dir if kernels else None, truth))
    return {one: (both[0][one], both[1][one]) for one in ExplanationKind}


def _write(kind: Kind, booster: Any, folder: Path) -> ModelVersion:
    found = inspect_booster(booster, "model")
    contract = Contract(
        name="kind",
        version=1,
        sha256="",
        features=found.features,
        outputs=tuple(f"y{number}" for number in range(found.outputs)),
        objective=found.objective,
        library_version=found.library_version,
        training={},
        link=link_of(kind.objective),
        trees=Trees(found.rounds, found.rounds),
    )
    draft = ModelDraft(contract, bytes(booster.save_raw("ubj")), background=rows_of(2, BACKGROUND_ROWS))
    return write_model_folder(folder, draft)


def _activate(version: ModelVersion, compiled_dir: Path, *, kernels: bool) -> VersionRecord:
    """Do a child's work in this process: some 200 processes would take minutes."""
    said = io.StringIO()
    wanted = [stages.Stage.VALUES, stages.Stage.INTERACTIONS, stages.Stage.INTERVENTIONAL]
    library = find_library() if kernels else None
    with redirect_stdout(said), mock.patch.object(stages, "find_library", return_value=library):
        try:
            activation = stages.StageRunner(version.folder, compiled_dir)
            for stage in wanted:
                activation.run(stage)
            if '"shap":' in said.getvalue():
                activation.run(stages.Stage.SHAP)
        except (ModelFaultError, EngineError) as reason:
            return VersionRecord("", State.REFUSED, str(reason))
    methods, tables = {}, ""
    for line in map(orjson.loads, said.getvalue().splitlines()):
        tables = line.get("shap", tables)
        if "method" in line:
            methods[ExplanationKind(line["method"])] = MethodRecord(**line["record"])
    record = methods[ExplanationKind.INTERVENTIONAL]
    if record.engine is None and tables:
        methods[ExplanationKind.INTERVENTIONAL] = replace(record, reason=f"{tables}; {record.reason}")
    return VersionRecord("", State.READY, methods=methods)


def _judge_record(
    version: ModelVersion, record: VersionRecord, compiled_dir: Path | None, truth: _Truth
) -> dict[ExplanationKind, Verdict]:
    if record.state is State.REFUSED:
        return dict.fromkeys(ExplanationKind, Verdict(None, record.reason or ""))
    catalog = ModelCatalog({(version.name, version.version): with_record(version, record)})
    model = WarmModels(catalog, compiled_dir).get(version.id)
    return {one: _judge_method(model, one, record.methods[one], truth) for one in ExplanationKind}


def _judge_method(model: WarmModel, which: ExplanationKind, record: MethodRecord, truth: _Truth) -> Verdict:
    if record.engine is None:
        return Verdict(None, record.reason or "")
    rows = truth.tested.rows
    if which is ExplanationKind.INTERVENTIONAL:
        got = model.engine(Method.INTERVENTIONAL).explain(rows)[:DEFINED_ROWS].array
    else:
        explanation = model.engine(Method.TREE_PATH_DEPENDENT).explain(rows)
        got = explanation.array
        if which is ExplanationKind.INTERACTIONS:
            got = model.interaction_engine.interactions(rows, explanation, Interactions())
    return Verdict(record.engine.partition("-")[0], error=_largest_error(got, truth.of_rows(which)))


def _largest_error(got: Floats, wanted: Doubles | None) -> float:
    """Return the difference relative to the row's largest; infinite without a reference."""
    if wanted is None:
        return np.inf
    flat = np.abs(wanted).reshape(len(wanted), -1)
    off = np.abs(got - wanted).reshape(len(wanted), -1)
    relative = off.max(axis=1) / np.maximum(flat.max(axis=1), np.finfo(np.float32).tiny)
    return float(np.where(np.isfinite(relative), relative, np.inf).max())


@dataclass(frozen=True, slots=True)
class _Truth:
    """A model's rows, and what is right of them in float64."""

    tested: ModelUnderTest
    background: Floats

    @classmethod
    def of(cls, version: ModelVersion) -> _Truth:
        booster = load_booster(version.model_path, version.contract.trees)
        tested = ModelUnderTest.of(version.contract, booster, None)
        rows = np.concatenate([rows_of(3, EXACT_ROWS // 2), tested.rows[: EXACT_ROWS // 2]])
        tested = replace(tested, rows=rows, explanation=tested.predictor.explain(rows), _exact={})
        return cls(tested, rows_of(2, BACKGROUND_ROWS))

    def of_rows(self, which: ExplanationKind) -> Doubles | None:
        ways: dict[ExplanationKind, Callable[[int], Doubles | None]] = {
            ExplanationKind.TREE_PATH_DEPENDENT: self._exact,
            ExplanationKind.INTERACTIONS: self.tested.exact_interactions,
            ExplanationKind.INTERVENTIONAL: self._by_definition,
        }
        count = DEFINED_ROWS if which is ExplanationKind.INTERVENTIONAL else len(self.tested.rows)
        found = [exact for row in range(count) if (exact := ways[which](row)) is not None]
        return np.array(found) if len(found) == count else None

    def _exact(self, row: int) -> Doubles | None:
        exact = self.tested.exact(row)
        return None if exact is None else exact.array[0]

    def _by_definition(self, row: int) -> Doubles | None:
        tested = self.tested
        exact = tested.exact(row)
        if tested.forest is None or exact is None:
            return None
        values = np.zeros_like(exact.values[0])
        for tree in tested.forest.trees:
            values[tree.output] += values_of_tree(tree, tested.rows[row], self.background)
        margins = exact.margins[0]
        return join_parts(values, margins - values.sum(axis=1), margins)
