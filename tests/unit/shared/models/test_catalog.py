from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import ModelFaultError, ModelNotFoundError, ModelRefusedError
from shared.jobs.document import Method
from shared.models.activation.records import Activations, ExplanationKind, MethodRecord, State, VersionRecord
from shared.models.catalog import ModelCatalog, find_faults, manifest_digest
from shared.models.contract import Contract, Feature, Trees, TreesReason
from shared.models.store import ModelDraft, write_model_folder
from shared.models.version import ModelVersion


def make(root: Path, name: str = "wine", version: int = 1, *, fallback: bool = False) -> ModelVersion:
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    contract = Contract(
        name=name,
        version=version,
        sha256="",
        features=(Feature("a"), Feature("b")),
        outputs=("margin",),
        objective="reg:squarederror",
        library_version="3.4.1",
        trees=Trees(2, 3, TreesReason.BEST_ITERATION),
        training={},
        fallback=fallback,
    )
    model = b"the catalog never looks into a model"
    return write_model_folder(root, ModelDraft(contract, model, background=rows, examples=rows[:1]))


def refused_for(reason: str, *ids: str) -> Activations:
    return Activations(versions=dict.fromkeys(ids, VersionRecord("key", State.REFUSED, reason)))


def change_manifest(where: ModelVersion, **changes: Any) -> None:
    path = where.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "checksum": None, **changes}))


def test_models_are_found_by_name_and_by_version(tmp_path: Path) -> None:
    for version in (1, 2, 10):
        make(tmp_path, "wine", version)
    make(tmp_path, "bread")
    catalog = ModelCatalog.load(tmp_path, tmp_path / "no-placeholders")
    assert (catalog.get("wine").id, catalog.get("wine@2").version) == ("wine@10", 2)
    assert [version.id for version in catalog.versions()] == ["bread@1", "wine@1", "wine@2", "wine@10"]
    assert [version.id for version in catalog.latest()] == ["bread@1", "wine@10"]
    assert len(catalog) == 4
    assert catalog.get("bread").examples_path == tmp_path / "bread/1/examples.npy"
    odd = ("wine@01", "wine@1@1", "wine@-1", "wine@²", "../wine", "wine/1", "x" * 999)
    for unknown in ("", "@", "@1", "beer", "wine@", "wine@3", *odd):
        with pytest.raises(ModelNotFoundError, match=r"Use one of: bread@1, wine@1, wine@2, wine@10\.") as no:
            catalog.get(unknown)
        assert len(str(no.value)) < 200


def test_a_placeholder_takes_the_place_of_a_broken_or_refused_model(tmp_path: Path) -> None:
    models, placeholders = tmp_path / "models", tmp_path / "placeholders"
    for version in (1, 2, 3):
        make(models, version=version)
    (models / "wine/2/manifest.json").write_bytes(b"{")
    for version in (2, 3):
        make(placeholders, version=version, fallback=True)
    catalog = ModelCatalog.load(models, placeholders, refused_for("it is slow", "wine@3"))
    assert [one.fallback for one in catalog.versions()] == [False, True, True]
    assert catalog.get("wine@2").folder == placeholders / "wine/2"
    assert catalog.get("wine").activation is None
    assert catalog.refused() == ()
    # A model in the models' folder that calls itself a placeholder obeys its record.
    make(models, "bread", fallback=True)
    catalog = ModelCatalog.load(models, placeholders, refused_for("it is slow", "bread@1"))
    assert [one.id for one in catalog.refused()] == ["bread@1"]


