"""The services that are asked for the same values over HTTP: ours and its peers."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psutil

from ops.lab.bench.libraries import PEERS, peer_python, pss_of
from ops.lab.bench.models import Matrix, Shape, write_version
from ops.lab.bench.report import BenchError, Effort
from ops.lab.bench.wire import Wire, request_bytes
from ops.lab.rows import as_npy, read_result
from ops.lab.trial_appliance import Appliance, free_ports
from shapbox import NoAnswerError, Shapbox
from shared.models.version import ModelVersion

NPY, CSV, JSON = "application/x-npy", "text/csv", "application/json"
OURS, FASTAPI, MLSERVER = "Shapbox", "FastAPI", "MLServer"
#: Workers of each service: one for each core of the machine that the figures are made for.
WORKERS = 2
#: Seconds that a peer has to start, and bulk work to begin and to end; and between two looks.
READY_SECONDS, BEGIN_SECONDS, END_SECONDS, LOOK_SECONDS = 60.0, 60.0, 120.0, 0.2
#: Rows of a peer's bulk requests, and the connections that send them.
BULK_ROWS, BULK_CLIENTS = 1_000, 4


@dataclass(frozen=True, slots=True)
class Service:
    """One service that runs. `kinds` are the media types in which it takes rows."""

    name: str
    port: int
    kinds: tuple[str, ...]
    #: Makes a request of rows in a media type.
    request: Callable[[str, Matrix], bytes]
    #: Reads the values, without the base value, out of an answer to rows in a media type.
    values: Callable[[str, bytes], Matrix]
    #: Returns the bytes (PSS) that all of its processes take now.
    memory: Callable[[], int]


@contextmanager
def running_shapbox(shape: Shape) -> Iterator[tuple[Appliance, ModelVersion]]:
    """Run an appliance that serves one model, natively, on a DATA_DIR and ports of its own."""
    with tempfile.TemporaryDirectory(prefix="shapbox-bench-") as folder:
        version = write_version(Path(folder, "models"), shape)
        settings = {"MODELS_DIR": str(Path(folder, "models")), "WORKERS": str(WORKERS)}
        appliance = Appliance(Path(folder, "data"), settings)
        appliance.start()
        try:
            yield appliance, version
        finally:
            appliance.stop()


@contextmanager
def services(effort: Effort, appliance: Appliance, version: ModelVersion) -> Iterator[list[Service]]:
    """Start all peers that can be started; ours is the first."""
    with ExitStack() as stack:
        running = [_ours(appliance, version)]
        for name, start in ((FASTAPI, _fastapi), (MLSERVER, _mlserver)):
            python = peer_python(name.lower(), effort.say) if effort.peers else None
            if python is not None:
                running.append(stack.enter_context(start(python, version)))
        yield running


def _ours(appliance: Appliance, version: ModelVersion) -> Service:
    headers = {"Authorization": f"Bearer {appliance.api_key}", "Prefer": "wait=60"}

    def request(kind: str, rows: Matrix) -> bytes:
        sent = {**headers, "Content-Type": kind, "Accept": NPY if kind == NPY else JSON}
        return request_bytes(f"/v1/explain?model={version.id}", body(kind, rows), sent)

    port = int(appliance.environment["PORT"])
    return Service(OURS, port, (NPY, CSV, JSON), request, _values, lambda: pss_of(appliance.family()))


@contextmanager
def _fastapi(python: Path, version: ModelVersion) -> Iterator[Service]:
    port = free_ports(1)[0]
    words: list[str | Path] = [python, "-m", "uvicorn", "fastapi_service:app", "--app-dir", PEERS]
    words += ["--workers", str(WORKERS), "--port", str(port), "--log-level", "warning", "--no-access-log"]

    def request(kind: str, rows: Matrix) -> bytes:
        return request_bytes("/explain", body(kind, rows), {"Content-Type": kind})

    with _running(words, {"MODEL": str(version.model_path)}, port, "/openapi.json") as memory:
        yield Service(FASTAPI, port, (NPY, CSV, JSON), request, _values, memory)


@contextmanager
def _mlserver(python: Path, version: ModelVersion) -> Iterator[Service]:
    def request(kind: str, rows: Matrix) -> bytes:
        one = {"name": "rows", "shape": list(rows.shape), "datatype": "FP32", "data": rows.ravel()}
        sent = orjson.dumps({"inputs": [one]}, option=orjson.OPT_SERIALIZE_NUMPY)
        return request_bytes("/v2/models/shap/infer", sent, {"Content-Type": kind})

    def values(_kind: str, answer: bytes) -> Matrix:
        found = orjson.loads(answer)["outputs"][0]
        return np.array(found["data"], dtype=np.float32).reshape(found["shape"])[:, :-1]

    http, grpc, metrics = free_ports(3)
    with tempfile.TemporaryDirectory(prefix="shapbox-bench-") as folder:
        settings = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
        settings |= {"parallel_workers": WORKERS, "debug": False, "environments_dir": folder}
        model = {"name": "shap", "implementation": "mlserver_runtime.ShapRuntime"}
        files = {
            "settings": settings,
            "model-settings": {**model, "parameters": {"uri": str(version.model_path)}},
        }
        for name, content in files.items():
            Path(folder, f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        more = {"PYTHONPATH": str(PEERS), "PROMETHEUS_MULTIPROC_DIR": folder}
        with _running(
            [python.with_name("mlserver"), "start", folder], more, http, "/v2/models/shap/ready", folder
        ) as memory:
            yield Service(MLSERVER, http, (JSON,), request, values, memory)


@contextmanager
def _running(
    words: Sequence[str | Path],
    environment: Mapping[str, str],
    port: int,
    ready: str,
    folder: str | None = None,
) -> Iterator[Callable[[], int]]:
    """Run a peer's service until the block ends; give what returns the PSS of its processes."""
    with tempfile.TemporaryFile() as log:
        known = {"PATH": "/usr/bin:/bin", **environment}
        root = psutil.Popen(words, stdout=log, stderr=log, env=known, cwd=folder)
        family: list[psutil.Process] = [root]
        try:
            deadline = time.monotonic() + READY_SECONDS
            while not _answers(port, ready):
                if root.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise BenchError(
                        f"{words[:3]} did not start: {log.read()[-1500:].decode(errors='replace')}"
                    )
                time.sleep(LOOK_SECONDS)
            yield lambda: pss_of([root, *root.children(recursive=True)])
            family += root.children(recursive=True)
        finally:
            root.terminate()
            for one in psutil.wait_procs(family, timeout=10)[1]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()


