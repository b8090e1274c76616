"""Activates models before the start, and reuses records of the same files and build."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson

from shared.build import ROOT, library_versions
from shared.errors import BootError
from shared.jobs.document import Method
from shared.models.activation.activate import CLOCK_TIMES, Limits, activate_version
from shared.models.activation.records import XGBOOST, Activations, State, VersionRecord, is_compiled
from shared.models.catalog import ModelFault, manifest_digest, with_record
from shared.models.contract import is_model_folder
from shared.models.version import ModelVersion, read_version, version_folders
from shared.settings import Settings
from shared.treeshap.library import LIBRARY, Library, find_library
from shared.treeshap.table_file import TableFileError, read_tables, table_path

#: The children that one activation takes, one after the other, at most, and seconds that boot adds to their time limits.
CHILDREN, SPARE_SECONDS = 4, 60.0
#: Is told what begins, and within how many seconds it ends.
type Step = Callable[[str, float], None]
#: The code that an activation's outcome depends on.
CODE = ("shared", "services/worker")

_log = logging.getLogger(__name__)


def tell_nobody(_what: str, _seconds: float) -> None:
    """Ignore a step."""


def activate_models(
    settings: Settings, faults: list[ModelFault], tell_step: Step = tell_nobody
) -> Activations:
    """Activate every version that needs it; refuse those with `faults` in their files.

    A version that is refused affects no other. Raises BootError if the record cannot be written.
    """
    library = find_library()
    if library is None:
        _log.warning("the kernels of the compiled engine are not built: XGBoost and shap explain everything")
    engine = XGBOOST if library is None else library.kernels()[0].engine
    faulty, began = {fault.folder for fault in faults}, time.monotonic()
    versions = [read_version(one) for one in version_folders(settings.models_dir) if one not in faulty]
    records = _refused(faults)
    try:
        build = _build_digest(settings, library)
        verified = _ensure_records(settings, versions, records, engine, build, tell_step)
        activations = Activations(engine, records)
        activations.write(settings.activations_file)
        wanted = {path for one in versions for path in _tables(one, records[one.id], settings).values()}
        for path in {*settings.compiled_dir.iterdir()} - wanted - {settings.activations_file}:
            # Tables without a version, those of other formats, and half-written ones.
            if path.is_file():
                path.unlink(missing_ok=True)
    except OSError as error:
        raise BootError(f"{settings.compiled_dir} cannot be written: {error.strerror or error}.") from error
    seconds = round(time.monotonic() - began, 2)
    _log.info("models activated", extra={"verified": verified, "versions": len(records), "seconds": seconds})
    _tell(activations)
    return activations


def _ensure_records(
    settings: Settings,
    versions: list[ModelVersion],
    records: dict[str, VersionRecord],
    engine: str,
    build: str,
    tell_step: Step,
) -> int:
    """Add each version's record, known or new; return how many are new."""
    known = dict(Activations.read(settings.activations_file).versions)
    new: list[tuple[ModelVersion, str]] = []
    for version in versions:
        # It names everything that the outcome depends on: the manifest has the hashes of the files.
        key = hashlib.sha256(f"{build} {manifest_digest(version.folder)}".encode()).hexdigest()
        record = known.get(version.id)
        if record is None or record.key != key or not _has_tables(version, record, settings):
            new.append((version, key))
    longest = CHILDREN * CLOCK_TIMES * settings.activation_seconds + SPARE_SECONDS
    for number, (version, key) in enumerate(new, 1):
        about = {"model": version.id, "number": f"{number} of {len(new)}"}
        tell_step(f"Model {about['number']}, {version.id}, is being activated.", longest)
        _log.info("activating a model", extra=about)
        record = known[version.id] = _activate(version, settings, key)
        _log.info("model activated", extra={**about, "state": record.state.value, "seconds": record.seconds})
        # At once: the start after one that was killed goes on with the next model.
        Activations(engine, {**known, **records}).write(settings.activations_file)
    records.update((version.id, known[version.id]) for version in versions)
    return len(new)


def _refused(faults: list[ModelFault]) -> dict[str, VersionRecord]:
    """Refuse each version with all faults of its files; other faults refuse none."""
    by_model: dict[str, list[ModelFault]] = {}
    for fault in faults:
        if is_model_folder(fault.folder):
            by_model.setdefault(fault.model, []).append(fault)
    reasons = {
        model: f"{'; '.join(one.what for one in some)}. {some[0].remedy}" for model, some in by_model.items()
    }
    return {model: VersionRecord("", State.REFUSED, reason) for model, reason in reasons.items()}


def _limits(settings: Settings) -> Limits:
    return Limits(settings.activation_growth_mb, settings.activation_seconds)


def _build_digest(settings: Settings, library: Library | None) -> str:
    """Return a digest of the code, the kernels, the libraries and the limits."""
    digest = hashlib.sha256()
    files = sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py"))
    for path in [*files, *([LIBRARY] if LIBRARY.exists() else [])]:
        digest.update(path.read_bytes())
    limits, kernels = _limits(settings), [] if library is None else [one.name for one in library.kernels()]
    digest.update(orjson.dumps([library_versions(), kernels, limits.memory_mb, limits.seconds]))
    return digest.hexdigest()


def _activate(version: ModelVersion, settings: Settings, key: str) -> VersionRecord:
    try:
        record = activate_version(version, settings.compiled_dir, _limits(settings), key)
    except OSError as error:
        record = VersionRecord("", State.REFUSED, f"its activation cannot be started: {error}")
    return replace(record, manifest=manifest_digest(version.folder))


def _tables(version: ModelVersion, record: VersionRecord, settings: Settings) -> dict[str, Path]:
    """Return the files that were compiled for a version, by their keys."""
    activated = with_record(version, record)
    keys = (activated.tables_key(one) for one in Method if is_compiled(activated.method_record(one)))
    return {key: table_path(settings.compiled_dir, key) for key in keys if key}


def _has_tables(version: ModelVersion, record: VersionRecord, settings: Settings) -> bool:
    """Tell whether each compiled file is there and whole."""
    try:
        for key, path in _tables(version, record, settings).items():
            read_tables(path, key)
    except (TableFileError, OSError):
        return False
    return True


def _tell(activations: Activations) -> None:
    """Log what is refused, and what a slower engine explains."""
    for model, record in activations.versions.items():
        if record.state is State.REFUSED:
            _log.error("model refused: %s", record.reason, extra={"model": model})
        for name, method in record.methods.items():
            what = {"model": model, "method": name.value}
            if method.engine is None:
                _log.warning("method refused: %s", method.reason, extra=what)
            elif method.reason is not None:
                what["engine"] = method.engine
                _log.warning("a slower engine explains: %s", method.reason, extra=what)