def test_an_unreadable_manifest_or_recorded_contract_refuses_its_version_and_no_other(tmp_path: Path) -> None:
    make(tmp_path, "bread")
    (make(tmp_path).folder / "manifest.json").unlink()
    (make(tmp_path, version=2).folder / "manifest.json").write_bytes(b"{")
    change_manifest(make(tmp_path, version=3), format=[])
    make(tmp_path, version=4)
    recorded = {"wine@4": VersionRecord("key", State.READY, contract={"format": 9})}
    catalog = ModelCatalog.load(tmp_path, activations=Activations(versions=recorded))
    assert [version.id for version in catalog.versions()] == ["bread@1"]
    assert [one.id for one in catalog.refused()] == ["wine@1", "wine@2", "wine@3", "wine@4"]
    assert [fault.model for fault in find_faults(tmp_path)] == ["wine@1", "wine@2", "wine@3"]
    assert all(one.contract is None and one.activation is None for one in catalog.refused())
    for one, said in zip(
        catalog.refused(),
        (
            "wine/1/manifest.json cannot be read: No such file",
            "wine/2/manifest.json cannot be used: it is not JSON",
            "its format is []",
            "its format is 9",
        ),
        strict=True,
    ):
        assert said in one.reason
        assert one.reason.count("Restore") == 1
    shutil.rmtree(tmp_path / "bread")
    with pytest.raises(ModelFaultError, match=r"(?s)wine@1: .*wine@4: .*its format is 9"):  # all are told
        ModelCatalog.load(tmp_path, activations=Activations(versions=recorded))


def test_a_version_that_activation_refused_is_listed_with_its_reason(tmp_path: Path) -> None:
    make(tmp_path, "bread")
    for version in (2, 10):
        make(tmp_path, version=version)
    older, newer = (
        VersionRecord("key", State.REFUSED, f"the {which} reason") for which in ("older", "newer")
    )
    catalog = ModelCatalog.load(tmp_path, activations=Activations(versions={"wine@10": newer}))
    assert catalog.get("wine").id == "wine@2"
    [refused] = catalog.refused()
    assert (refused.id, refused.reason, refused.activation) == ("wine@10", "the newer reason", newer)
    assert refused.contract is not None
    assert refused.contract.id == "wine@10"

    records = {"wine@2": older, "wine@10": newer}  # all of them: the highest is told
    catalog = ModelCatalog.load(tmp_path, activations=Activations(versions=records))
    for wanted in ("wine", "wine@10"):
        with pytest.raises(ModelRefusedError, match="Model wine@10 is refused: the newer reason"):
            catalog.get(wanted)
    for unknown in ("wine@3", "win"):
        with pytest.raises(ModelNotFoundError):
            catalog.get(unknown)
    assert [(one.name, one.version) for one in catalog.refused()] == [("wine", 2), ("wine", 10)]
    assert catalog.find_refused("wine") == catalog.refused()[1]
    assert catalog.find_refused("bread") is catalog.find_refused("wine@3") is None


def test_what_activation_found_goes_with_a_version_unless_its_files_are_others_now(tmp_path: Path) -> None:
    version = make(tmp_path)
    interactions = MethodRecord(None, "they are off by 0.5")
    compiled = MethodRecord("compiled-avx2", difference=1e-7, residual=1e-8, row_microseconds=1.5)
    methods = {ExplanationKind.INTERACTIONS: interactions, ExplanationKind.TREE_PATH_DEPENDENT: compiled}
    record = VersionRecord("key", State.READY, methods=methods)
    found = ModelCatalog.load(tmp_path, activations=Activations(versions={"wine@1": record})).get("wine")
    assert found.activation == record
    assert found.method_record(Method.TREE_PATH_DEPENDENT) == compiled
    assert found.method_record(ExplanationKind.INTERACTIONS) == interactions
    # Nothing is recorded of it: the libraries explain it.
    assert found.method_record(Method.INTERVENTIONAL).engine == "shap"

    record = VersionRecord("key", State.REFUSED, "it was another model", manifest="0" * 64)
    assert ModelCatalog.load(tmp_path, None, Activations(versions={version.id: record})).refused() == ()
    record = replace(record, manifest=manifest_digest(version.folder))
    with pytest.raises(ModelFaultError, match="it was another model"):
        ModelCatalog.load(tmp_path, None, Activations(versions={version.id: record}))