def _answers(port: int, path: str) -> bool:
    with contextlib.suppress(NoAnswerError):
        return Shapbox(f"http://127.0.0.1:{port}", "").call("GET", path, seconds=2.0).status == 200
    return False


def body(kind: str, rows: Matrix) -> bytes:
    """Write rows in a media type; a missing value is null or nothing."""
    if kind == NPY:
        return as_npy(rows)
    items = orjson.dumps(np.ascontiguousarray(rows), option=orjson.OPT_SERIALIZE_NUMPY)
    if kind == JSON:
        return b'{"rows":%b}' % items
    header = ",".join(f"f{number}" for number in range(rows.shape[1])).encode()
    return header + b"\n" + items[2:-2].replace(b"null", b"").replace(b"],[", b"\n") + b"\n"


def _values(kind: str, answer: bytes) -> Matrix:
    return read_result(NPY if kind == NPY else JSON, answer, 1)[:, 0, :-1]


@contextmanager
def bulk_work(work: Callable[..., None], *given: Any) -> Iterator[None]:
    """Keep a process at bulk work while the block runs.

    It is a process of its own: within this one, Python would make both take turns.
    """
    spawn = multiprocessing.get_context("spawn")
    begun, stop = spawn.Event(), spawn.Event()
    client = spawn.Process(target=work, args=(begun, stop, *given), daemon=True)
    client.start()
    try:
        if not begun.wait(BEGIN_SECONDS):
            raise BenchError("the bulk work beside the measured requests did not begin")
        yield
    finally:
        stop.set()
        client.join(END_SECONDS)
    if client.exitcode:
        raise BenchError("the bulk work beside the measured requests failed: see its traceback")


def send_jobs(begun: Event, stop: Event, url: str, key: str, model: str, rows: Matrix) -> None:
    """Keep a huge job running at ours, the next one after it."""
    box = Shapbox(url, key)
    while not stop.is_set():
        job = box.submit(rows, model=model)
        while (status := box.call("GET", f"/v1/jobs/{job.id}").json()["status"]) in {"queued", "running"}:
            if status == "running":
                begun.set()
            if stop.wait(LOOK_SECONDS):
                break
        job.delete()


def send_requests(begun: Event, stop: Event, name: str, port: int, request: bytes) -> None:
    """Keep a peer as busy, which has no jobs, with large requests: one client's share of them."""
    with Wire(name, port) as wire:
        while not stop.is_set():
            wire.ask(request)
            begun.set()
