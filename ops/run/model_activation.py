"""Activates models before the start, and reuses records of the same files and build."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import orjson

from shared.build import ROOT, library_versions
from shared.engines.compiled_engine import tables_path
from shared.errors import BootError
from shared.jobs.document import Method
from shared.models.activation.activate import Limits, activate_version
from shared.models.activation.records import XGBOOST, Activations, State, VersionRecord, is_compiled
from shared.models.catalog import ModelCatalog, ModelFault, manifest_digest, with_record
from shared.models.contract import is_model_folder
from shared.models.version import ModelVersion
from shared.settings import Settings
from shared.treeshap.library import LIBRARY, find_library
from shared.treeshap.table_file import TableFileError, read_tables, table_path

#: The code that an activation's outcome depends on.
CODE = ("shared", "services/worker")

_log = logging.getLogger(__name__)


def activate_models(settings: Settings, faults: list[ModelFault]) -> Activations:
    """Activate every version that needs it; refuse those with `faults` in their files.

    A version that is refused affects no other. Raises BootError if the record cannot be written, or no version is ready.
    """
    known = Activations.read(settings.activations_file).versions
    library = find_library()
    if library is None:
        _log.warning("the kernels of the compiled engine are not built: XGBoost and shap explain everything")
    records = _records_of(faults)
    engine = XGBOOST if library is None else library.kernels()[0].engine
    build = _build_digest(settings)
    began, verified = time.monotonic(), 0
    served = []
    for version in _untouched(settings, records):
        key = _key(version, build)
        record = known.get(version.id)
        if record is None or record.key != key or _has_lost_tables(version, record, settings.compiled_dir):
            record = _activate(version, settings, key)
            verified += 1
            # At once: the start after one that was killed goes on with the next model.
            _write(settings, Activations(engine, {**known, **records, version.id: record}))
        records[version.id] = record
        served.append(with_record(version, record))
    activations = Activations(engine, records)
    _write(settings, activations, served)
    _log.info(
        "models activated",
        extra={"verified": verified, "versions": len(records), "seconds": round(time.monotonic() - began, 2)},
    )
    _tell(activations)
    return activations


def _activate(version: ModelVersion, settings: Settings, key: str) -> VersionRecord:
    try:
        record = activate_version(version, settings.compiled_dir, _limits(settings), key)
    except OSError as error:
        record = VersionRecord("", State.REFUSED, f"its activation cannot be started: {error}")
    return replace(record, manifest=manifest_digest(version.folder))


def _records_of(faults: list[ModelFault]) -> dict[str, VersionRecord]:
    """Refuse each version with all faults of its files; other faults refuse none."""
    by_model: dict[str, list[ModelFault]] = defaultdict(list)
    for fault in faults:
        if is_model_folder(fault.folder):
            by_model[fault.model].append(fault)
    return {
        model: VersionRecord(
            "", State.REFUSED, f"{'; '.join(fault.what for fault in some)}. {some[0].remedy}"
        )
        for model, some in by_model.items()
    }


def _untouched(settings: Settings, faulty: dict[str, VersionRecord]) -> tuple[ModelVersion, ...]:
    """Return the versions whose files are whole. A placeholder has the record of its model."""
    catalog = ModelCatalog.load(settings.models_dir, settings.placeholders_dir)
    return tuple(
        one
        for one in catalog.versions()
        if one.folder.parent.parent != settings.placeholders_dir and one.id not in faulty
    )


def _limits(settings: Settings) -> Limits:
    return Limits(settings.activation_growth_mb, settings.activation_seconds)


def _build_digest(settings: Settings) -> str:
    """Return a digest of the code, the kernels, the libraries and the limits."""
    digest = hashlib.sha256()
    for path in sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py")):
        digest.update(path.read_bytes())
    if LIBRARY.exists():
        digest.update(LIBRARY.read_bytes())
    library = find_library()
    kernels = [] if library is None else [kernel.name for kernel in library.kernels()]
    limits = _limits(settings)
    digest.update(orjson.dumps([library_versions(), kernels, limits.memory_mb, limits.seconds]))
    return digest.hexdigest()


def _key(version: ModelVersion, build: str) -> str:
    """Name everything that an activation's outcome depends on; the manifest has the hashes."""
    return hashlib.sha256(f"{build} {manifest_digest(version.folder)}".encode()).hexdigest()


def _has_lost_tables(version: ModelVersion, record: VersionRecord, folder: Path) -> bool:
    """Tell whether a file is missing or damaged that the record says was compiled."""
    if record.state is State.REFUSED:
        return False
    activated = with_record(version, record)
    for method in Method:
        if is_compiled(activated.method_record(method)):
            key = activated.tables_key(method) or ""
            try:
                read_tables(table_path(folder, key), key)
            except (TableFileError, OSError):
                return True
    return False


def _write(settings: Settings, activations: Activations, served: list[ModelVersion] | None = None) -> None:
    """Keep the record, and of the tables only those of `served`, if that is given."""
    try:
        activations.write(settings.activations_file)
        if served is not None:
            _remove_others(served, settings)
    except OSError as error:
        raise BootError(f"{settings.compiled_dir} cannot be written: {error.strerror or error}.") from error


def _remove_others(versions: list[ModelVersion], settings: Settings) -> None:
    """Remove tables without a version, those of other formats, and half-written ones."""
    folder = settings.compiled_dir
    wanted = {
        tables_path(version, method, folder)
        for version in versions
        for method in Method
        if is_compiled(version.method_record(method))
    }
    for path in folder.iterdir():
        if path not in wanted and path != settings.activations_file and path.is_file():
            path.unlink(missing_ok=True)


def _tell(activations: Activations) -> None:
    """Log what is refused, and what a slower engine explains."""
    for model, record in activations.versions.items():
        if record.state is State.REFUSED:
            _log.error("model refused: %s", record.reason, extra={"model": model})
        for name, method in record.methods.items():
            if method.engine is None:
                _log.warning(
                    "method refused: %s", method.reason, extra={"model": model, "method": name.value}
                )
            elif method.reason is not None:
                what = {"model": model, "method": name.value, "engine": method.engine}
                _log.warning("a slower engine explains: %s", method.reason, extra=what)
