from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from shared.errors import ModelFaultError, ModelNotFoundError
from shared.models.catalog import ModelCatalog, find_faults
from shared.models.store import ModelDraft, write_model_folder

if TYPE_CHECKING:
    from pathlib import Path

    from shared.models.version import ModelVersion


def make(root: Path, name: str = "wine", version: int = 1, *, fallback: bool = False) -> ModelVersion:
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    draft = ModelDraft(
        name=name,
        version=version,
        model=b"the catalog never looks into a model",
        features=("a", "b"),
        outputs=("margin",),
        objective="reg:squarederror",
        xgboost_version="3.4.1",
        training={},
        background=rows,
        examples=rows[:1],
        fallback=fallback,
    )
    return write_model_folder(root, draft)


def change_manifest(where: ModelVersion, **changes: Any) -> None:
    path = where.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_models_are_found_by_name_and_by_version(tmp_path: Path) -> None:
    for version in (1, 2, 10):
        make(tmp_path, "wine", version)
    make(tmp_path, "bread")
    catalog = ModelCatalog.load(tmp_path, tmp_path / "no-standins")

    assert catalog.get("wine").id == "wine@10"
    assert catalog.get("wine@2").version == 2
    assert [version.id for version in catalog.versions()] == ["bread@1", "wine@1", "wine@2", "wine@10"]
    assert [version.id for version in catalog.latest()] == ["bread@1", "wine@10"]
    assert len(catalog) == 4
    assert catalog.get("bread").examples_path == tmp_path / "bread/1/examples.npy"


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "@",
        "@1",
        "beer",
        "wine@",
        "wine@3",
        "wine@01",
        "wine@1@1",
        "wine@-1",
        "wine@²",
        "../wine",
        "wine/1",
        "x" * 999,
    ],
)
def test_an_unknown_model_is_not_found_and_the_known_ones_are_listed(tmp_path: Path, wanted: str) -> None:
    make(tmp_path)

    with pytest.raises(ModelNotFoundError, match=r"Use one of: wine@1\.") as refused:
        ModelCatalog.load(tmp_path).get(wanted)

    assert len(str(refused.value)) < 200


def test_a_standin_takes_the_place_of_the_broken_model(tmp_path: Path) -> None:
    broken = make(tmp_path / "models", version=2)
    make(tmp_path / "models", version=1)
    (broken.folder / "manifest.json").write_bytes(b"{")
    make(tmp_path / "standins", version=2, fallback=True)

    catalog = ModelCatalog.load(tmp_path / "models", tmp_path / "standins")

    assert catalog.get("wine").fallback
    assert catalog.get("wine").folder == tmp_path / "standins/wine/2"
    assert not catalog.get("wine@1").fallback


def test_a_broken_manifest_is_never_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "bread")
    (make(tmp_path).folder / "manifest.json").unlink()

    with pytest.raises(ModelFaultError, match=r"wine/1/manifest\.json cannot be read.*Restore"):
        ModelCatalog.load(tmp_path)


def test_no_models_at_all_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ModelFaultError, match="there is no model in"):
        ModelCatalog.load(tmp_path)
    (fault,) = find_faults(tmp_path / "nowhere")
    assert "there is no folder" in fault.what
    assert "MODELS_DIR" in fault.remedy


def test_whole_models_have_no_faults_and_strangers_beside_them_do_not_matter(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "train.py").write_text("")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "wine/.adding-x").mkdir()

    assert find_faults(tmp_path) == []
    assert len(ModelCatalog.load(tmp_path)) == 1


def _truncate(version: ModelVersion) -> None:
    content = version.model_path.read_bytes()
    version.model_path.write_bytes(content[:10])


def _alter(version: ModelVersion) -> None:
    content = bytearray(version.model_path.read_bytes())
    content[5] ^= 1
    version.model_path.write_bytes(content)


def _lose_background(version: ModelVersion) -> None:
    (version.folder / "background.npy").unlink()


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (_truncate, "model.ubj is truncated: 10 bytes of 36"),
        (_alter, "model.ubj was altered or truncated"),
        (lambda version: version.model_path.write_bytes(b""), "model.ubj is empty"),
        (lambda version: version.model_path.unlink(), "model.ubj cannot be read: No such file or directory"),
        (lambda version: change_manifest(version, sha256="0" * 64), "model.ubj was altered or truncated"),
        (_lose_background, "background.npy cannot be read: No such file or directory"),
        (lambda version: (version.folder / "examples.npy").write_bytes(b"x"), "examples.npy was altered"),
        (
            lambda version: change_manifest(version, features=["a", "b", "c"]),
            "is float32 (3, 2), not float32 (3, 3)",
        ),
        (
            lambda version: change_manifest(version, version=7),
            "says it is wine@7, which is not where it lies",
        ),
        (lambda version: (version.folder / "manifest.json").write_bytes(b""), "it is empty"),
        (lambda version: shutil.rmtree(version.folder), "manifest.json cannot be read"),
    ],
)
def test_damage_is_named_with_its_remedy(tmp_path: Path, damage: Any, what: str) -> None:
    version = make(tmp_path)
    damage(version)

    faults = find_faults(tmp_path)

    assert what in faults[0].what
    assert faults[0].model == "wine@1"
    assert faults[0].folder == tmp_path / "wine/1"
    assert faults[0].remedy.startswith(f"Restore {tmp_path}/wine/1 from version control")
    assert str(faults[0]).count("Restore") == 1


def test_a_folder_with_a_name_that_no_model_has_is_a_fault(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "Wine Copy/1").mkdir(parents=True)

    (fault,) = find_faults(tmp_path)

    assert "Wine Copy/1 is not named as a model's folder is" in fault.what
    assert fault.remedy.startswith("Name it NAME/VERSION")
