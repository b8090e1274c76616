"""Compiles boosters for shared/treeshap, and tries what comes of it before anybody relies on it.

That is done in a process of its own, so that whoever asks need not carry XGBoost along.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from services.worker.background_compilation import compile_against_background
from services.worker.child_process import run_module
from services.worker.engines.xgboost_engine import XGBoostEngine
from services.worker.interaction_check import compare_interactions
from services.worker.lean_xgboost import THREADS, import_xgboost, load_booster
from services.worker.trial_rows import trial_rows
from shared.errors import EngineError, ModelFaultError
from shared.jobs.document import Method
from shared.models.compiled_files import compiled_key
from shared.models.version import ModelVersion, read_version
from shared.treeshap.compiled import Compiled
from shared.treeshap.compiler import compile_forest
from shared.treeshap.explainer import Explainer
from shared.treeshap.forest import Forest, NotCoveredError, read_forest
from shared.treeshap.library import Library, find_library
from shared.treeshap.table_file import TableFileError, table_path, write_tables

#: How far a compiled model's values may be from XGBoost's, relative to the largest of the row.
TOLERANCE = 1e-5
#: XGBoost's own quadrature is exact for so many different features on a path: beyond, only sums are compared.
XGBOOST_EXACT_FEATURES = 8
#: Rows that are compared alone as well: few rows go another way through a kernel, and to other numbers.
ALONE_ROWS = 40
#: Seconds that compiling all models of one call may take.
COMPILATION_TIMEOUT_SECONDS = 120.0


type Wanted = tuple[ModelVersion, Method]


def compile_models(wanted: Sequence[Wanted], folder: Path) -> dict[Wanted, str]:
    """Compile models, each for a method, into files in `folder`, in another process; return why some are not.

    A model's tables against its background are made of its path-dependent ones, which must come first or be there.
    What kills the process costs a new process, and only itself.
    """
    reasons: dict[Wanted, str] = {}
    left = list(wanted)
    while left:
        words = [word for version, method in left for word in (method.value, str(version.folder.absolute()))]
        answers, ending = run_module(__name__, [str(folder.absolute()), *words], COMPILATION_TIMEOUT_SECONDS)
        for one, answer in zip(left, answers, strict=False):
            if answer["reason"] is not None:
                reasons[one] = answer["reason"]
        broken = left[len(answers) : len(answers) + 1]
        reasons.update(dict.fromkeys(broken, f"its compilation {ending}"))
        left = left[len(answers) + len(broken) :]
    return reasons


def compile_booster(booster: Any) -> Compiled:
    """Compile a loaded booster. Raises NotCoveredError with the reason why it cannot be."""
    document = bytes(booster.save_raw("json"))
    forest = read_forest(document)
    return compile_forest(forest, _start(document, forest))


def compare_with_xgboost(compiled: Compiled, booster: Any, library: Library) -> None:
    """Explain rows made of the model's own thresholds with every kernel that runs here, and with XGBoost.

    Raises NotCoveredError if they disagree.
    """
    rows = trial_rows(compiled)
    try:
        wanted = XGBoostEngine(booster, compiled.outputs).explain(rows)
    except EngineError as error:
        raise NotCoveredError(str(error)) from error
    wanted = np.concatenate([wanted, wanted[:ALONE_ROWS]])
    scale = 1 + np.abs(wanted).max(axis=2, keepdims=True)
    exact = int(compiled.trees["points"].max(initial=0)) * 2 <= XGBOOST_EXACT_FEATURES
    for kernel in library.kernels():
        explainer = Explainer(compiled, library, kernel)
        got = np.concatenate([explainer.explain(rows), *map(explainer.explain, rows[:ALONE_ROWS, None])])
        off = np.abs(got - wanted) / scale
        apart = off.max() if exact else off[:, :, -2:].max()
        if not apart <= TOLERANCE:
            raise NotCoveredError(f"the {kernel.name} kernel and XGBoost are {apart:.1e} apart")
        residual = np.abs(got[:, :, :-1].sum(axis=2) - got[:, :, -1]) / scale[:, :, 0]
        if not residual.max() <= TOLERANCE:
            raise NotCoveredError(f"the {kernel.name} kernel's values are {residual.max():.1e} off their sum")


def _start(document: bytes, forest: Forest) -> NDArray[np.float32]:
    """Return the margins that the trees add to: those of the same model with all leaves 0, whatever its objective."""
    empty = orjson.loads(document)
    booster = empty["learner"]["gradient_booster"]
    for tree in booster.get("gbtree", booster)["model"]["trees"]:
        leaves = np.array(tree["left_children"]) < 0
        tree["split_conditions"] = np.where(leaves, 0.0, tree["split_conditions"]).tolist()
        tree["base_weights"] = [0.0] * len(leaves)
    xgboost = import_xgboost()
    row = xgboost.DMatrix(np.zeros((1, forest.features), dtype=np.float32), nthread=THREADS)
    try:
        without_leaves = xgboost.Booster({"nthread": THREADS}, model_file=bytearray(orjson.dumps(empty)))
        margins = without_leaves.predict(row, output_margin=True, validate_features=False)
    except (xgboost.core.XGBoostError, TypeError, ValueError) as error:
        raise NotCoveredError("XGBoost does not tell where its margins begin") from error
    return np.asarray(margins, dtype=np.float32).reshape(-1)


def _compile(version: ModelVersion, method: Method, folder: Path) -> None:
    """Write one file. Raises NotCoveredError, ModelFaultError, TableFileError and OSError."""
    library = find_library()
    if library is None:
        raise NotCoveredError("the kernels are not built")
    if method is Method.INTERVENTIONAL:
        compiled = compile_against_background(version, folder, library)
    else:
        booster = load_booster(version.model_path)
        compiled = compile_booster(booster)
        compare_with_xgboost(compiled, booster, library)
        compare_interactions(compiled, booster, library, trial_rows(compiled))
    key = compiled_key(version, method) or ""
    write_tables(table_path(folder, key), compiled, key)


def _main(folder: str, *words: str) -> None:
    """`FOLDER [METHOD MODEL_FOLDER]…`: one JSON line for each file, flushed before the next one is tried."""
    for method, model in zip(words[::2], words[1::2], strict=True):
        reason = None
        try:
            _compile(read_version(Path(model)), Method(method), Path(folder))
        except (NotCoveredError, ModelFaultError, TableFileError, OSError) as error:
            reason = str(error)
        sys.stdout.write(orjson.dumps({"reason": reason}).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main(*sys.argv[1:])
