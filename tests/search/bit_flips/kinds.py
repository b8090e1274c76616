"""The kinds of files that the product keeps, with their own writers and readers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ops.run.data_dir import ensure_host_name, ensure_keys
from shared.errors import ModelFaultError, PayloadMissingError, SettingsError
from shared.explanation import Explanation
from shared.interactions import Interactions
from shared.jobs.document import Job, Status
from shared.models.activation.records import Activations, ExplanationKind, MethodRecord, State, VersionRecord
from shared.models.catalog import faults_in
from shared.models.contract import MANIFEST_FILE
from shared.models.version import read_version
from shared.objects.payloads import Payloads
from shared.settings import Settings
from shared.summary.summary import Summary
from shared.treeshap.table_file import TableFileError, read_tables
from tests.search.bit_flips.damage import Kind
from tests.search.fuzz.targets import CORPUS
from tests.support.jobs import a_job

_MODELS = Path(__file__).parents[3] / "models"
#: Rows, features and outputs of the stored jobs.
_ROWS, _FEATURES, _OUTPUTS = 40, 5, 2
_JOB = a_job(
    2 * _ROWS,
    id="0" * 32,
    created_at=1.7e9,
    batch_rows=_ROWS,
    features=_FEATURES,
    outputs=_OUTPUTS,
    interactions=Interactions(),
)
#: The fields of a job that change while it runs, and have no checksum: times, the residual and the error.
_UNCHECKED: dict[str, Any] = {
    "started_at": None,
    "finished_at": None,
    "largest_residual": None,
    "error": None,
}


class NoKeyError(Exception):
    """The key is another one: clients get 401."""


class NoRecordsError(Exception):
    """No activation is recorded: the next start verifies all models."""


def all_kinds(folder: Path) -> list[Kind]:
    """Return all kinds but Redis's file, written below a folder."""
    made = [*_objects(folder / "objects"), _record(), _activations(folder / "activations.json")]
    return [*made, _tables(folder / "tables"), *_model_files(folder / "models"), *_lines(folder / "data")]


def _objects(folder: Path) -> list[Kind]:
    payloads = Payloads.open(Settings(storage_url=f"file://{folder}"))
    small = replace(_JOB, rows=4)
    spans = [range(7, 90), range(100, 140)]

    def written(job: Job, path: str, seed: int) -> bytes:
        chance = np.random.default_rng(seed)
        rows = chance.normal(size=(len(job.rows_of(0)), _FEATURES)).astype(np.float32)
        explanation = Explanation(chance.normal(size=(len(rows), _OUTPUTS, _FEATURES + 2)).astype(np.float32))
        shape = Interactions().shape(len(rows), _FEATURES, _OUTPUTS)
        matrices = chance.normal(size=shape).astype(np.float32)
        summary = Summary.of_batch(job, 0, rows, explanation).arrays if job.batches > 1 else ()
        payloads.put_rows(job, 0, rows)
        payloads.put_result(job, 0, rows, explanation, interactions=matrices, summary=summary)
        return (folder / path).read_bytes()

    def kind(name: str, job: Job, path: str, *reads: Callable[[], Any]) -> Kind:
        def with_content(read: Callable[[], Any]) -> Callable[[bytes], object]:
            def from_content(content: bytes) -> object:
                (folder / path).write_bytes(content)
                found = read()
                return [array.tobytes() for array in found] if isinstance(found, list) else found.tobytes()

            return from_content

        versions = [written(job, path, seed) for seed in (0, 1)]
        return Kind(name, versions[0], versions[1], [*map(with_content, reads)], (PayloadMissingError,))

    parts = f"jobs/{_JOB.id}"
    return [
        kind("rows of a batch", _JOB, f"{parts}/input/000000.npy", lambda: payloads.rows(_JOB, 0)),
        kind(
            "result with summary",
            _JOB,
            f"{parts}/result/000000.npy",
            lambda: payloads.result(_JOB, 0).array,
            lambda: payloads.summary_arrays(_JOB, 0),
        ),
        kind(
            "interactions",
            _JOB,
            f"{parts}/interactions/000000.npy",
            lambda: payloads.interaction_spans(_JOB, 0, spans),
        ),
        kind(
            "small job",
            small,
            f"{parts}.npy",
            lambda: payloads.rows(small, 0),
            lambda: payloads.result(small, 0).array,
            lambda: payloads.interaction_spans(small, 0, spans),
        ),
    ]


