"""Runs stages of an activation in a child process, which an untrusted file may crash.

`python -m shared.models.activation.stages FOLDER COMPILED_DIR MEMORY_MB SECONDS STAGE…` prints one JSON object a line: the
step that begins, a method's record, the completed contract, or the reason to refuse the version. Printed lines count even
if the next step kills the process; activate.py can then run that stage alone in another child.
"""

from __future__ import annotations

import ctypes
import importlib
import resource
import signal
import sys
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from shared.engines.lean_xgboost import import_xgboost, load_booster, used_rounds
from shared.errors import EngineError, ModelFaultError
from shared.jobs.document import Method
from shared.models.activation.contract_check import complete_contract
from shared.models.activation.inspection import ALL_ROUNDS, SOURCE_LINE, inspect_booster
from shared.models.activation.records import XGBOOST, ExplanationKind, MethodRecord
from shared.models.activation.verification.interventional import read_background, verify_shap, verify_tables
from shared.models.activation.verification.model_under_test import ModelUnderTest
from shared.models.activation.verification.values import (
    TOLERANCE,
    largest,
    verify_interactions,
    verify_values,
)
from shared.models.version import read_version
from shared.treeshap.compiled import Compiled
from shared.treeshap.compiler import compile_forest
from shared.treeshap.forest import NotCoveredError
from shared.treeshap.library import find_library
from shared.treeshap.table_file import TableFileError, read_tables, table_path, write_tables

#: prctl's number for the parent-death signal (linux/prctl.h).
PR_SET_PDEATHSIG = 1


class Stage(StrEnum):
    """The stages, in their order. SHAP runs only where INTERVENTIONAL asks for it."""

    VALUES = "values"
    INTERACTIONS = "interactions"
    INTERVENTIONAL = "interventional"
    SHAP = "shap"


def report(**finding: Any) -> None:
    """Print one line."""
    sys.stdout.write(orjson.dumps(finding).decode() + "\n")
    sys.stdout.flush()


def report_method(kind: ExplanationKind, record: MethodRecord) -> None:
    """Print a method's record."""
    report(method=kind, record=asdict(record))


class StageRunner:
    """One version, loaded and inspected. Raises ModelFaultError or EngineError to refuse it."""

    def __init__(self, folder: Path, compiled_dir: Path) -> None:
        report(step="inspection")
        version = read_version(folder)
        whole = load_booster(version.model_path, ALL_ROUNDS)
        inspection = inspect_booster(whole, version.model_path.name)
        contract = complete_contract(version.contract, inspection)
        if contract != version.contract:
            report(contract=contract.document())
        self._version = replace(version, contract=contract)
        self._folder = compiled_dir
        self._tested = ModelUnderTest.of(contract, used_rounds(whole, contract.trees), find_library())
        self._compiled: Compiled | None = None

    def run(self, stage: Stage) -> None:
        """Run one stage and report its findings."""
        if stage is Stage.VALUES:
            self._verify_values()
        elif stage is Stage.INTERACTIONS:
            report(step="verification of interactions")
            record = verify_interactions(self._tested, self._tables(), None)
            report_method(ExplanationKind.INTERACTIONS, record)
        elif stage is Stage.INTERVENTIONAL:
            self._verify_interventional()
        else:
            report(step="verification of shap's values")
            record = verify_shap(self._tested, read_background(self._version))
            report_method(ExplanationKind.INTERVENTIONAL, record)

    def _verify_values(self) -> None:
        self._compare_expected()
        report(step="compilation")
        self._path().unlink(missing_ok=True)  # tables of an earlier build are not verified
        compiled, uncovered = self._compile()
        report(step="verification")
        record = verify_values(self._tested, compiled, uncovered)
        if compiled is not None and (record.engine or XGBOOST) != XGBOOST:
            self._compiled = compiled
            self._write(Method.TREE_PATH_DEPENDENT, compiled)
        report_method(ExplanationKind.TREE_PATH_DEPENDENT, record)

    def _compile(self) -> tuple[Compiled | None, str | None]:
        if self._tested.library is None:
            return None, "the kernels are not built"
        if self._tested.forest is None:
            return None, self._tested.unread
        try:
            return compile_forest(self._tested.forest, self._tested.start), None
        except NotCoveredError as reason:
            return None, str(reason)

    def _tables(self) -> Compiled | None:
        """Return the verified tables of this child or the one before."""
        if self._compiled is None and self._tested.library is not None and self._path().exists():
            key = self._version.tables_key(Method.TREE_PATH_DEPENDENT) or ""
            self._compiled = read_tables(self._path(), key)
        return self._compiled

    def _path(self) -> Path:
        return table_path(self._folder, self._version.tables_key(Method.TREE_PATH_DEPENDENT) or "")

    def _verify_interventional(self) -> None:
        if self._version.contract.background is None:
            return
        report(step="verification of interventional values")
        if self._tested.forest is None:  # neither tables nor shap explain a model without trees
            report_method(ExplanationKind.INTERVENTIONAL, MethodRecord(None, self._tested.unread))
            return
        background = read_background(self._version)
        try:
            record, tables = verify_tables(self._tested, self._tables(), background)
        except NotCoveredError as reason:
            report(shap=str(reason))
            return
        self._write(Method.INTERVENTIONAL, tables)
        report_method(ExplanationKind.INTERVENTIONAL, record)

    def _write(self, method: Method, compiled: Compiled) -> None:
        key = self._version.tables_key(method) or ""
        write_tables(table_path(self._folder, key), compiled, key)

    def _compare_expected(self) -> None:
        """Raise ModelFaultError unless the margins equal those of the owner's own model."""
        expected = self._version.contract.expected
        if expected is None:
            return
        rows, wanted = (
            np.load(self._version.folder / entry.file, allow_pickle=False)
            for entry in (expected.rows, expected.margins)
        )
        got = self._tested.predictor.margins(rows)
        off = largest(got.astype(np.float64) - wanted, np.maximum(1, np.abs(wanted)))
        if not off <= TOLERANCE:
            raise ModelFaultError(
                f"its margins are {off:.2g} off the owner's in {expected.margins.file}: add it again with "
                "`python -m ops.models add` and --check, which finds out why"
            )


def limit(memory_mb: int, seconds: int) -> None:
    """Limit the growth of this process's address space, and its processor time."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    size = pages * resource.getpagesize() + memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))


def main(folder: str, compiled_dir: str, memory_mb: str, seconds: str, *stages: str) -> int:
    """Run some stages within limits; return the exit code."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # it must not outlive the start
    import_xgboost()  # before the limit: the libraries' mappings are not the model's
    if Stage.SHAP in stages:
        importlib.import_module("shap")
    limit(int(memory_mb), int(seconds))
    try:
        runner = StageRunner(Path(folder), Path(compiled_dir))
        for stage in stages:
            runner.run(Stage(stage))
        report(step="end")
    except (ModelFaultError, EngineError) as reason:
        report(refused=SOURCE_LINE.sub("", str(reason)))
    except MemoryError:
        report(out_of_memory=True)
    except (OSError, TableFileError) as fault:
        report(broken=str(fault))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
