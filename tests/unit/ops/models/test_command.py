from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ops.models.command import run
from ops.models.verification import verify_models
from shared.models.activation.records import Activations, ExplanationKind, MethodRecord, State, VersionRecord
from shared.models.catalog import ModelCatalog
from tests.unit.ops.models.training import saved, trained

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[4]


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
    unnamed = saved(tmp_path / "unnamed.ubj", trained(objective="multi:softprob", num_class=3))

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

    said = refuse("add", "mine", model, "--background", path)

    assert str(path) in said
    assert "c d" in said


@pytest.mark.parametrize("name", ["../mine", "a/b", "/etc/x", "Mine", "", ".", "..", "a@1", "-x\n"])
def test_an_invalid_name_is_refused(refuse: Callable[..., str], model: Path, name: str) -> None:
    assert "cannot be a model's name" in refuse("add", "--", name, model)


def test_wrong_output_names_are_refused(refuse: Callable[..., str], model: Path) -> None:
    assert "the model gives 1" in refuse("add", "mine", model, "--outputs", "a,b")


def test_a_whole_version_never_changes_and_a_broken_one_is_mended(
    models_dir: Path, model: Path, refuse: Callable[..., str]
) -> None:
    run(["add", "mine", str(model)], models_dir)
    said = refuse("add", "mine", model, "--version", "1", "--outputs", "other")
    assert "mine@1 exists with another content" in said
    assert "add version 2" in said

    (models_dir / "mine/1/model.ubj").write_bytes(b"broken")
    assert run(["add", "mine", str(model), "--version", "1"], models_dir) == 0
    assert verify_models(models_dir) == []


def test_verifying_finds_a_manifest_that_disagrees_with_a_model_that_is_whole(
    models_dir: Path, model: Path
) -> None:
    run(["add", "mine", str(model)], models_dir)
    manifest = models_dir / "mine/1/manifest.json"
    document = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**document, "features": document["features"][:2]}))

    (fault,) = verify_models(models_dir)

    assert fault.what == "the model takes 3 features, its manifest names 2"
    assert "ops.models add mine FILE --version 1" in fault.remedy


def test_no_models_are_a_fault_and_not_an_empty_list(refuse: Callable[..., str], models_dir: Path) -> None:
    assert "there is no folder" in refuse("list")
    assert verify_models(models_dir)[0].remedy.startswith("Restore it from version control")


def test_identical_bytes_are_reported_and_not_added_again(
    do: Callable[..., str], models_dir: Path, model: Path
) -> None:
    do("add", "mine", model)
    copy = model.with_name("copy.model")
    copy.write_bytes(model.read_bytes())

    assert "mine@1 is the same model; nothing was added." in do("add", "mine", copy)
    assert "mine@1 is the same model; nothing was added." in do("add", "mine", copy, "--version", "1")
    assert [path.name for path in (models_dir / "mine").iterdir()] == ["1"]

    rows = model.with_name("rows.npy")
    np.save(rows, np.zeros((2, 3)))
    for options in (["--missing", "-999"], ["--background", rows]):
        assert "This is the same file as mine@1" in (said := do("add", "mine", copy, *options))
        assert ", with other options.\nAdded mine@" in said
    assert "same file" not in do("add", "other", copy)  # another name
    (models_dir / "mine/3/model.ubj").unlink()  # a broken version is mended
    do("add", "mine", copy, "--version", "3", "--background", rows)
    assert len(ModelCatalog.load(models_dir)) == 4


def test_removing_leaves_other_versions_and_says_what_there_is(
    do: Callable[..., str], refuse: Callable[..., str], models_dir: Path, model: Path
) -> None:
    do("add", "mine", model)
    do("add", "mine", model, "--outputs", "other")

    assert "Say which version of mine to remove: mine@1, mine@2." in refuse("remove", "mine")
    assert "There are: mine@1, mine@2." in refuse("remove", "mine@3")
    assert "There are: mine@1, mine@2." in refuse("remove", "../models@1")
    assert "Still there: mine@2." in do("remove", "mine@1")
    assert [path.name for path in (models_dir / "mine").iterdir()] == ["2"]
    (models_dir / "mine/2/manifest.json").write_bytes(b"broken")
    assert "No model is left" in do("remove", "mine@2")
    assert [path.name for path in models_dir.iterdir()] == [".removed-versions.json"]


def test_the_number_of_a_removed_version_is_not_used_again(
    do: Callable[..., str], refuse: Callable[..., str], model: Path
) -> None:
    do("add", "mine", model)
    do("remove", "mine@1")

    said = refuse("add", "mine", model, "--version", "1")
    assert (
        "mine@1 was removed, and its number is not used again. Leave --version out to add version 2." in said
    )
    assert "Added mine@2" in do("add", "mine", model)
    assert "Added other@1" in do("add", "other", model)


def test_the_list_shows_how_activation_ended(
    do: Callable[..., str], models_dir: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("good", "bad"):
        do("add", name, model)
    nothing = MethodRecord(None, "there are no trees")
    records = {
        "good@1": VersionRecord("k", State.READY, methods={ExplanationKind.INTERACTIONS: nothing}),
        "bad@1": VersionRecord("k", State.REFUSED, "the compiler took more than 60 s"),
    }
    (tmp_path / "data/compiled").mkdir(parents=True)
    Activations(versions=records).write(tmp_path / "data/compiled/activations.json")

    assert run(["list"], models_dir, tmp_path / "data") == 1

    said = capsys.readouterr().out
    assert re.search(r"^good@1 +ready +3 ", said, re.MULTILINE)
    assert "good@1 is not explained by interactions: there are no trees" in said
    assert "bad@1 is refused: the compiler took more than 60 s" in said
