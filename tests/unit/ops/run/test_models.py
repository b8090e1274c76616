"""Boot checks and activates models, and reuses records; a faulty model affects only itself."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ops.run import model_activation
from ops.run.data_dir import make_folders
from ops.run.model_activation import activate_models
from ops.run.model_check import check_models, require_ready_models
from shared.build import ROOT
from shared.engines.compiled_engine import tables_path
from shared.errors import BootError
from shared.jobs.document import Method
from shared.models.activation.activate import Limits
from shared.models.activation.records import XGBOOST, Activations, ExplanationKind, State, VersionRecord
from shared.models.catalog import ModelCatalog
from shared.models.version import ModelVersion
from shared.settings import Settings
from shared.treeshap.library import Library
from tests.support.activated import add_model, contract_of, replace_model
from tests.support.boosters import Floats, load, rows_of, train
from tests.support.redis_server import until

SHIPPED = ("breast-cancer@1", "diabetes@1", "wine@1")

type Add = Callable[..., ModelVersion]


@pytest.fixture
def settings(tmp_path: Path, library: Library) -> Settings:
    del library  # that it is built
    made = Settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models")
    make_folders(made)
    return made


@pytest.fixture
def add(settings: Settings) -> Add:
    def add(name: str, background: Floats | None = None, **how: Any) -> ModelVersion:
        booster, _ = train(**{"depth": 2, "trees": 2, "features": 3, **how})
        return add_model(settings.models_dir, booster, name, background)

    return add


def activate(settings: Settings) -> Activations:
    return activate_models(settings, check_models(settings))


def written(settings: Settings) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in settings.compiled_dir.glob("*.shaptables")}


def verified(caplog: pytest.LogCaptureFixture) -> list[int]:
    """How many versions each start so far has verified."""
    return [line.__dict__["verified"] for line in caplog.records if line.getMessage() == "models activated"]


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """The warnings and errors, each with its model."""
    lines = [line for line in caplog.records if line.levelno >= logging.WARNING]
    return [(line.__dict__.get("model", ""), line.getMessage()) for line in lines]


ACTIVATE = """
import sys
from pathlib import Path
from ops.run.model_activation import activate_models
from shared.settings import Settings
activate_models(Settings(data_dir=Path(sys.argv[1]), models_dir=Path(sys.argv[2])), [])
"""


def test_shipped_models_are_activated_once_and_only_what_is_lost_or_damaged_again(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    settings = replace(settings, models_dir=ROOT / "models")
    words = [str(settings.data_dir), str(settings.models_dir)]
    with subprocess.Popen([sys.executable, "-c", ACTIVATE, *words], cwd=ROOT) as start:
        until(settings.activations_file.exists)
        start.kill()
    known = Activations.read(settings.activations_file).versions
    whole = {path: path.read_bytes() for path in written(settings)}
    assert 1 <= len(known) < 3
    for stranger in ("abc-1.shaptables", ".compiling-x", "old.new"):
        (settings.compiled_dir / stranger).write_bytes(b"")

    activations = activate(settings)
    assert require_ready_models(settings, activations) == 3
    assert activations.engine.startswith("compiled-")
    assert tuple(activations.versions) == SHIPPED
    assert known.items() <= activations.versions.items()
    for record in activations.versions.values():
        assert (record.state, record.reason) == (State.READY, None)
        engines = {kind: (one.engine, one.reason) for kind, one in record.methods.items()}
        assert engines == dict.fromkeys(ExplanationKind, (activations.engine, None))
    assert Activations.read(settings.activations_file) == activations
    files = written(settings)
    assert len(files) == 6  # for each method one
    assert all(path.read_bytes() == content for path, content in whole.items())
    assert {*settings.compiled_dir.iterdir()} == {*files, settings.activations_file}
    assert activate(settings) == activations
    assert written(settings) == files

    diabetes = ModelCatalog.load(settings.models_dir).get("diabetes")
    of_values, of_background = (
        tables_path(diabetes, method, settings.compiled_dir) or Path() for method in Method
    )
    content = of_values.read_bytes()
    of_values.write_bytes(content[:-1] + b"x")
    of_background.unlink()
    activate(settings)
    assert of_values.read_bytes() == content
    again = written(settings)
    assert {path for path in files if again[path] != files[path]} == {of_values, of_background}
    assert verified(caplog) == [3 - len(known), 0, 1]


def test_other_files_limits_and_builds_verify_again(
    settings: Settings, add: Add, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)

    def ready(_version: object, _folder: object, limits: Limits, key: str) -> VersionRecord:
        return VersionRecord(key, State.READY, f"within {limits.memory_mb} MB and {limits.seconds} s")

    monkeypatch.setattr(model_activation, "activate_version", ready)
    version = add("one")
    slower, larger = replace(settings, activation_seconds=77), replace(settings, activation_memory_mb=444)
    for each in (settings, settings, slower, larger):
        activations = activate_models(each, [])
    assert activations.versions["one@1"].reason == "within 444 MB and 120 s"
    with (version.folder / "manifest.json").open("a") as manifest:
        manifest.write(" ")
    activate_models(larger, [])
    monkeypatch.setattr(model_activation, "library_versions", lambda: {"xgboost": "another"})
    activate_models(larger, [])
    monkeypatch.setattr(model_activation, "find_library", lambda: None)
    activations = activate_models(larger, [])
    assert verified(caplog) == [1, 0, 1, 1, 1, 1, 1]
    assert activations.engine == Activations.read(settings.activations_file).engine == XGBOOST
    assert "kernels of the compiled engine are not built" in caplog.text
    settings.activations_file.unlink()
    settings.activations_file.mkdir()
    with pytest.raises(BootError, match="cannot be written"):
        activate_models(settings, [])


def crashing(version: ModelVersion) -> None:
    """Put a model in the place of another whose root's children are where XGBoost may not read."""
    booster, _ = train(2, 2, 3)
    document = json.loads(bytes(booster.save_raw("json")))
    tree = document["learner"]["gradient_booster"]["model"]["trees"][0]
    tree["left_children"][0] = tree["right_children"][0] = 10**9
    replace_model(version, bytes(load(document).save_raw("ubj")))


