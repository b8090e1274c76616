"""Boot reuses activation records, and a faulty model affects only itself."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from ops.run import model_activation
from ops.run.folders import make_folders
from ops.run.model_activation import activate_models
from ops.run.model_check import check_models, require_ready_models
from shared.engines.compiled_engine import tables_path
from shared.errors import BootError
from shared.jobs.document import Method
from shared.models.activation.records import SHAP, XGBOOST, Activations, ExplanationKind, State, is_compiled
from shared.models.catalog import ModelCatalog
from shared.models.version import ModelVersion
from shared.settings import Settings
from shared.treeshap.library import Library
from tests.support.activated import add_model, contract_of, replace_model
from tests.unit.shared.treeshap.boosters import Floats, load, rows_of, train

ROOT = Path(__file__).parents[3]
VALUES, INTERVENTIONAL = ExplanationKind.TREE_PATH_DEPENDENT, ExplanationKind.INTERVENTIONAL
SHIPPED = ("breast-cancer@1", "diabetes@1", "wine@1")


@pytest.fixture
def settings(tmp_path: Path, library: Library) -> Settings:
    del library  # that it is built
    settings = replace(Settings(), data_dir=tmp_path / "data", models_dir=tmp_path / "models")
    make_folders(settings)
    return settings


@pytest.fixture
def add(settings: Settings) -> Callable[..., ModelVersion]:
    def add(name: str, background: Floats | None = None, **how: Any) -> ModelVersion:
        booster, _ = train(**{"depth": 2, "trees": 2, "features": 3, **how})
        return add_model(settings.models_dir, booster, name, background)

    return add


@pytest.fixture
def nothing_is_verified(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, no child may be started."""

    def forbid() -> None:
        def fail(version: ModelVersion, *_: object) -> None:
            pytest.fail(f"{version.id} is verified again")

        monkeypatch.setattr(model_activation, "activate_version", fail)

    return forbid


def written(settings: Settings) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in settings.compiled_dir.glob("*.shaptables")}


def verified(caplog: pytest.LogCaptureFixture) -> list[int]:
    """How many versions each start so far has verified."""
    return [line.__dict__["verified"] for line in caplog.records if line.getMessage() == "models activated"]


def test_shipped_models_are_activated_once_and_recorded(
    settings: Settings, nothing_is_verified: Callable[[], None]
) -> None:
    settings = replace(settings, models_dir=ROOT / "models")
    activations = activate_models(settings, [])
    assert activations.engine.startswith("compiled-")
    assert tuple(activations.versions) == SHIPPED
    for record in activations.versions.values():
        assert (record.state, record.reason) == (State.READY, None)
        assert {*record.methods} == {*ExplanationKind}
        for method in record.methods.values():
            assert (method.engine, method.reason) == (activations.engine, None)
    assert Activations.read(settings.activations_file) == activations
    files = written(settings)
    assert len(files) == 6  # for each method one
    nothing_is_verified()
    assert activate_models(settings, []) == activations
    assert written(settings) == files


@pytest.mark.parametrize("background", [None, rows_of(0, 9, 3)], ids=["alone", "with background"])
@pytest.mark.parametrize(
    "damage", [lambda content: content[:-9], lambda content: content[:-1] + b"x", lambda _: b"", None]
)
def test_damaged_or_lost_tables_are_made_again_and_no_others(
    settings: Settings,
    add: Callable[..., ModelVersion],
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[bytes], bytes] | None,
    background: Floats | None,
) -> None:
    caplog.set_level(logging.INFO)
    version, other = add("one", background), add("other", seed=1)
    activate_models(settings, [])
    method = Method.TREE_PATH_DEPENDENT if background is None else Method.INTERVENTIONAL
    path = tables_path(version, method, settings.compiled_dir) or Path()
    kept = tables_path(other, Method.TREE_PATH_DEPENDENT, settings.compiled_dir) or Path()
    whole, files = path.read_bytes(), written(settings)
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(whole))
    activations = activate_models(settings, [])
    assert verified(caplog) == [2, 1]
    assert all(is_compiled(method) for method in activations.versions["one@1"].methods.values())
    assert path.read_bytes() == whole
    again = written(settings)
    assert again.keys() == files.keys()
    assert again[path] > files[path]
    assert again[kept] == files[kept]