def _record() -> Kind:
    def written(**more: Any) -> bytes:
        job = replace(_JOB, status=Status.RUNNING, request="request-1", **more)
        return b"\n".join(f"{name}={text}".encode() for name, text in job.to_hash().items())

    def read(content: bytes) -> object:
        fields = dict(line.split(b"=", 1) for line in content.split(b"\n") if b"=" in line)
        return replace(Job.from_hash(fields, 3), **_UNCHECKED)

    return Kind("job record", written(), b"", [read], (PayloadMissingError,))


def _activations(path: Path) -> Kind:
    def written(reason: str) -> bytes:
        values = MethodRecord("compiled-avx2", None, 1e-7, 2e-8, 3.5)
        methods = {
            ExplanationKind.TREE_PATH_DEPENDENT: values,
            ExplanationKind.INTERVENTIONAL: MethodRecord(None, reason),
        }
        record = VersionRecord(
            "k" * 64, State.READY, None, {"name": "wine", "used": 7}, methods, 1.5, "m" * 64
        )
        Activations("compiled-avx2", {"wine@1": record}).write(path)
        return path.read_bytes()

    def read(content: bytes) -> object:
        path.write_bytes(content)
        found = Activations.read(path)
        if not found.versions:
            raise NoRecordsError
        return found

    return Kind("activation records", written("no rows"), written("as yet"), [read], (NoRecordsError,))


def _tables(path: Path) -> Kind:
    def read(content: bytes) -> object:
        path.write_bytes(content)
        compiled = read_tables(path, "a" * 64)
        return compiled.features, {name: array.tobytes() for name, array in compiled.arrays.items()}

    one, other = ((CORPUS / "table_file" / name).read_bytes() for name in ("one", "set"))
    return Kind("compiled tables", one, other, [read], (TableFileError,))


def _model_files(folder: Path) -> list[Kind]:
    version = folder / "diabetes" / "1"
    shutil.copytree(_MODELS / "diabetes" / "1", version)
    manifest = version / MANIFEST_FILE
    manifest.write_bytes(read_version(version).contract.to_json())

    def kind(name: str, file: str, other: Path) -> Kind:
        path = version / file
        sound = path.read_bytes()

        def read(content: bytes) -> object:
            path.write_bytes(content)
            try:
                if faults := faults_in(version):
                    raise ModelFaultError(str(faults[0]))
                return read_version(version).contract, file == MANIFEST_FILE or content
            finally:
                path.write_bytes(sound)

        def other_or_sound(content: bytes) -> object:
            return read(sound if content == mixed else content)

        mixed = other.read_bytes()
        return Kind(name, sound, mixed, [other_or_sound], (ModelFaultError,))

    wine = _MODELS / "wine" / "1"
    files = {"model file": "model.ubj", "background rows": "background.npy", "manifest": "manifest.json"}
    return [kind(name, file, wine / file) for name, file in files.items()]


def _lines(data_dir: Path) -> list[Kind]:
    settings = Settings(data_dir=data_dir)
    for path in (settings.keys_dir, settings.host_name_file.parent):
        path.mkdir(parents=True, exist_ok=True)
    key = settings.keys_dir / "API_KEY"
    ensure_keys(settings)
    ensure_host_name(settings)
    sound, name = key.read_bytes(), settings.host_name_file.read_bytes()

    def read_key(content: bytes) -> object:
        key.write_bytes(content)
        ensure_keys(settings)
        try:
            found = Settings.from_environment({"API_KEY_FILE": str(key), "DATA_DIR": str(data_dir)}).api_key
        except SettingsError as fault:
            raise AssertionError(f"no start succeeds any more: {fault}") from fault
        if found != sound.decode().strip():
            raise NoKeyError
        return found

    def read_name(content: bytes) -> object:
        """Any name that fits is as good as another: a lease ends what the one before held."""
        settings.host_name_file.write_bytes(content)
        return bool(ensure_host_name(settings))

    return [
        Kind("key file", sound, sound, [read_key], (NoKeyError,)),
        Kind("host name", name, name, [read_name], ()),
    ]
