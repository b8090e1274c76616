"""Small models and their owner, who calls the models command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ops.models.command import run
from shared.engines.lean_xgboost import import_xgboost
from shared.models.activation import inspection
from shared.models.catalog import ModelCatalog
from shared.models.contract import Contract

type Rows = NDArray[np.float32]


def rows_of(count: int = 60, columns: int = 3) -> Rows:
    return np.random.default_rng(1).normal(size=(count, columns)).astype(np.float32)


def train(
    names: list[str] | None = None,
    types: list[str] | None = None,
    rounds: int = 2,
    rows: Rows | None = None,
    missing: float = np.nan,
    **params: Any,
) -> Any:
    rows = rows_of() if rows is None else rows
    matrix = import_xgboost().DMatrix(
        rows,
        np.arange(len(rows)) % params.get("num_class", 2),
        feature_names=names,
        feature_types=types,
        enable_categorical=True,
        missing=missing,
        nthread=1,
    )
    return import_xgboost().train({"nthread": 1, "max_depth": 2, "verbosity": 0, **params}, matrix, rounds)


@dataclass
class Owner:
    """The owner of models: writes files, adds them to a folder, and reads what is said."""

    folder: Path
    capture: pytest.CaptureFixture[str]

    @property
    def models_dir(self) -> Path:
        return self.folder / "models"

    def model(self, booster: Any, name: str = "model.ubj", **attributes: str) -> Path:
        booster.set_attr(**attributes)
        path = self.folder / name
        path.write_bytes(booster.save_raw("json" if path.suffix == ".json" else "ubj"))
        return path

    def npy(self, name: str, matrix: NDArray[Any]) -> Path:
        np.save(self.folder / f"{name}.npy", matrix)
        return self.folder / f"{name}.npy"

    def csv(self, name: str, rows: Rows, names: Sequence[str]) -> Path:
        path = self.folder / f"{name}.csv"
        np.savetxt(path, rows, "%.9g", ",", header=",".join(names), comments="")
        return path

    def json(self, name: str, document: Any) -> Path:
        path = self.folder / f"{name}.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    def do(self, *arguments: object) -> str:
        """Run a command that must succeed, and return what it prints."""
        code = run([str(argument) for argument in arguments], self.models_dir)
        said = self.capture.readouterr()
        assert (code, said.err) == (0, "")
        return said.out

    def refuse(self, *arguments: object) -> str:
        """Run a command that must be refused; return its message, one line; nothing may be written."""
        there = sorted(self.models_dir.rglob("*"))
        assert run([str(argument) for argument in arguments], self.models_dir) == 1
        assert sorted(self.models_dir.rglob("*")) == there
        said = self.capture.readouterr().err
        assert said.endswith((".\n", "`\n"))
        assert said.count("\n") == 1
        for internal in ("manifest.json", "/tmp/shapbox-", "/workspace/"):
            assert internal not in said
        return said

    def contract(self, wanted: str = "m") -> Contract:
        return ModelCatalog.load(self.models_dir).get(wanted).contract


@pytest.fixture
def owner(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Owner:
    """Inspect models in this process, which saves a second for each.

    test_command.py runs the program as well.
    """

    def run_here(_: str, arguments: Sequence[str], __: float) -> tuple[list[Any], str]:
        answer = inspection._answer(Path(arguments[1]), Path(arguments[2]))
        return [json.loads(json.dumps(answer))], ""

    monkeypatch.setattr(inspection, "run_module", run_here)
    return Owner(tmp_path, capsys)


@pytest.fixture
def model(owner: Owner) -> Path:
    return owner.model(train(["a", "b", "c d"]), "trained.json")
