from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ops.models.command import run
from ops.models.folder import verify_models
from shared.build import ROOT
from shared.models.activation.records import Activations, ExplanationKind, MethodRecord, State, VersionRecord
from shared.models.catalog import ModelCatalog
from tests.unit.ops.models.conftest import Owner, rows_of, train


def test_it_runs_as_a_program_on_the_folder_of_the_environment(owner: Owner, model: Path) -> None:
    command = [sys.executable, "-m", "ops.models", "add", "mine", str(model)]
    env = {**os.environ, "MODELS_DIR": str(owner.models_dir)}
    subprocess.run(command, cwd=ROOT, env=env, check=True)

    assert owner.do("verify") == "ok     mine@1\n"
    (owner.models_dir / "mine/1/model.ubj").unlink()
    assert run(["verify"], owner.models_dir) == 1
    said = owner.capture.readouterr().out
    assert "FAULT  mine@1: model.ubj cannot be read" in said
    assert "Restore" in said


def test_versions_count_up_and_never_change_while_they_are_whole(owner: Owner, model: Path) -> None:
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

    said = owner.refuse("add", "mine", model, "--version", "1", "--outputs", "other")
    assert "mine@1 exists with another content" in said
    assert "add version 8" in said
    (owner.models_dir / "mine/1/model.ubj").write_bytes(b"broken")
    owner.do("add", "mine", model, "--version", "1")
    assert ModelCatalog.load(owner.models_dir).refused() == ()


@pytest.mark.parametrize("name", ["../mine", "a/b", "/etc/x", "Mine", "", "..", "a@1", "-x\n"])
def test_an_invalid_name_is_refused(owner: Owner, model: Path, name: str) -> None:
    assert "cannot be a model's name" in owner.refuse("add", "--", name, model)


def test_a_manifest_that_disagrees_with_its_model_and_no_models_are_faults(owner: Owner, model: Path) -> None:
    assert "there is no folder" in owner.refuse("list")
    assert verify_models(owner.models_dir)[0][0].remedy.startswith("Restore it from version control")
    owner.do("add", "mine", model)
    manifest = owner.models_dir / "mine/1/manifest.json"
    document = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**document, "features": document["features"][:2]}))
    assert "remove 'checksum' if you changed it on purpose" in verify_models(owner.models_dir)[0][0].what
    manifest.write_text(json.dumps({**document, "features": document["features"][:2], "checksum": None}))

    [fault], _ = verify_models(owner.models_dir)

    assert fault.what == "the model takes 3 features, its manifest names 2"
    assert "ops.models add mine FILE --version 1" in fault.remedy


def test_a_dry_run_says_all_and_the_same_model_is_added_once(owner: Owner, model: Path) -> None:
    rows = owner.npy("rows", rows_of(5))
    arguments = ["add", "m", model, "--background", rows, "--examples", rows]

    said = owner.do(*arguments, "--dry-run")

    assert "Dry run: nothing was written. Without --dry-run this adds m@1." in said
    assert not owner.models_dir.exists()
    assert owner.do(*arguments).startswith(said.partition("Dry run")[0])
    assert "m@1 is the same model" in owner.do(*arguments, "--dry-run")
    copy = model.with_name("copy.model")
    copy.write_bytes(model.read_bytes())
    for options in ([], ["--version", "1"]):
        same = owner.do("add", "m", copy, *arguments[3:], *options)
        assert "m@1 is the same model; nothing was added." in same
    assert [path.name for path in (owner.models_dir / "m").iterdir()] == ["1"]
    assert "Added m@2" in owner.do("add", "m", copy, "--missing", "-999")
    assert "Added other@1" in owner.do("add", "other", copy)


def test_removing_leaves_other_versions_and_never_uses_a_number_again(owner: Owner, model: Path) -> None:
    owner.do("add", "mine", model)
    owner.do("add", "mine", model, "--outputs", "other")

    for wanted in ("mine", "mine@3", "../models@1"):
        said = owner.refuse("remove", wanted)
        assert f"There is no model {wanted!r}" in said
        assert "There are: mine@1, mine@2." in said
    assert "Models left: mine@2." in owner.do("remove", "mine@1")
    assert [path.name for path in (owner.models_dir / "mine").iterdir()] == ["2"]
    (owner.models_dir / "mine/2/manifest.json").write_bytes(b"broken")
    assert "Models left: none, and the appliance needs one" in owner.do("remove", "mine@2")
    assert [path.name for path in owner.models_dir.iterdir()] == [".removed-versions.json"]

    said = owner.refuse("add", "mine", model, "--version", "1")
    assert (
        "mine@1 was removed, and its number is not used again. Leave --version out to add version 3." in said
    )
    assert "Added mine@3" in owner.do("add", "mine", model)
    (owner.models_dir / ".removed-versions.json").write_text("[]")
    assert "is damaged" in owner.refuse("add", "mine", model)


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