def test_another_limit_verifies_again(
    settings: Settings, add: Callable[..., ModelVersion], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    add("one")
    keys = [
        activate_models(one, []).versions["one@1"].key
        for one in (
            settings,
            settings,
            replace(settings, activation_seconds=77),
            replace(settings, activation_memory_mb=444),
        )
    ]
    assert verified(caplog) == [1, 0, 1, 1]
    assert len({*keys}) == 3


def test_another_build_verifies_again(
    settings: Settings,
    add: Callable[..., ModelVersion],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO)
    add("one")
    activate_models(settings, [])
    monkeypatch.setattr(model_activation, "library_versions", lambda: {"xgboost": "another"})
    activate_models(settings, [])
    assert verified(caplog) == [1, 1]


def test_what_is_too_deep_for_tables_against_a_background_is_shaps_and_compiled_otherwise(
    settings: Settings,
    add: Callable[..., ModelVersion],
    caplog: pytest.LogCaptureFixture,
    nothing_is_verified: Callable[[], None],
) -> None:
    version = add("deep", rows_of(0, 9, 12), depth=10, features=12, min_child_weight=0)
    activations = activate_models(settings, [])
    methods = activations.versions["deep@1"].methods
    assert methods[VALUES].engine == methods[ExplanationKind.INTERACTIONS].engine == activations.engine
    assert methods[INTERVENTIONAL].engine == SHAP
    assert "too deep for tables" in (methods[INTERVENTIONAL].reason or "")
    assert {*written(settings)} == {tables_path(version, Method.TREE_PATH_DEPENDENT, settings.compiled_dir)}
    (said,) = [line for line in caplog.records if line.levelno == logging.WARNING]
    assert said.getMessage() == f"a slower engine explains: {methods[INTERVENTIONAL].reason}"
    assert said.__dict__["method"] == "interventional"
    files = written(settings)
    nothing_is_verified()
    activate_models(settings, [])
    assert written(settings) == files


def test_of_a_model_without_background_rows_nothing_is_said(
    settings: Settings, add: Callable[..., ModelVersion], caplog: pytest.LogCaptureFixture
) -> None:
    add("one")
    assert {*activate_models(settings, []).versions["one@1"].methods} == {
        VALUES,
        ExplanationKind.INTERACTIONS,
    }
    assert not [line for line in caplog.records if line.levelno >= logging.WARNING]


ACTIVATE = """
import sys
from dataclasses import replace
from pathlib import Path
from ops.run.model_activation import activate_models
from shared.settings import Settings
activate_models(replace(Settings(), data_dir=Path(sys.argv[1]), models_dir=Path(sys.argv[2])), [])
"""


def test_what_is_killed_while_it_activates_leaves_whole_files_and_the_next_start_does_the_rest(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    settings = replace(settings, models_dir=ROOT / "models")
    words = [str(settings.data_dir), str(settings.models_dir)]
    with subprocess.Popen([sys.executable, "-c", ACTIVATE, *words], cwd=ROOT) as start:
        deadline = time.monotonic() + 60
        while not settings.activations_file.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        start.kill()
    known = Activations.read(settings.activations_file).versions
    whole = {path: path.read_bytes() for path in written(settings)}
    assert 1 <= len(known) < 3
    assert len(whole) >= 2 * len(known)
    activations = activate_models(settings, [])
    assert verified(caplog) == [3 - len(known)]
    assert tuple(activations.versions) == SHIPPED
    assert known.items() <= activations.versions.items()
    assert len(written(settings)) == 6
    assert all(path.read_bytes() == content for path, content in whole.items())


def test_a_model_that_is_not_covered_is_xgboosts_with_its_reason_and_the_others_are_compiled(
    settings: Settings, add: Callable[..., ModelVersion], caplog: pytest.LogCaptureFixture
) -> None:
    add("linear", booster="gblinear")
    tree = add("tree")
    activations = activate_models(settings, [])
    linear = activations.versions["linear@1"].methods[VALUES]
    assert linear.engine == XGBOOST
    assert "no trees" in (linear.reason or "")
    assert is_compiled(activations.versions["tree@1"].methods[VALUES])
    assert {*written(settings)} == {tables_path(tree, Method.TREE_PATH_DEPENDENT, settings.compiled_dir)}
    said = [line for line in caplog.records if line.levelno == logging.WARNING]
    assert {line.__dict__["model"] for line in said} == {"linear@1"}
    assert f"a slower engine explains: {linear.reason}" in [line.getMessage() for line in said]


def test_what_belongs_to_no_model_is_removed(settings: Settings, add: Callable[..., ModelVersion]) -> None:
    path = tables_path(add("one"), Method.TREE_PATH_DEPENDENT, settings.compiled_dir)
    strangers = [settings.compiled_dir / name for name in ("abc-1.shaptables", ".compiling-x", "old.new")]
    for stranger in strangers:
        stranger.write_bytes(b"")
    activate_models(settings, [])
    assert set(settings.compiled_dir.iterdir()) == {path, settings.activations_file}


def test_without_kernels_the_best_engine_is_xgboost_and_that_is_said(
    settings: Settings,
    add: Callable[..., ModelVersion],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    add("one")
    with_kernels = activate_models(settings, []).versions["one@1"].key
    monkeypatch.setattr(model_activation, "find_library", lambda: None)
    activations = activate_models(settings, [])
    assert activations.engine == Activations.read(settings.activations_file).engine == XGBOOST
    assert activations.versions["one@1"].key != with_kernels
    assert "kernels of the compiled engine are not built" in caplog.text


def crashing(version: ModelVersion) -> None:
    """Put a model in the place of another whose root's children are where XGBoost may not read."""
    booster, _ = train(2, 2, 3)
    document = json.loads(bytes(booster.save_raw("json")))
    tree = document["learner"]["gradient_booster"]["model"]["trees"][0]
    tree["left_children"][0] = tree["right_children"][0] = 10**9
    replace_model(version, bytes(load(document).save_raw("ubj")))


def test_a_model_that_kills_its_activation_costs_only_itself_and_is_not_tried_again(
    settings: Settings,
    add: Callable[..., ModelVersion],
    caplog: pytest.LogCaptureFixture,
    nothing_is_verified: Callable[[], None],
) -> None:
    crashing(add("crashes"))
    add("other")
    activations = activate_models(settings, check_models(settings))
    refused = activations.versions["crashes@1"]
    assert refused.state is State.REFUSED
    assert "its inspection failed with SIGSEGV" in (refused.reason or "")
    assert activations.versions["other@1"].state is State.READY
    assert require_ready_models(settings, activations) == 1
    (said,) = [line for line in caplog.records if line.levelno == logging.ERROR]
    assert said.getMessage() == f"model refused: {refused.reason}"
    assert said.__dict__["model"] == "crashes@1"
    nothing_is_verified()
    assert activate_models(settings, check_models(settings)) == activations


def test_a_manifest_that_contradicts_its_model_costs_only_itself(
    settings: Settings, add: Callable[..., ModelVersion]
) -> None:
    add("other")
    booster, _ = train(2, 2, 3)
    few = contract_of(booster).features[:2]
    add_model(settings.models_dir, booster, "too-few", features=few)
    activations = activate_models(settings, check_models(settings))
    assert activations.versions["too-few@1"].state is State.REFUSED
    catalog = ModelCatalog.load(settings.models_dir, activations=activations)
    assert [version.id for version in catalog.versions()] == ["other@1"]
    assert [refused.id for refused in catalog.refused()] == ["too-few@1"]


def test_a_model_whose_files_are_at_fault_is_recorded_as_refused_with_all_faults_and_the_remedy(
    settings: Settings, add: Callable[..., ModelVersion], nothing_is_verified: Callable[[], None]
) -> None:
    add("other")
    version = add("faulty", rows_of(0, 9, 3))
    version.model_path.write_bytes(b"short")
    assert version.background_path is not None
    version.background_path.unlink()
    activations = activate_models(settings, check_models(settings))
    refused = activations.versions["faulty@1"]
    assert refused.state is State.REFUSED
    assert "model.ubj is truncated" in (refused.reason or "")
    assert "background.npy cannot be read" in (refused.reason or "")
    assert (refused.reason or "").count("`python -m ops.models add faulty FILE --version 1`") == 1
    assert activations.versions["other@1"].state is State.READY
    nothing_is_verified()
    assert activate_models(settings, check_models(settings)) == activations


def test_a_mended_model_is_served_at_the_next_start(
    settings: Settings, add: Callable[..., ModelVersion]
) -> None:
    add("other")
    version = add("mended")
    whole = version.model_path.read_bytes()
    version.model_path.write_bytes(b"short")
    assert require_ready_models(settings, activate_models(settings, check_models(settings))) == 1
    version.model_path.write_bytes(whole)
    assert require_ready_models(settings, activate_models(settings, check_models(settings))) == 2


def test_if_no_model_is_ready_the_start_ends_and_names_each(
    settings: Settings, add: Callable[..., ModelVersion]
) -> None:
    for name in ("first", "second"):
        crashing(add(name))
    activations = activate_models(settings, check_models(settings))
    with pytest.raises(BootError, match=r"first@1: .*SIGSEGV(.|\n)*second@1: .*SIGSEGV"):
        require_ready_models(settings, activations)


def test_a_default_model_that_is_refused_ends_the_start(
    settings: Settings, add: Callable[..., ModelVersion]
) -> None:
    crashing(add("crashes"))
    add("other")
    activations = activate_models(settings, check_models(settings))
    with pytest.raises(
        BootError, match=r"DEFAULT_MODEL cannot be served: Model crashes@1 is refused: .*SIGSEGV"
    ):
        require_ready_models(replace(settings, default_model="crashes"), activations)
    assert require_ready_models(replace(settings, default_model="other"), activations) == 1


def test_a_placeholder_is_served_although_the_model_that_it_replaces_is_recorded_as_refused(
    settings: Settings, add: Callable[..., ModelVersion]
) -> None:
    settings = replace(settings, allow_fallback_model=True, default_model="faulty")
    add("other")
    add("faulty").model_path.write_bytes(b"short")
    activations = activate_models(settings, check_models(settings))
    assert activations.versions["faulty@1"].state is State.REFUSED
    assert require_ready_models(settings, activations) == 2
    catalog = ModelCatalog.load(settings.models_dir, settings.placeholders_dir, activations)
    assert catalog.get("faulty").fallback
    assert catalog.refused() == ()


def test_a_record_that_cannot_be_written_ends_the_start(
    settings: Settings, add: Callable[..., ModelVersion]
) -> None:
    add("one")
    settings.activations_file.mkdir()
    with pytest.raises(BootError, match="cannot be written"):
        activate_models(settings, [])


def test_another_background_is_compiled_anew_and_the_file_of_the_old_one_goes(settings: Settings) -> None:
    shutil.copytree(ROOT / "models" / "diabetes", settings.models_dir / "diabetes")
    folder = settings.models_dir / "diabetes" / "1"
    activate_models(settings, [])
    before = {*settings.compiled_dir.glob("*.shaptables")}
    rows = np.load(folder / "background.npy")[:10]
    np.save(folder / "background.npy", rows)
    content = (folder / "background.npy").read_bytes()
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    manifest["background"] |= {"sha256": hashlib.sha256(content).hexdigest(), "rows": len(rows)}
    (folder / "manifest.json").write_bytes(orjson.dumps(manifest))
    activations = activate_models(settings, check_models(settings))
    after = {*settings.compiled_dir.glob("*.shaptables")}
    assert is_compiled(activations.versions["diabetes@1"].methods[INTERVENTIONAL])
    assert (len(before - after), len(after - before), len(after)) == (1, 1, 2)


def test_a_background_that_was_altered_is_found_before_and_in_the_child(settings: Settings) -> None:
    shutil.copytree(ROOT / "models" / "diabetes", settings.models_dir / "diabetes")
    shutil.copytree(ROOT / "models" / "wine", settings.models_dir / "wine")
    path = settings.models_dir / "diabetes" / "1" / "background.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    activations = activate_models(settings, check_models(settings))
    assert activations.versions["wine@1"].state is State.READY
    assert "background.npy was altered" in (activations.versions["diabetes@1"].reason or "")
    # As if it were altered after the check: what is made of it is named after what the manifest says.
    record = activate_models(settings, []).versions["diabetes@1"]
    assert record.state is State.REFUSED
    assert "background.npy was altered" in (record.reason or "")
