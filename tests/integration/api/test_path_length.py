"""The number of our files that a request passes through from the socket to its response."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.api.components import Components
from shared.build import ROOT
from shared.jobs.document import Status
from shared.models.activation.records import Activations
from shared.treeshap.library import find_library
from tests.integration.api.api_client import API_KEY, OverHttp
from tests.support.executed_files import ExecutedFiles, files_of, functions_between

#: Issue 18: at most so many files for a one-row request, and for a batch.
MOST_FOR_A_ROW, MOST_FOR_A_BATCH = 14, 25

BODY = json.dumps({"model": "diabetes", "rows": [[0.5] * 10]}).encode()
HEADERS = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
#: Seconds for which the idle server is watched, whose loop turns once a second, and the end of a request.
IDLE_SECONDS, SETTLE_SECONDS = 1.5, 0.05
#: Requests that are watched. A file of only some of them belongs to a background thread that woke up meanwhile.
REQUESTS = 3

pytestmark = pytest.mark.skipif(find_library() is None, reason="the kernels are not built: no C compiler")


@pytest.fixture
def request_over(http: OverHttp) -> Iterator[Callable[..., Any]]:
    """Send requests over one connection, kept alive."""
    connection = http_client(http.port)

    def send(method: str, path: str, body: bytes | None = None) -> Any:
        connection.request(method, path, body, HEADERS)
        response = connection.getresponse()
        content = response.read()
        assert response.status in {200, 202}, content
        return json.loads(content)

    yield send
    connection.close()


def http_client(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=30)


def test_a_one_row_request_passes_through_few_files(
    components: Components, compiled: tuple[Path, Activations], request_over: Callable[..., Any]
) -> None:
    shutil.copytree(compiled[0], components.settings.compiled_dir, dirs_exist_ok=True)
    components.inline_models.open()

    with ExecutedFiles(but="MainThread") as executed:
        idle = watch_idle(executed)
        for _ in range(3):
            request_over("POST", "/v1/explain", BODY)
        time.sleep(SETTLE_SECONDS)
        functions = [watch_request(executed, request_over) for _ in range(REQUESTS)]

    files = files_of(set.intersection(*functions) - idle)
    assert len(files) <= MOST_FOR_A_ROW, "\n".join(files)


def watch_request(executed: ExecutedFiles, request_over: Callable[..., Any]) -> set[str]:
    """Return the functions that run while a one-row request is answered."""
    start = time.time()
    assert request_over("POST", "/v1/explain", BODY)["job"] is None
    time.sleep(SETTLE_SECONDS)
    return functions_between(executed.times, start, time.time())


def watch_idle(executed: ExecutedFiles) -> set[str]:
    """Return the functions that an idle server runs: its loop and background threads."""
    start = time.time()
    time.sleep(IDLE_SECONDS)
    return functions_between(executed.times, start, time.time())


@pytest.fixture
def worker(
    components: Components, compiled: tuple[Path, Activations], tmp_path: Path
) -> Iterator[Callable[[], dict[str, list[int]]]]:
    """Start a worker process; a call ends it and returns its executed files with their times."""
    shutil.copytree(compiled[0], components.settings.compiled_dir, dirs_exist_ok=True)
    compiled[1].write(components.settings.activations_file)
    output = tmp_path / "executed.json"
    program = [
        "-m",
        "tests.support.executed_files",
        str(output),
        "services.worker.__main__",
        "--name",
        "worker-1",
    ]
    environment = os.environ | {
        "DATA_DIR": str(components.settings.data_dir),
        "MODELS_DIR": str(ROOT / "models"),
    }
    process = subprocess.Popen(
        [sys.executable, *program], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL
    )

    def stop() -> dict[str, list[int]]:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        found: dict[str, list[int]] = json.loads(output.read_text())
        return found

    yield stop
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.wait()


def test_a_batch_passes_through_few_files(
    components: Components,
    worker: Callable[[], dict[str, list[int]]],
    request_over: Callable[..., Any],
    wait_until: Callable[..., float],
) -> None:
    def run() -> None:
        job = request_over("POST", "/v1/jobs", BODY)
        wait_until(lambda: components.store.get(job["id"]).status is Status.COMPLETED)
        request_over("GET", job["links"]["result"])

    with ExecutedFiles(but="MainThread") as executed:
        idle = watch_idle(executed)
        for _ in range(2):
            run()
        functions, spans = [], []
        for _ in range(REQUESTS):
            time.sleep(SETTLE_SECONDS)
            start = time.time()
            run()
            spans.append((start, time.time()))
            time.sleep(SETTLE_SECONDS)
            functions.append(functions_between(executed.times, start, time.time()) - idle)

    of_worker = {name: set(moments) for name, moments in worker().items()}
    functions = [
        ours | functions_between(of_worker, *span) for ours, span in zip(functions, spans, strict=True)
    ]
    files = files_of(set.intersection(*functions))
    assert len(files) <= MOST_FOR_A_BATCH, "\n".join(files)
