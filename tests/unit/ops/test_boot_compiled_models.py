import hashlib
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from ops.boot import compiled_models
from ops.boot.compiled_models import activate_models
from ops.boot.folders import make_folders
from services.worker import child_process, model_compilation
from services.worker.lean_xgboost import import_xgboost
from shared.engine_record import SHAP, EngineRecord
from shared.errors import BootError
from shared.jobs.document import Method
from shared.models.compiled_files import compiled_path
from shared.models.store import ModelDraft, write_model_folder
from shared.settings import Settings
from shared.treeshap.library import Library
from tests.unit.shared.treeshap.boosters import Floats, rows_of, train

ROOT = Path(__file__).parents[3]


@pytest.fixture
def settings(tmp_path: Path, library: Library) -> Settings:
    del library  # that it is built
    settings = replace(Settings(), data_dir=tmp_path / "data", models_dir=tmp_path / "models")
    make_folders(settings)
    return settings


@pytest.fixture
def add(settings: Settings) -> Callable[..., Path]:
    def add(name: str, background: Floats | None = None, **how: Any) -> Path:
        booster, _ = train(**{"depth": 2, "trees": 2, "features": 3, **how})
        draft = ModelDraft(
            name=name,
            version=1,
            model=bytes(booster.save_raw("ubj")),
            features=tuple(f"f{number}" for number in range(booster.num_features())),
            outputs=("y",),
            objective="reg:squarederror",
            xgboost_version=str(import_xgboost().__version__),
            training={},
            background=background,
        )
        version = write_model_folder(settings.models_dir, draft)
        method = Method.TREE_PATH_DEPENDENT if background is None else Method.INTERVENTIONAL
        return compiled_path(version, method, settings.compiled_dir) or Path()

    return add


def written(settings: Settings) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in settings.compiled_dir.glob("*.shaptables")}


def test_shipped_models_are_compiled_once_and_recorded(settings: Settings) -> None:
    settings = replace(settings, models_dir=ROOT / "models")
    record = activate_models(settings)
    assert record.engine.startswith("compiled-")
    assert dict(record.models) == dict.fromkeys(("breast-cancer@1", "diabetes@1", "wine@1"), record.engine)
    assert record.interventional == record.models
    assert not record.reasons
    assert not record.interventional_reasons
    assert EngineRecord.read(settings.engines_file) == record
    files = written(settings)
    assert len(files) == 6  # for each method one
    assert activate_models(settings) == record
    assert written(settings) == files


@pytest.mark.parametrize("background", [None, rows_of(0, 9, 3)], ids=["alone", "with background"])
@pytest.mark.parametrize(
    "damage", [lambda content: content[:-9], lambda content: content[:-1] + b"x", lambda _: b""]
)
def test_a_damaged_file_alone_is_made_again(
    settings: Settings,
    add: Callable[..., Path],
    damage: Callable[[bytes], bytes],
    background: Floats | None,
) -> None:
    path = add("one", background)
    activate_models(settings)
    whole, files = path.read_bytes(), written(settings)
    path.write_bytes(damage(whole))
    record = activate_models(settings)
    assert not record.reasons
    assert not record.interventional_reasons
    assert path.read_bytes() == whole
    again = written(settings)
    assert again.pop(path) > files.pop(path)
    assert again == files


