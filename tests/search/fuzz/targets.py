"""The fuzz targets by name, and the inputs that are kept for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.search.fuzz import http_targets, model_targets, record_targets, row_targets

#: Each takes any bytes, and raises for what must not happen: nothing but a documented refusal may leave the product.
TARGETS: dict[str, Callable[[bytes], None]] = {
    one.__name__: one
    for one in (
        row_targets.csv_body,
        row_targets.json_body,
        row_targets.json_file,
        row_targets.ndjson_body,
        row_targets.npy_body,
        row_targets.gzip_body,
        http_targets.http_request,
        http_targets.parameters,
        model_targets.contract,
        model_targets.forest,
        model_targets.ubjson,
        model_targets.table_file,
        model_targets.model_file,
        record_targets.job_record,
        record_targets.stored_object,
        record_targets.activation_records,
        record_targets.append_only_file,
    )
}
CORPUS = Path(__file__).with_name("corpus")


def kept_inputs(target: str) -> list[Path]:
    """Return the files of a target: seeds, and inputs that once showed a fault (`fault-…`)."""
    return sorted((CORPUS / target).iterdir())
