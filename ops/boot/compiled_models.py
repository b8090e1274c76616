"""Models are compiled before the appliance starts: the workers map what comes of it, and need neither XGBoost nor shap for them."""

from __future__ import annotations

import logging
from pathlib import Path

from services.worker.model_compilation import Wanted, compile_models
from shared.engine_record import SHAP, XGBOOST, EngineRecord
from shared.errors import BootError
from shared.jobs.document import Method
from shared.models.catalog import ModelCatalog
from shared.models.compiled_files import compiled_key, compiled_path
from shared.models.version import ModelVersion
from shared.settings import Settings
from shared.treeshap.library import find_library
from shared.treeshap.table_file import TableFileError, read_tables, table_path

#: What the log says of a model that is not compiled, by the engine that it is left to.
_SAYS = {
    XGBOOST: "XGBoost explains a model that is not compiled",
    SHAP: "shap explains a model against its background that is not compiled for that",
}

_log = logging.getLogger(__name__)


def activate_models(settings: Settings) -> EngineRecord:
    """Compile what is not compiled yet, remove what belongs to no model, and record each model's engines.

    No model is refused for that: XGBoost and shap explain what cannot be compiled. Raises BootError if the record
    cannot be written.
    """
    versions = ModelCatalog.load(settings.models_dir, settings.standins_dir).versions()
    library = find_library()
    record = EngineRecord()
    if library is None:
        _log.warning("the kernels of the compiled engine are not built: XGBoost and shap explain everything")
    else:
        reasons = _compile_missing(versions, settings.compiled_dir)
        record = _record(versions, library.kernels()[0].engine, reasons)
    for engine, of_it in ((XGBOOST, record.reasons), (SHAP, record.interventional_reasons)):
        for model, reason in of_it.items():
            _log.warning(_SAYS[engine], extra={"model": model, "cause": reason})
    try:
        _remove_others(versions, settings.compiled_dir)
        record.write(settings.engines_file)
    except OSError as error:
        raise BootError(f"{settings.compiled_dir} cannot be written: {error.strerror or error}.") from error
    return record


def _compile_missing(versions: tuple[ModelVersion, ...], folder: Path) -> dict[Wanted, str]:
    """Return why some models are not compiled for some methods."""
    # All path-dependent ones first: the others are made of them.
    wanted = [(version, method) for method in Method for version in versions if method in version.methods]
    missing = [one for one in wanted if _fault(*one, folder) is not None]
    reasons = compile_models(missing, folder)
    for one in missing:
        if one not in reasons and (fault := _fault(*one, folder)) is not None:
            reasons[one] = fault
    return reasons


def _fault(version: ModelVersion, method: Method, folder: Path) -> str | None:
    key = compiled_key(version, method) or ""
    try:
        read_tables(table_path(folder, key), key)
    except (TableFileError, OSError) as error:
        return str(error)
    return None


def _record(versions: tuple[ModelVersion, ...], engine: str, reasons: dict[Wanted, str]) -> EngineRecord:
    engines: dict[Method, dict[str, str]] = {method: {} for method in Method}
    others: dict[Method, dict[str, str]] = {method: {} for method in Method}
    for version in versions:
        for method in version.methods:
            engines[method][version.id] = engine
            if reason := reasons.get((version, method)):
                engines[method][version.id] = EngineRecord().of(version.id, method)
                others[method][version.id] = reason
    path_dependent, interventional = Method.TREE_PATH_DEPENDENT, Method.INTERVENTIONAL
    return EngineRecord(
        engine,
        engines[path_dependent],
        others[path_dependent],
        engines[interventional],
        others[interventional],
    )


def _remove_others(versions: tuple[ModelVersion, ...], folder: Path) -> None:
    """Remove files of models and backgrounds that are gone, of other versions of the format, and half-written ones."""
    wanted = {compiled_path(version, method, folder) for version in versions for method in Method}
    for path in folder.iterdir():
        if path not in wanted and path.is_file():
            path.unlink(missing_ok=True)
