"""The services that are asked for the same values over HTTP: ours and its peers."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psutil
from numpy.typing import NDArray

from ops.http_call import answer_or_none
from ops.lab.bench.bodies import WRITERS
from ops.lab.bench.peer_environments import PEERS, peer_python
from ops.lab.bench.places import native
from ops.lab.bench.wire import request_bytes
from ops.lab.trial_appliance import free_ports
from shared.memory import process_pss_bytes
from shared.models.version import ModelVersion

type Matrix = NDArray[np.float32]

NPY, CSV, JSON = "application/x-npy", "text/csv", "application/json"
OURS, FASTAPI, MLSERVER = "Shapbox", "FastAPI, 2 workers", "MLServer, 2 workers"
#: Workers of each peer: one for each core.
WORKERS = 2
#: Seconds that a peer has to start.
READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Service:
    """One service that runs. `kinds` are the media types in which it takes rows."""

    name: str
    port: int
    kinds: tuple[str, ...]
    #: Makes a request of rows in a media type.
    request: Callable[[str, Matrix], bytes]
    #: Reads the values, without the base value, out of an answer to rows in a media type.
    values: Callable[[str, bytes, int], Matrix]
    #: The processes that it consists of now.
    processes: Callable[[], list[psutil.Process]]
    #: Further headers of a request of ours.
    headers: Mapping[str, str] = field(default_factory=dict)

    def pss_bytes(self) -> int:
        """Return what all of its processes take."""
        return sum(process_pss_bytes(process.pid) for process in self.processes())


@contextmanager
def services(models: Path, version: ModelVersion, *, peers: bool = True) -> Iterator[list[Service]]:
    """Start all that can be started; ours is the first."""
    with ExitStack() as stack:
        running = [stack.enter_context(_ours(models, version))]
        for name, start in ((FASTAPI, _fastapi), (MLSERVER, _mlserver)):
            python = peer_python(name.partition(",")[0].lower()) if peers else None
            if python is not None:
                running.append(stack.enter_context(start(python, version)))
        yield running


@contextmanager
def _ours(models: Path, version: ModelVersion) -> Iterator[Service]:
    with native(models, {"WORKERS": str(WORKERS)}) as appliance:
        key = {"Authorization": f"Bearer {appliance.api_key}"}

        def request(kind: str, rows: Matrix) -> bytes:
            path = "/v1/explain" if kind == JSON else f"/v1/explain?model={version.id}"
            headers = {
                **key,
                "Prefer": "wait=60",
                "Content-Type": kind,
                "Accept": NPY if kind == NPY else JSON,
            }
            return request_bytes(path, WRITERS[kind](version, rows), headers)

        port = int(appliance.environment["PORT"])
        yield Service(OURS, port, (NPY, CSV, JSON), request, _json_or_npy, appliance.family, key)


@contextmanager
def _fastapi(python: Path, version: ModelVersion) -> Iterator[Service]:
    port = free_ports(1)[0]
    words = [python, "-m", "uvicorn", "fastapi_service:app", "--app-dir", PEERS, "--workers", str(WORKERS)]
    words += ["--port", str(port), "--log-level", "warning", "--no-access-log"]

    def request(kind: str, rows: Matrix) -> bytes:
        return request_bytes("/explain", WRITERS[kind](version, rows), {"Content-Type": kind})

    with _running(words, {"MODEL": str(version.model_path)}, f"http://127.0.0.1:{port}/healthz") as processes:
        yield Service(FASTAPI, port, (NPY, CSV, JSON), request, _json_or_npy, processes)


@contextmanager
def _mlserver(python: Path, version: ModelVersion) -> Iterator[Service]:
    ports = free_ports(3)
    settings = dict(zip(("http_port", "grpc_port", "metrics_port"), ports, strict=True))
    model = {
        "name": "shap",
        "implementation": "mlserver_runtime.ShapRuntime",
        "parameters": {"uri": str(version.model_path)},
    }
    path = "/v2/models/shap/infer"

    def request(kind: str, rows: Matrix) -> bytes:
        one = {"name": "rows", "shape": list(rows.shape), "datatype": "FP32", "data": rows.ravel()}
        body = orjson.dumps({"inputs": [one]}, option=orjson.OPT_SERIALIZE_NUMPY)
        return request_bytes(path, body, {"Content-Type": kind})

    with tempfile.TemporaryDirectory(prefix="shapbox-bench-") as folder:
        whole = {"host": "127.0.0.1", "parallel_workers": WORKERS, "debug": False, "environments_dir": folder}
        Path(folder, "settings.json").write_text(json.dumps(settings | whole), encoding="utf-8")
        Path(folder, "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
        words = [python.with_name("mlserver"), "start", folder]
        more = {"PYTHONPATH": str(PEERS), "PROMETHEUS_MULTIPROC_DIR": folder}
        ready = f"http://127.0.0.1:{ports[0]}/v2/models/shap/ready"
        with _running(words, more, ready, Path(folder)) as processes:
            yield Service(MLSERVER, ports[0], (JSON,), request, _v2_values, processes)


@contextmanager
def _running(
    words: list[Any], environment: Mapping[str, str], ready: str, folder: Path | None = None
) -> Iterator[Callable[[], list[psutil.Process]]]:
    """Run a peer's service until the block ends; its processes are found through the first."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [str(word) for word in words],
            stdout=log,
            stderr=log,
            env={"PATH": "/usr/bin:/bin", **environment},
            cwd=folder,
        )
        root = psutil.Process(process.pid)
        try:
            deadline = time.monotonic() + READY_SECONDS
            while (answer := answer_or_none(ready)) is None or answer.status != 200:
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(
                        f"{words[:4]} did not start: {log.read()[-1500:].decode(errors='replace')}"
                    )
                time.sleep(0.1)
            yield lambda: [root, *root.children(recursive=True)]
        finally:
            family = [root, *root.children(recursive=True)] if root.is_running() else []
            process.terminate()
            _, left = psutil.wait_procs(family, timeout=10)
            for one in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            process.wait()


def _json_or_npy(kind: str, answer: bytes, rows: int) -> Matrix:
    if kind == NPY:
        found: Matrix = np.load(io.BytesIO(answer))[:, :-1]
        return found
    return np.array(orjson.loads(answer)["values"], dtype=np.float32).reshape(rows, -1)


def _v2_values(kind: str, answer: bytes, rows: int) -> Matrix:
    del kind
    values = np.array(orjson.loads(answer)["outputs"][0]["data"], dtype=np.float32)
    return values.reshape(rows, -1)[:, :-1]
