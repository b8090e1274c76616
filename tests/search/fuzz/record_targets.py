"""Fuzz targets of records and files that the product itself has written."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from obstore.store import MemoryStore

from ops.run.append_only_file import _first_fault
from services.api.results.result import JobNames
from shared.errors import ModelFaultError, PayloadMissingError
from shared.interactions import Interactions
from shared.jobs.document import Job, Method
from shared.models.activation.records import Activations
from shared.models.catalog import ModelCatalog, with_record
from shared.models.version import read_version
from shared.objects.payloads import Payloads

_JOB = Job("0" * 32, "m@1", Method.TREE_PATH_DEPENDENT, rows=3, batch_rows=3, features=2, outputs=1)
_DIABETES = Path(__file__).parents[3] / "models" / "diabetes" / "1"


@cache
def _scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="shapbox-fuzz-")) / "activations.json"


def job_record(data: bytes) -> None:
    """Read a job's hash as Redis keeps it; what is accepted can be shown."""
    fields = dict(line.split(b"=", 1) for line in data.split(b"\n") if b"=" in line)
    try:
        job = Job.from_hash(fields, len(data))
        document = job.document()
    except PayloadMissingError as refusal:
        str(refusal).encode()
        return
    orjson.dumps(document)
    assert job.batches >= 1
    assert job.rows_of(0)
    JobNames.of(job, ModelCatalog({})) if job.features + job.outputs < 1000 else None
    written = {name.encode(): str(text).encode() for name, text in job.to_hash().items()}
    assert Job.from_hash(written, len(data)) == job


def stored_object(data: bytes) -> None:
    """Read an object of rows, of a result with its summary, and of interactions."""
    payloads = Payloads(MemoryStore())
    for side in ("input", "result", "interactions"):
        payloads.write(f"jobs/{_JOB.id}/{side}/000000.npy", [data])
    paired = replace(_JOB, interactions=Interactions())
    shapes = ((3, 2), (3, 1, 4))
    reads: tuple[Callable[[], Any], ...] = (
        lambda: payloads.rows(_JOB, 0),
        lambda: payloads.result(_JOB, 0).array,
        lambda: payloads.summary_arrays(_JOB, 0),
        lambda: payloads.interaction_spans(paired, 0, [range(5, 20)]),
    )
    for number, read in enumerate(reads):
        try:
            found = read()
        except PayloadMissingError:
            continue
        if number < 2:
            assert found.shape == shapes[number]
            assert found.dtype == np.float32
        elif number == 3:
            assert [part.shape for part in found] == [(15,)]


def activation_records(data: bytes) -> None:
    """Read the file of activation records; a damaged one holds no records."""
    _scratch().write_bytes(data)
    records = Activations.read(_scratch())
    orjson.dumps([records.best(), *(one.document() for one in records.versions.values())])
    for record in records.versions.values():
        try:
            version = with_record(read_version(_DIABETES), record)
        except ModelFaultError:
            continue
        assert version.methods is not None
        assert all(version.tables_key(method) for method in Method)


def append_only_file(data: bytes) -> None:
    """Find the first broken command of Redis's file."""
    for sound in (0, len(data) // 2):
        assert sound <= _first_fault(data, sound) <= len(data) or sound > len(data)
