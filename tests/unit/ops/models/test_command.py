from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ops.models.command import run
from ops.models.folder import verify_models
from shared.build import ROOT
from shared.models.activation.records import Activations, ExplanationKind, MethodRecord, State, VersionRecord
from shared.models.catalog import ModelCatalog
from tests.unit.ops.models.conftest import Owner, train


def test_it_runs_as_a_program_on_the_folder_of_the_environment(owner: Owner, model: Path) -> None:
    def tool(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ops.models", *arguments]
        env = {**os.environ, "MODELS_DIR": str(owner.models_dir)}
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    assert tool("add", "mine", str(model)).returncode == 0
    verified = tool("verify")
    (owner.models_dir / "mine/1/model.ubj").unlink()
    broken = tool("verify")

    assert (verified.returncode, verified.stdout) == (0, "ok     mine@1\n")
    assert broken.returncode == 1
    assert "FAULT  mine@1: model.ubj cannot be read" in broken.stdout
    assert "Restore" in broken.stdout
    assert tool("frobnicate").returncode == 2


def test_versions_count_up_and_keep_what_the_model_says(owner: Owner, model: Path) -> None:
    unnamed = owner.model(train(objective="multi:softprob", num_class=3), "unnamed.ubj")

    owner.do("add", "mine", model)
    owner.do("add", "mine", unnamed)
    owner.do("add", "mine", unnamed, "--version", "7", "--outputs", "x,y, z")

    catalog = ModelCatalog.load(owner.models_dir)
    assert [version.id for version in catalog.versions()] == ["mine@1", "mine@2", "mine@7"]
    assert catalog.get("mine@1").features == ("a", "b", "c d")
    assert catalog.get("mine@2").features == ("f0", "f1", "f2")
    assert catalog.get("mine@2").outputs == ("class_0", "class_1", "class_2")
    assert catalog.get("mine").outputs == ("x", "y", "z")


@pytest.mark.parametrize("name", ["../mine", "a/b", "/etc/x", "Mine", "", ".", "..", "a@1", "-x\n"])
def test_an_invalid_name_is_refused(owner: Owner, model: Path, name: str) -> None:
    assert "cannot be a model's name" in owner.refuse("add", "--", name, model)


def test_a_whole_version_never_changes_and_a_broken_one_is_mended(owner: Owner, model: Path) -> None:
    owner.do("add", "mine", model)
    said = owner.refuse("add", "mine", model, "--version", "1", "--outputs", "other")
    assert "mine@1 exists with another content" in said
    assert "add version 2" in said

    (owner.models_dir / "mine/1/model.ubj").write_bytes(b"broken")
    owner.do("add", "mine", model, "--version", "1")
    assert verify_models(owner.models_dir)[0] == []


def test_a_manifest_that_disagrees_with_its_model_and_no_models_are_faults(owner: Owner, model: Path) -> None:
    assert "there is no folder" in owner.refuse("list")
    assert verify_models(owner.models_dir)[0][0].remedy.startswith("Restore it from version control")
    owner.do("add", "mine", model)
    manifest = owner.models_dir / "mine/1/manifest.json"
    document = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**document, "features": document["features"][:2]}))

    [fault], _ = verify_models(owner.models_dir)

    assert fault.what == "the model takes 3 features, its manifest names 2"
    assert "ops.models add mine FILE --version 1" in fault.remedy


def test_identical_bytes_are_reported_and_not_added_again(owner: Owner, model: Path) -> None:
    owner.do("add", "mine", model)
    copy = model.with_name("copy.model")
    copy.write_bytes(model.read_bytes())

    assert "mine@1 is the same model; nothing was added." in owner.do("add", "mine", copy)
    assert "mine@1 is the same model; nothing was added." in owner.do("add", "mine", copy, "--version", "1")
    assert [path.name for path in (owner.models_dir / "mine").iterdir()] == ["1"]

    rows = owner.npy("rows", np.zeros((2, 3)))
    for options in (["--missing", "-999"], ["--background", rows]):
        assert "This is the same file as mine@1" in (said := owner.do("add", "mine", copy, *options))
        assert ", with other options.\nAdded mine@" in said
    assert "mine@3 is the same model" in owner.do("add", "mine", copy, "--background", rows)
    assert "same file" not in owner.do("add", "other", copy)  # another name


def test_removing_leaves_other_versions_and_never_uses_a_number_again(owner: Owner, model: Path) -> None:
    owner.do("add", "mine", model)
    owner.do("add", "mine", model, "--outputs", "other")

    for wanted in ("mine", "mine@3", "../models@1"):
        said = owner.refuse("remove", wanted)
        assert f"There is no model {wanted!r}" in said
        assert "There are: mine@1, mine@2." in said
    assert "Still there: mine@2." in owner.do("remove", "mine@1")
    assert [path.name for path in (owner.models_dir / "mine").iterdir()] == ["2"]
    (owner.models_dir / "mine/2/manifest.json").write_bytes(b"broken")
    assert "No model is left" in owner.do("remove", "mine@2")
    assert [path.name for path in owner.models_dir.iterdir()] == [".removed-versions.json"]

    said = owner.refuse("add", "mine", model, "--version", "1")
    assert (
        "mine@1 was removed, and its number is not used again. Leave --version out to add version 3." in said
    )
    assert "Added mine@3" in owner.do("add", "mine", model)
    assert "Added other@1" in owner.do("add", "other", model)


def test_the_list_shows_how_activation_ended(owner: Owner, model: Path) -> None:
    for name in ("good", "bad"):
        owner.do("add", name, model)
    nothing = MethodRecord(None, "there are no trees")
    records = {
        "good@1": VersionRecord("k", State.READY, methods={ExplanationKind.INTERACTIONS: nothing}),
        "bad@1": VersionRecord("k", State.REFUSED, "the compiler took more than 60 s"),
    }
    (owner.folder / "data/compiled").mkdir(parents=True)
    Activations(versions=records).write(owner.folder / "data/compiled/activations.json")

    assert run(["list"], owner.models_dir, owner.folder / "data") == 1

    said = owner.capture.readouterr().out
    assert re.search(r"^good@1 +ready +3 +output +reg:squarederror +2 of 2 +- +- ", said, re.MULTILINE)
    assert "good@1 is not explained by interactions: there are no trees" in said
    assert "bad@1 is refused: the compiler took more than 60 s" in said