def test_a_manifest_of_format_1_is_completed_from_the_record(tmp_path: Path) -> None:
    whole = make(tmp_path).contract
    old = {
        "name": "wine",
        "version": 1,
        "sha256": whole.sha256,
        "features": ["a", "b"],
        "outputs": ["margin"],
        "objective": "reg:squarederror",
        "xgboost_version": "3.0.5",
        "training": {},
    }
    (tmp_path / "wine/1/manifest.json").write_text(json.dumps(old))
    record = VersionRecord("key", State.READY, contract=json.loads(whole.to_json()))
    assert ModelCatalog.load(tmp_path).get("wine").contract.trees is None
    version = ModelCatalog.load(tmp_path, activations=Activations(versions={"wine@1": record})).get("wine")
    assert version.contract == whole


def test_no_models_at_all_and_a_wrong_name_are_faults_and_strangers_do_not_matter(tmp_path: Path) -> None:
    with pytest.raises(ModelFaultError, match="there is no model in"):
        ModelCatalog.load(tmp_path)
    (fault,) = find_faults(tmp_path / "nowhere")
    assert "there is no folder" in fault.what
    assert "MODELS_DIR" in fault.remedy
    make(tmp_path)
    (tmp_path / "train.py").write_text("")
    for stranger in ("__pycache__", "wine/.adding-x"):
        (tmp_path / stranger).mkdir()
    assert find_faults(tmp_path) == []
    assert len(ModelCatalog.load(tmp_path)) == 1
    (tmp_path / "Wine Copy/1").mkdir(parents=True)
    (fault,) = find_faults(tmp_path)
    assert "Wine Copy/1 is not named as a model's folder is" in fault.what
    assert fault.remedy.startswith("Name it NAME/VERSION")


def _alter(version: ModelVersion) -> None:
    content = bytearray(version.model_path.read_bytes())
    content[5] ^= 1
    version.model_path.write_bytes(content)


def _background(content: bytes) -> Callable[[ModelVersion], None]:
    """Put a file in the background's place that the manifest names."""

    def damage(version: ModelVersion) -> None:
        (version.folder / "background.npy").write_bytes(content)
        entry = {"file": "background.npy", "sha256": hashlib.sha256(content).hexdigest(), "rows": 3}
        change_manifest(version, background=entry)

    return damage


def _matrix(shape: str) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def _archive() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, rows=np.zeros((3, 2), dtype=np.float32))
    return buffer.getvalue()


THREE = [{"name": name, "kind": "number"} for name in "abc"]
DAMAGE: list[tuple[Callable[[ModelVersion], object], str]] = [
    (lambda version: os.truncate(version.model_path, 10), "model.ubj is truncated: 10 bytes of 36"),
    (_alter, "model.ubj was altered or truncated"),
    (lambda version: version.model_path.write_bytes(b""), "model.ubj is empty"),
    (lambda version: version.model_path.unlink(), "model.ubj cannot be read: No such file or directory"),
    (lambda version: change_manifest(version, sha256="0" * 64), "model.ubj was altered or truncated"),
    (
        lambda version: (version.folder / "background.npy").unlink(),
        "background.npy cannot be read: No such file",
    ),
    (lambda version: (version.folder / "examples.npy").write_bytes(b"x"), "examples.npy was altered"),
    (lambda version: change_manifest(version, features=THREE), "is float32 (3, 2), not float32 (3, 3)"),
    (lambda version: change_manifest(version, version=7), "says it is wine@7, which is not where it lies"),
    (lambda version: (version.folder / "manifest.json").write_bytes(b""), "it is empty"),
    (lambda version: shutil.rmtree(version.folder), "manifest.json cannot be read"),
    (_background(_archive()), "background.npy is an archive"),
    (_background(_matrix(f"({10**30}, 2)")), "background.npy is no .npy matrix"),
    (_background(_matrix("(9999999999, 9999999999)")), "background.npy is no .npy matrix"),
    (_background(_matrix("(" * 900)), "background.npy is no .npy matrix"),
]


def test_damage_is_named_with_its_remedy(tmp_path: Path) -> None:
    for number, (damage, what) in enumerate(DAMAGE):
        models_dir = tmp_path / str(number)
        damage(make(models_dir))
        fault = find_faults(models_dir)[0]
        assert what in fault.what
        assert (fault.model, fault.folder) == ("wine@1", models_dir / "wine/1")
        assert fault.remedy.startswith(f"Restore {models_dir}/wine/1 from version control")
        assert str(fault).count("Restore") == 1
