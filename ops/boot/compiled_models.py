"""Models are compiled before the appliance starts: the workers map what comes of it, and never need XGBoost for them."""

from __future__ import annotations

import logging
from pathlib import Path

from services.worker.model_compilation import compile_models
from shared.engine_record import XGBOOST, EngineRecord
from shared.errors import BootError
from shared.model_catalog import ModelCatalog
from shared.model_version import ModelVersion
from shared.settings import Settings
from shared.treeshap.library import find_library
from shared.treeshap.table_file import TableFileError, read_tables, table_path

_log = logging.getLogger(__name__)


def activate_models(settings: Settings) -> EngineRecord:
    """Compile what is not compiled yet, remove what belongs to no model, and record each model's engine.

    No model is refused for that: XGBoost explains what cannot be compiled. Raises BootError if the record cannot be
    written.
    """
    versions = ModelCatalog.load(settings.models_dir, settings.standins_dir).versions()
    library = find_library()
    record = EngineRecord()
    if library is None:
        _log.warning("the kernels of the compiled engine are not built: XGBoost explains everything")
    else:
        reasons = _compile_missing(versions, settings.compiled_dir)
        engine = library.kernels()[0].engine
        models = {version.id: XGBOOST if version.id in reasons else engine for version in versions}
        record = EngineRecord(engine, models, reasons)
    for model, reason in record.reasons.items():
        _log.warning("XGBoost explains a model that is not compiled", extra={"model": model, "cause": reason})
    try:
        _remove_others(versions, settings.compiled_dir)
        record.write(settings.engines_file)
    except OSError as error:
        raise BootError(f"{settings.compiled_dir} cannot be written: {error.strerror or error}.") from error
    return record


def _compile_missing(versions: tuple[ModelVersion, ...], folder: Path) -> dict[str, str]:
    """Return why some models are not compiled, by NAME@VERSION."""
    missing = [version for version in versions if _fault(version, folder) is not None]
    reasons = compile_models(missing, folder)
    for version in missing:
        if version.id not in reasons and (fault := _fault(version, folder)) is not None:
            reasons[version.id] = fault
    return reasons


def _fault(version: ModelVersion, folder: Path) -> str | None:
    sha256 = version.manifest.sha256
    try:
        read_tables(table_path(folder, sha256), sha256)
    except (TableFileError, OSError) as error:
        return str(error)
    return None


def _remove_others(versions: tuple[ModelVersion, ...], folder: Path) -> None:
    """Remove files of models that are gone, of other versions of the format, and half-written ones."""
    wanted = {table_path(folder, version.manifest.sha256) for version in versions}
    for path in folder.iterdir():
        if path not in wanted and path.is_file():
            path.unlink(missing_ok=True)