def test_what_is_too_deep_for_tables_against_a_background_is_shaps_and_compiled_otherwise(
    settings: Settings, add: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = add("deep", rows_of(0, 9, 12), depth=10, features=12, min_child_weight=0)
    record = activate_models(settings)
    assert record.of("deep@1") == record.engine
    assert record.of("deep@1", Method.INTERVENTIONAL) == "shap"
    assert "too deep for tables" in record.interventional_reasons["deep@1"]
    assert not record.reasons
    assert not path.exists()
    (said,) = [line for line in caplog.records if line.levelno == logging.WARNING]
    assert said.getMessage().startswith("shap explains a model")
    assert said.__dict__["cause"] == record.interventional_reasons["deep@1"]
    files = written(settings)
    activate_models(settings)
    assert written(settings) == files


def test_of_a_model_without_background_rows_nothing_is_said(
    settings: Settings, add: Callable[..., Path]
) -> None:
    add("one")
    record = activate_models(settings)
    assert record.interventional == record.interventional_reasons == {}


def test_what_is_killed_while_it_compiles_leaves_whole_files_and_the_next_start_makes_the_rest(
    settings: Settings,
) -> None:
    settings = replace(settings, models_dir=ROOT / "models")
    folders = sorted(settings.models_dir.glob("*/1"))
    words = [word for method in Method for folder in folders for word in (method.value, str(folder))]
    command = [sys.executable, "-m", model_compilation.__name__, str(settings.compiled_dir), *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for _ in range(4):  # in the middle of those against a background
            child.stdout.readline()
        child.kill()
    whole = written(settings)
    assert len(whole) >= 4
    record = activate_models(settings)
    assert set(record.interventional.values()) == {record.engine}
    again = written(settings)
    assert len(again) == 6
    assert whole.items() <= again.items()


def test_a_model_that_is_not_covered_is_xgboosts_with_its_reason_and_the_others_are_compiled(
    settings: Settings, add: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    linear, tree = add("linear", booster="gblinear"), add("tree")
    record = activate_models(settings)
    assert record.of("linear@1") == "xgboost"
    assert "no trees" in record.reasons["linear@1"]
    assert record.of("tree@1") == record.engine
    assert (linear.exists(), tree.exists()) == (False, True)
    assert [line.__dict__["cause"] for line in caplog.records if line.levelno == logging.WARNING] == [
        record.reasons["linear@1"]
    ]


def test_what_belongs_to_no_model_is_removed(settings: Settings, add: Callable[..., Path]) -> None:
    path = add("one")
    strangers = [settings.compiled_dir / name for name in ("abc-1.shaptables", ".compiling-x", "old.new")]
    for stranger in strangers:
        stranger.write_bytes(b"")
    activate_models(settings)
    assert set(settings.compiled_dir.iterdir()) == {path, settings.engines_file}


def test_without_kernels_xgboost_explains_everything_and_that_is_said(
    settings: Settings,
    add: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    add("one")
    monkeypatch.setattr(compiled_models, "find_library", lambda: None)
    assert activate_models(settings) == EngineRecord()
    assert EngineRecord.read(settings.engines_file).of("one@1") == "xgboost"
    assert "kernels of the compiled engine are not built" in caplog.text


def test_a_model_that_kills_its_compilation_costs_only_itself(
    settings: Settings, add: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    add("crashes")
    add("other")
    run = child_process.run_module

    def crash(module: str, arguments: list[str], timeout: float) -> tuple[list[dict[str, Any]], str]:
        if "crashes" in arguments[2]:
            return [], "ended with -11 (it crashed)"
        return run(module, arguments, timeout)

    monkeypatch.setattr(model_compilation, "run_module", crash)
    record = activate_models(settings)
    assert record.reasons == {"crashes@1": "its compilation ended with -11 (it crashed)"}
    assert record.of("other@1") == record.engine


def test_a_record_that_cannot_be_written_ends_the_start(settings: Settings, add: Callable[..., Path]) -> None:
    add("one")
    settings.engines_file.mkdir()
    with pytest.raises(BootError, match="cannot be written"):
        activate_models(settings)


def test_another_background_is_compiled_anew_and_the_file_of_the_old_one_goes(settings: Settings) -> None:
    shutil.copytree(ROOT / "models" / "diabetes", settings.models_dir / "diabetes")
    folder = settings.models_dir / "diabetes" / "1"
    activate_models(settings)
    before = {*settings.compiled_dir.glob("*.shaptables")}
    rows = np.load(folder / "background.npy")[:10]
    np.save(folder / "background.npy", rows)
    content = (folder / "background.npy").read_bytes()
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    manifest["background"] |= {"sha256": hashlib.sha256(content).hexdigest(), "rows": len(rows)}
    (folder / "manifest.json").write_bytes(orjson.dumps(manifest))
    record = activate_models(settings)
    after = {*settings.compiled_dir.glob("*.shaptables")}
    assert record.interventional["diabetes@1"] == record.engine
    assert (len(before - after), len(after - before), len(after)) == (1, 1, 2)


def test_a_background_that_was_altered_is_left_to_shap_with_the_reason(settings: Settings) -> None:
    shutil.copytree(ROOT / "models" / "diabetes", settings.models_dir / "diabetes")
    path = settings.models_dir / "diabetes" / "1" / "background.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    record = activate_models(settings)
    assert record.models["diabetes@1"] == record.engine
    assert record.interventional["diabetes@1"] == SHAP
    assert "altered" in record.interventional_reasons["diabetes@1"]