def test_models_that_cannot_be_used_cost_only_themselves_until_they_are_mended(
    settings: Settings, add: Add, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    add("other", booster="gblinear")
    crashing(add("crashes"))
    booster, _ = train(2, 2, 3)
    add_model(settings.models_dir, booster, "too-few", features=contract_of(booster).features[:2])
    faulty = add("faulty", rows_of(0, 9, 3))
    assert faulty.background_path is not None
    whole, background = faulty.model_path.read_bytes(), faulty.background_path.read_bytes()
    faulty.model_path.write_bytes(b"short")
    faulty.background_path.unlink()
    activations = activate(settings)
    reasons = {name: str(one.reason) for name, one in activations.versions.items() if one.reason}
    assert {*reasons} == {"crashes@1", "too-few@1", "faulty@1"}
    assert "its inspection failed with SIGSEGV" in reasons["crashes@1"]
    assert "model.ubj is truncated" in reasons["faulty@1"]
    assert "background.npy cannot be read" in reasons["faulty@1"]
    assert reasons["faulty@1"].count("`python -m ops.models add faulty FILE --version 1`") == 1
    method = activations.versions["other@1"].methods[ExplanationKind.TREE_PATH_DEPENDENT]
    assert method.engine == XGBOOST
    told = {(name, f"model refused: {reason}") for name, reason in reasons.items()}
    told |= {
        ("other@1", f"{words}: {method.reason}") for words in ("a slower engine explains", "method refused")
    }
    assert {*said(caplog)} == told
    assert require_ready_models(replace(settings, default_model="other"), activations) == 1
    for default, why in (
        ("crashes", "Model crashes@1 is refused: .*SIGSEGV"),
        ("faulty@1", "model.ubj is truncated"),
        ("gone", "There is no model 'gone'. Use one of: other@1"),
        ("other@2", "There is no model 'other@2'"),
    ):
        with pytest.raises(BootError, match=f"DEFAULT_MODEL cannot be served: .*{why}"):
            require_ready_models(replace(settings, default_model=default), activations)
    assert activate(settings) == activations
    faulty.model_path.write_bytes(whole)
    faulty.background_path.write_bytes(background)
    assert require_ready_models(settings, activate(settings)) == 2
    assert verified(caplog) == [3, 0, 1]


def copy_models(settings: Settings, *without_file: str) -> None:
    ignored = shutil.ignore_patterns("*.py", "__pycache__")
    shutil.copytree(ROOT / "models", settings.models_dir, ignore=ignored)
    for name in without_file:
        (settings.models_dir / name.replace("@", "/") / "model.ubj").unlink()


def test_without_a_model_that_can_be_served_the_start_ends_and_names_each(settings: Settings) -> None:
    with pytest.raises(BootError, match=r"models cannot be used(.|\n)*python -m ops\.models add"):
        check_models(settings)
    check_models(replace(settings, allow_fallback_model=True))
    assert require_ready_models(settings, Activations()) == 1  # a placeholder
    copy_models(settings, *SHIPPED)
    with pytest.raises(BootError, match="ALLOW_FALLBACK_MODEL=true") as ended:
        check_models(settings)
    for name in SHIPPED:
        assert f"python -m ops.models add {name[:-2]} FILE --version 1" in str(ended.value)
    refused = {name: VersionRecord("key", State.REFUSED, f"no {name} today") for name in SHIPPED}
    with pytest.raises(BootError) as ended:
        require_ready_models(settings, Activations(versions=refused))
    assert all(f"{name}: no {name} today" in str(ended.value) for name in SHIPPED)


def test_where_allowed_placeholders_replace_faulty_models_and_a_missing_default_until_they_are_there(
    settings: Settings,
) -> None:
    copy_models(settings, "wine@1")
    activations = Activations(versions={"wine@1": VersionRecord("", State.REFUSED, "spoiled")})
    for default, placeholders in ((None, {"wine@1"}), ("churn", {"wine@1", "churn@1"})):
        allowed = replace(settings, allow_fallback_model=True, default_model=default)
        assert [fault.model for fault in check_models(allowed)] == ["wine@1"]
        catalog = ModelCatalog.load(settings.models_dir, settings.placeholders_dir, activations)
        assert {model.id for model in catalog.versions() if model.fallback} == placeholders
        assert catalog.refused() == ()
        assert require_ready_models(allowed, activations) == 2 + len(placeholders)
    check_models(settings)
    assert not settings.placeholders_dir.exists()
