"""The health check, and what is announced."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ops.run import healthcheck
from ops.run.announce import announcement
from ops.run.healthcheck import fault
from ops.run.local_api import local_address
from shared.appliance.status import ApplianceStatus
from shared.build import ROOT
from shared.cgroup import V2, Cgroup
from shared.settings import Role, Settings


@contextmanager
def answering(status: int) -> Iterator[int]:
    """Serve one status under /healthz; give the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"causes": [{"cause": "redis"}]}'
            self.send_response(status if self.path == "/healthz" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_an_api_is_as_well_as_it_says() -> None:
    with answering(200) as port:
        assert fault(Settings(port=port)) is None
    with answering(503) as port:
        assert "redis" in (fault(Settings(port=port)) or "")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        assert fault(Settings(port=int(silent.getsockname()[1]))) == "/healthz does not answer"


def test_a_container_without_api_is_judged_by_what_its_monitor_found(tmp_path: Path) -> None:
    settings = Settings(
        role=Role.WORKER, data_dir=tmp_path, redis_url="redis://redis:6379", storage_url="s3://bucket"
    )
    settings.run_dir.mkdir()
    assert fault(settings) == "the monitor has not reported yet"
    ApplianceStatus(time.time()).write(settings.status_file)
    assert fault(settings) is None
    ApplianceStatus(time.time(), no_worker_seconds=31).write(settings.status_file)
    assert "No worker has been alive" in (fault(settings) or "")
    ApplianceStatus(time.time() - 60).write(settings.status_file)
    assert "has not reported for 60 s" in (fault(settings) or "")


def test_a_limit_that_boot_derived_is_derived_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(healthcheck, "find_cgroup", lambda: Cgroup(tmp_path, V2, 1024 * 2**20))
    with answering(200) as port:
        monkeypatch.setattr(os, "environ", {"PORT": str(port), "WORKER_MEMORY_LIMIT_MB": "600"})
        assert healthcheck.main() == 0
    assert healthcheck.main() == 1
    assert capsys.readouterr().out == "well\n/healthz does not answer\n"


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("fd00::1", "http://[fd00::1]:8080"),
        ("10.0.0.7", "http://10.0.0.7:8080"),
    ],
)
def test_an_address_for_everybody_is_called_by_loopback(host: str, address: str) -> None:
    assert local_address(replace(Settings(), host=host, port=8080)) == address


def test_the_announcement_has_a_call_with_a_real_row_and_no_key() -> None:
    text = announcement(Settings(models_dir=ROOT / "models"), {})
    assert "http://127.0.0.1:10000/v1/explain" in text
    assert '"rows":[[' in text
    assert "keys/API_KEY" in text
    text = announcement(Settings(models_dir=ROOT / "models"), {"API_KEY": "k" * 20})
    assert "$API_KEY" in text
    assert "k" * 20 not in text
