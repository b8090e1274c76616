"""Activated models, and what activation verifies of a booster."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from shared.engines.lean_xgboost import import_xgboost
from shared.models.activation.activate import Limits, activate_version
from shared.models.activation.inspection import inspect_booster
from shared.models.activation.records import Activations, State
from shared.models.activation.verification.model_under_test import ModelUnderTest
from shared.models.catalog import ModelCatalog
from shared.models.contract import Contract, Trees, link_of
from shared.models.store import ModelDraft, write_model_folder
from shared.models.version import ModelVersion
from shared.treeshap.library import Library
from tests.support.boosters import Floats

#: More than any model of a test takes.
AMPLE = Limits(memory_mb=2000, seconds=300)


def activated_catalog(models_dir: Path, compiled_dir: Path) -> ModelCatalog:
    """Activate all models, check that each is compiled for all methods, and return both."""
    records = {}
    for version in ModelCatalog.load(models_dir).versions():
        record = activate_version(version, compiled_dir, AMPLE, "key")
        assert record.state is State.READY, record.reason
        for method in record.methods.values():
            assert method.engine is not None, method.reason
            assert method.engine.startswith("compiled-"), method.reason
            assert method.reason is None
        records[version.id] = record
    (engine,) = {method.engine for record in records.values() for method in record.methods.values()}
    assert engine is not None
    return ModelCatalog.load(models_dir, activations=Activations(engine, records))


def contract_of(booster: Any, name: str = "trained", **more: Any) -> Contract:
    """Return the contract that an import would write for a booster of which all rounds count."""
    found = inspect_booster(booster, "model.ubj")
    contract = Contract(
        name=name,
        version=1,
        sha256="",
        features=found.features,
        outputs=tuple(f"y{output}" for output in range(found.outputs)),
        objective=found.objective,
        library_version=str(import_xgboost().__version__),
        training={},
        link=link_of(found.objective),
        trees=Trees(found.rounds, found.rounds),
    )
    return replace(contract, **more)


def add_model(
    models_dir: Path,
    booster: Any,
    name: str = "trained",
    background: Floats | None = None,
    expected: tuple[Floats, Floats] | None = None,
    **more: Any,
) -> ModelVersion:
    """Write a booster's folder `NAME/1`; `more` are other fields of its contract."""
    contract = contract_of(booster, name, **more)
    draft = ModelDraft(contract, bytes(booster.save_raw("ubj")), background, expected=expected)
    return write_model_folder(models_dir, draft)


def replace_model(version: ModelVersion, content: bytes) -> None:
    """Put other bytes in the place of a model, with the digest that its manifest must name."""

    version.model_path.write_bytes(content)
    path = version.folder / "manifest.json"
    manifest = orjson.loads(path.read_bytes())
    manifest |= {"sha256": sha256(content).hexdigest(), "size": len(content), "checksum": None}
    path.write_bytes(orjson.dumps(manifest))


def model_under_test(booster: Any, library: Library | None, **more: Any) -> ModelUnderTest:
    """Return what activation verifies of a booster; `more` are fields of its contract."""
    return ModelUnderTest.of(contract_of(booster, **more), booster, library)
