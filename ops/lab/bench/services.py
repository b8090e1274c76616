"""The services that are asked for the same values over HTTP: ours and its peers."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy as np
import orjson
import psutil

from ops.lab.bench.libraries import PEERS, peer_python
from ops.lab.bench.models import Matrix, Shape, write_version
from ops.lab.bench.report import BenchError, Effort
from ops.lab.rows import as_npy, read_result
from ops.lab.trial_appliance import Appliance, free_ports
from shapbox import NoAnswerError, Shapbox
from shared.memory import process_pss_bytes
from shared.models.version import ModelVersion

NPY, CSV, JSON = "application/x-npy", "text/csv", "application/json"
OURS, FASTAPI, MLSERVER = "Shapbox", "FastAPI", "MLServer"
#: Workers of each service: one for each core of the machine that the figures are made for.
WORKERS = 2
#: Seconds that a peer has to start, and an answer to come; and between two looks.
READY_SECONDS, ANSWER_SECONDS, LOOK_SECONDS = 60.0, 120.0, 0.2
#: Rows of a peer's bulk requests, and the connections that send them.
BULK_ROWS, BULK_CLIENTS = 1_000, 4

#: A program that keeps a service busy: port, path, headers, file of a request's body.
REQUESTS = """
import http.client, json, pathlib, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
headers, body = json.loads(sys.argv[3]), pathlib.Path(sys.argv[4]).read_bytes()
while True:
    connection.request("POST", sys.argv[2], body, headers)
    connection.getresponse().read()
    print("begun", flush=True)
"""


def write_rows(kind: str, rows: Matrix) -> bytes:
    """Write rows in a media type; a missing value is null or nothing."""
    if kind == NPY:
        return as_npy(rows)
    items = orjson.dumps(np.ascontiguousarray(rows), option=orjson.OPT_SERIALIZE_NUMPY)
    if kind == JSON:
        return b'{"rows":%b}' % items
    header = ",".join(f"f{number}" for number in range(rows.shape[1])).encode()
    return header + b"\n" + items[2:-2].replace(b"null", b"").replace(b"],[", b"\n") + b"\n"


def read_values(kind: str, answer: bytes) -> Matrix:
    """Read the values, without the base value, out of an answer to rows in a media type."""
    return read_result(NPY if kind == NPY else JSON, answer, 1)[:, 0, :-1]


@dataclass(frozen=True, slots=True)
class Service:
    """One service that runs. `kinds` are its media types, `memory` returns its PSS now."""

    name: str
    port: int
    path: str
    kinds: tuple[str, ...]
    memory: Callable[[], int]
    headers: Mapping[str, str] = field(default_factory=dict)
    write: Callable[[str, Matrix], bytes] = write_rows
    read: Callable[[str, bytes], Matrix] = read_values

    def connect(self) -> HTTPConnection:
        """Open a connection, which is kept open."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        connection.connect()
        return connection

    def headers_of(self, kind: str) -> dict[str, str]:
        """Return the headers of a request with rows of this media type."""
        return {"Content-Type": kind, "Accept": NPY if kind == NPY else JSON, **self.headers}

    def ask(self, connection: HTTPConnection, kind: str, body: bytes) -> bytes:
        """Send rows and return the answer's body. Raises BenchError unless it is a success."""
        try:
            connection.request("POST", self.path, body, self.headers_of(kind))
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, HTTPException) as fault:
            raise BenchError(f"{self.name} did not answer: {fault!r}") from fault
        if answer.status != 200:
            raise BenchError(f"{self.name}: {answer.status} {answer.reason}: {content[:300]!r}")
        return content


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
    headers = {"Authorization": f"Bearer {appliance.api_key}", "Prefer": "wait=60"}
    port, path = int(appliance.environment["PORT"]), f"/v1/explain?model={version.id}"
    ours = Service(OURS, port, path, (NPY, CSV, JSON), lambda: _pss(appliance.family()), headers)
    with ExitStack() as stack:
        running = [ours]
        for name, start in ((FASTAPI, _fastapi), (MLSERVER, _mlserver)):
            python = peer_python(name.lower(), effort.say) if effort.peers else None
            if python is not None:
                running.append(stack.enter_context(start(python, version)))
        yield running


@contextmanager
def _fastapi(python: Path, version: ModelVersion) -> Iterator[Service]:
    port = free_ports(1)[0]
    words: list[str | Path] = [python, "-m", "uvicorn", "fastapi_service:app", "--app-dir", PEERS]
    words += ["--workers", str(WORKERS), "--port", str(port), "--log-level", "warning", "--no-access-log"]
    with _running(words, {"MODEL": str(version.model_path)}, port, "/openapi.json") as memory:
        yield Service(FASTAPI, port, "/explain", (NPY, CSV, JSON), memory)


@contextmanager
def _mlserver(python: Path, version: ModelVersion) -> Iterator[Service]:
    def write(_kind: str, rows: Matrix) -> bytes:
        one = {"name": "rows", "shape": list(rows.shape), "datatype": "FP32", "data": rows.ravel()}
        return orjson.dumps({"inputs": [one]}, option=orjson.OPT_SERIALIZE_NUMPY)

    def read(_kind: str, answer: bytes) -> Matrix:
        found = orjson.loads(answer)["outputs"][0]
        return np.array(found["data"], dtype=np.float32).reshape(found["shape"])[:, :-1]

    http, grpc, metrics = free_ports(3)
    settings: dict[str, object] = {
        "host": "127.0.0.1",
        "http_port": http,
        "grpc_port": grpc,
        "metrics_port": metrics,
    }
    model = {"name": "shap", "implementation": "mlserver_runtime.ShapRuntime"}
    model_settings = {**model, "parameters": {"uri": str(version.model_path)}}
    with tempfile.TemporaryDirectory(prefix="shapbox-bench-") as folder:
        settings |= {"parallel_workers": WORKERS, "debug": False, "environments_dir": folder}
        for name, content in {"settings": settings, "model-settings": model_settings}.items():
            Path(folder, f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        more = {"PYTHONPATH": str(PEERS), "PROMETHEUS_MULTIPROC_DIR": folder}
        words: list[str | Path] = [python.with_name("mlserver"), "start", folder]
        with _running(words, more, http, "/v2/models/shap/ready", folder) as memory:
            yield Service(MLSERVER, http, "/v2/models/shap/infer", (JSON,), memory, write=write, read=read)


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
                    said = log.read()[-1500:].decode(errors="replace")
                    raise BenchError(f"{words[:3]} did not start: {said}")
                time.sleep(LOOK_SECONDS)
            yield lambda: _pss([root, *root.children(recursive=True)])
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


def _pss(processes: Sequence[psutil.Process]) -> int:
    """Return the bytes that some processes take, shared pages counted once."""
    return sum(process_pss_bytes(process.pid) for process in processes)


@contextmanager
def bulk_work(service: Service, rows: Matrix) -> Iterator[None]:
    """Keep a service busy with large requests while the block runs.

    The clients are processes of their own: within this one, Python would make all take turns.
    """
    kind = NPY if NPY in service.kinds else JSON
    with tempfile.NamedTemporaryFile() as body, ExitStack() as clients:
        body.write(service.write(kind, rows))
        body.flush()
        words = [str(service.port), service.path, json.dumps(service.headers_of(kind)), body.name]
        for _ in range(BULK_CLIENTS):
            command = [sys.executable, "-c", REQUESTS, *words]
            client = clients.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            clients.callback(client.kill)
            if not (client.stdout and client.stdout.readline()):
                raise BenchError(f"the bulk work at {service.name} did not begin")
        yield
