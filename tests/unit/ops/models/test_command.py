from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ops.models import run, verify_models
from services.worker.lean_xgboost import import_xgboost
from shared.models.catalog import ModelCatalog

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]


def train(path: Path, names: list[str] | None = None, **params: Any) -> Path:
    xgboost = import_xgboost()
    rows = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)
    labels = np.arange(60) % params.get("num_class", 2)
    matrix = xgboost.DMatrix(rows, labels, feature_names=names, nthread=1)
    path.write_bytes(
        xgboost.train({"nthread": 1, "max_depth": 2, **params}, matrix, 2).save_raw(path.suffix[1:])
    )
    return path


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return train(tmp_path / "trained.json", ["a", "b", "c d"])


@pytest.fixture
def refuse(models_dir: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must be refused, and give what it says; nothing may have been written."""

    def refused(*arguments: object) -> str:
        there = sorted(models_dir.rglob("*"))
        assert run([str(argument) for argument in arguments], models_dir) == 1
        assert sorted(models_dir.rglob("*")) == there
        return capsys.readouterr().err

    return refused


def test_the_shipped_models_verify() -> None:
    assert verify_models(ROOT / "models") == []


def test_the_tool_runs_as_a_program_on_the_folder_that_the_environment_names(
    models_dir: Path, model: Path
) -> None:
    def tool(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ops.models", *arguments]
        env = {**os.environ, "MODELS_DIR": str(models_dir)}
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    assert tool("add", "mine", str(model)).returncode == 0
    listed, verified = tool("list"), tool("verify")
    (models_dir / "mine/1/model.ubj").unlink()
    broken = tool("verify")

    assert "mine@1" in listed.stdout
    assert (verified.returncode, verified.stdout) == (0, "ok     mine@1\n")
    assert broken.returncode == 1
    assert "FAULT  mine@1: model.ubj cannot be read" in broken.stdout
    assert "Restore" in broken.stdout
    assert tool("frobnicate").returncode == 2


def test_versions_count_up_and_keep_what_the_model_says(
    models_dir: Path, model: Path, tmp_path: Path
) -> None:
    unnamed = train(tmp_path / "unnamed.ubj", objective="multi:softprob", num_class=3)

    assert run(["add", "mine", str(model)], models_dir) == 0
    assert run(["add", "mine", str(unnamed)], models_dir) == 0
    assert run(["add", "mine", str(unnamed), "--version", "7", "--outputs", "x,y, z"], models_dir) == 0

    catalog = ModelCatalog.load(models_dir)
    assert [version.id for version in catalog.versions()] == ["mine@1", "mine@2", "mine@7"]
    assert catalog.get("mine@1").features == ("a", "b", "c d")
    assert catalog.get("mine@2").features == ("f0", "f1", "f2")
    assert catalog.get("mine@2").outputs == ("class_0", "class_1", "class_2")
    assert catalog.get("mine").outputs == ("x", "y", "z")
    assert verify_models(models_dir) == []


def test_matrices_are_taken_from_csv_in_any_column_order_and_from_npy(
    models_dir: Path, model: Path, tmp_path: Path
) -> None:
    background, examples = tmp_path / "background.csv", tmp_path / "examples.npy"
    background.write_text("\ufeffc d,a,b\n3,1,2\n\n,NaN,2e0\n", encoding="utf-8")
    np.save(examples, np.arange(6.0).reshape(2, 3))

    arguments = ["add", "mine", str(model), "--background", str(background), "--examples", str(examples)]
    assert run(arguments, models_dir) == 0

    version = ModelCatalog.load(models_dir).get("mine")
    assert version.background_path is not None
    assert version.examples_path is not None
    np.testing.assert_array_equal(
        np.load(version.background_path), np.array([[1, 2, 3], [np.nan, 2, np.nan]], dtype=np.float32)
    )
    assert np.load(version.examples_path).dtype == np.float32
    assert verify_models(models_dir) == []


def test_a_matrix_that_does_not_fit_is_refused_and_nothing_written(
    refuse: Callable[..., str], model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n")

    assert "header lacks c d" in refuse("add", "mine", model, "--background", path)


@pytest.mark.parametrize("name", ["../mine", "a/b", "/etc/x", "Mine", "", ".", "..", "a@1", "-x\n"])
def test_a_name_that_is_none_is_refused(refuse: Callable[..., str], model: Path, name: str) -> None:
    assert "is no name for a model" in refuse("add", "--", name, model)


def test_a_file_that_is_no_model_is_refused(refuse: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "m.ubj"
    assert "There is no file" in refuse("add", "mine", path)
    path.write_bytes(b"no model")
    assert "m.ubj is no model that XGBoost" in refuse("add", "mine", path)
    assert "neither .ubj nor .json" in refuse("add", "mine", tmp_path / "m.pkl")


def test_wrong_output_names_are_refused(refuse: Callable[..., str], model: Path) -> None:
    assert "the model gives 1" in refuse("add", "mine", model, "--outputs", "a,b")


def test_a_whole_version_never_changes_and_a_broken_one_is_mended(
    models_dir: Path, model: Path, refuse: Callable[..., str]
) -> None:
    run(["add", "mine", str(model)], models_dir)
    said = refuse("add", "mine", model, "--version", "1")
    assert "is there and whole" in said
    assert "add version 2" in said

    (models_dir / "mine/1/model.ubj").write_bytes(b"broken")
    assert run(["add", "mine", str(model), "--version", "1"], models_dir) == 0
    assert verify_models(models_dir) == []


def test_verifying_finds_a_manifest_that_disagrees_with_a_model_that_is_whole(
    models_dir: Path, model: Path
) -> None:
    run(["add", "mine", str(model)], models_dir)
    manifest = models_dir / "mine/1/manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "features": ["a", "b"]}))

    (fault,) = verify_models(models_dir)

    assert fault.what == "the model takes 3 features, its manifest names 2"
    assert "ops.models add mine FILE --version 1" in fault.remedy


def test_no_models_are_a_fault_and_not_an_empty_list(refuse: Callable[..., str], models_dir: Path) -> None:
    assert "there is no folder" in refuse("list")
    assert verify_models(models_dir)[0].remedy.startswith("Restore it from version control")
