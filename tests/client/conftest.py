"""An appliance with the shipped models and one with categories, and a scripted server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from ops.lab.trial_appliance import Appliance
from shapbox import Shapbox
from shared.build import ROOT
from tests.support.trained_case import ModelCase, case_of, mixed_rows, mixed_target, trained

#: A number that means "missing" in the model with categories.
MARKER = -999


@pytest.fixture(scope="session")
def case() -> ModelCase:
    """A model with text and number labels, a marker, booleans and missing values."""
    rows = mixed_rows(5)
    booster = trained(rows, mixed_target(rows), 12, missing=MARKER)
    return case_of(booster, rows, missing=MARKER)


@pytest.fixture(scope="session")
def appliance(tmp_path_factory: pytest.TempPathFactory, case: ModelCase) -> Iterator[Appliance]:
    home = tmp_path_factory.mktemp("client")
    shutil.copytree(ROOT / "models", home / "models")
    case.model.save_model(home / "credit.ubj")
    settings = {"MODELS_DIR": str(home / "models"), "BATCH_ROWS": "500"}
    running = Appliance(home / "data", settings)
    add = [sys.executable, "-m", "ops.models", "add", "credit", str(home / "credit.ubj")]
    options = ["--missing", str(MARKER)]
    subprocess.run([*add, *options], cwd=ROOT, env=running.environment, check=True, capture_output=True)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def box(appliance: Appliance) -> Iterator[Shapbox]:
    with Shapbox(appliance.url, appliance.api_key) as box:
        yield box


@dataclass
class Script:
    """A server that sends one listed response per connection and keeps the requests.

    b"" stands for no response.
    """

    responses: list[bytes] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    url: str = ""

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed: the test is over
                return
            with connection:
                self.requests.append(_read_request(connection))
                connection.sendall(self.responses.pop(0))


def _read_request(connection: socket.socket) -> bytes:
    text = b""
    while b"\r\n\r\n" not in text:
        text += connection.recv(65536)
    head, _, body = text.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while lengths and len(body) < int(lengths[0].partition(b":")[2]):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@pytest.fixture
def script() -> Iterator[Script]:
    script = Script()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        script.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=script.serve, args=[listener])
        thread.start()
        yield script
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def in_thread[T](act: Callable[[], T]) -> T:
    """Run what needs its own event loop: tests of the console have one in the main thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(act).result()


def reply(status: int, body: bytes = b"{}", **headers: str) -> bytes:
    """Return a response's bytes."""
    named = {"Content-Length": str(len(body)), "Connection": "close"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
