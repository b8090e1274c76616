"""`python -m shared.models.activation.stages FOLDER COMPILED_DIR MEMORY_MB SECONDS STAGE…`: activates one version.

It prints one JSON object a line as it goes: the step that it begins, what it found of a method, the completed contract, or why the
version is refused. What it has printed counts also if the next step kills it; that step can be tried alone by a child of its own.
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

#: prctl's number for "send me this signal when my parent dies" (linux/prctl.h).
PR_SET_PDEATHSIG = 1


class Stage(StrEnum):
    """What one child may do, in this order. The last is wanted only where the one before says so."""

    VALUES = "values"
    INTERACTIONS = "interactions"
    INTERVENTIONAL = "interventional"
    SHAP = "shap"


def say(**what: Any) -> None:
    """Print one line."""
    sys.stdout.write(orjson.dumps(what).decode() + "\n")
    sys.stdout.flush()


class StageRunner:
    """One version, loaded and inspected. Making it raises ModelFaultError or EngineError with the reason to refuse the version."""

    def __init__(self, folder: Path, compiled_dir: Path) -> None:
        say(step="inspection")
        version = read_version(folder)
        whole = load_booster(version.model_path, ALL_ROUNDS)
        inspection = inspect_booster(whole, version.model_path.name)
        contract = complete_contract(version.contract, inspection)
        if contract != version.contract:
            say(contract=contract.document())
        self._version = replace(version, contract=contract)
        self._folder = compiled_dir
        self._tested = ModelUnderTest.of(contract, used_rounds(whole, contract.trees), find_library())
        self._compiled: Compiled | None = None

    def run(self, stage: Stage) -> None:
        """Do one stage, and say what came of it."""
        if stage is Stage.VALUES:
            self._verify_values()
        elif stage is Stage.INTERACTIONS:
            say(step="verification of interactions")
            record = verify_interactions(self._tested, self._tables(), None)
            say(method=ExplanationKind.INTERACTIONS, record=asdict(record))
        elif stage is Stage.INTERVENTIONAL:
            self._verify_interventional()
        else:
            say(step="verification of shap's values")
            record = verify_shap(self._tested, read_background(self._version))
            say(method=ExplanationKind.INTERVENTIONAL, record=asdict(record))

    def _verify_values(self) -> None:
        self._compare_expected()
        say(step="compilation")
        self._path().unlink(missing_ok=True)  # what an earlier build left is not what is verified now
        compiled, uncovered = self._compile()
        say(step="verification")
        record = verify_values(self._tested, compiled, uncovered)
        if compiled is not None and (record.engine or XGBOOST) != XGBOOST:
            self._compiled = compiled
            self._write(Method.TREE_PATH_DEPENDENT, compiled)
        say(method=ExplanationKind.TREE_PATH_DEPENDENT, record=asdict(record))

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
        """Return what was compiled and found right, by this child or the one before."""
        if self._compiled is None and self._tested.library is not None and self._path().exists():
            key = self._version.tables_key(Method.TREE_PATH_DEPENDENT) or ""
            self._compiled = read_tables(self._path(), key)
        return self._compiled

    def _path(self) -> Path:
        return table_path(self._folder, self._version.tables_key(Method.TREE_PATH_DEPENDENT) or "")

    def _verify_interventional(self) -> None:
        if self._version.contract.background is None:
            return
        say(step="verification of interventional values")
        if self._tested.forest is None:  # neither tables nor shap explain what has no trees
            say(method=ExplanationKind.INTERVENTIONAL, record=asdict(MethodRecord(None, self._tested.unread)))
            return
        background = read_background(self._version)
        try:
            record, tables = verify_tables(self._tested, self._tables(), background)
        except NotCoveredError as reason:
            say(shap=str(reason))
            return
        self._write(Method.INTERVENTIONAL, tables)
        say(method=ExplanationKind.INTERVENTIONAL, record=asdict(record))

    def _write(self, method: Method, compiled: Compiled) -> None:
        key = self._version.tables_key(method) or ""
        write_tables(table_path(self._folder, key), compiled, key)

    def _compare_expected(self) -> None:
        """Raise ModelFaultError unless the margins are those that the owner's own model returned."""
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
    """Let this process grow by so much address space, and compute for so long."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    size = pages * resource.getpagesize() + memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))


def main(folder: str, compiled_dir: str, memory_mb: str, seconds: str, *stages: str) -> int:
    """Do some stages of one version's activation within limits; return the exit code."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # not to outlive the start
    import_xgboost()  # what the libraries map is no model's
    if Stage.SHAP in stages:
        importlib.import_module("shap")
    limit(int(memory_mb), int(seconds))
    try:
        runner = StageRunner(Path(folder), Path(compiled_dir))
        for stage in stages:
            runner.run(Stage(stage))
        say(step="end")
    except (ModelFaultError, EngineError) as reason:
        say(refused=SOURCE_LINE.sub("", str(reason)))
    except MemoryError:
        say(out_of_memory=True)
    except (OSError, TableFileError) as fault:
        say(broken=str(fault))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
