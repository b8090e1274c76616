from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ops.lab.trial_appliance import free_ports
from ops.run import healthcheck
from ops.run.healthcheck import fault
from shared.appliance.status import ApplianceStatus
from shared.cgroup import V2, Cgroup
from shared.settings import Role, Settings


@contextmanager
def answering(status: int) -> Iterator[int]:
    """Serve one status under every path; give the port."""

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
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def worker_settings(tmp_path: Path) -> Settings:
    settings = Settings(
        role=Role.WORKER, data_dir=tmp_path, redis_url="redis://redis:6379", storage_url="s3://bucket"
    )
    settings.run_dir.mkdir()
    return settings


def test_an_api_that_calls_itself_well_is_well() -> None:
    with answering(200) as port:
        assert fault(Settings(port=port)) is None


def test_an_api_that_asks_for_a_restart_is_not_and_its_reason_is_passed_on() -> None:
    with answering(503) as port:
        assert "redis" in (fault(Settings(port=port)) or "")


def test_an_api_that_does_not_answer_is_not_well() -> None:
    assert fault(Settings(port=free_ports(1)[0])) == "/healthz does not answer"


def test_a_container_without_api_is_judged_by_what_its_monitor_found(worker_settings: Settings) -> None:
    assert fault(worker_settings) == "the monitor has not reported yet"
    ApplianceStatus(time.time()).write(worker_settings.status_file)
    assert fault(worker_settings) is None
    ApplianceStatus(time.time(), no_worker_seconds=31).write(worker_settings.status_file)
    assert "No worker has been alive" in (fault(worker_settings) or "")
    ApplianceStatus(time.time() - 60).write(worker_settings.status_file)
    assert "has not reported for 60 s" in (fault(worker_settings) or "")


def test_a_limit_that_boot_derived_is_derived_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = Cgroup(tmp_path, V2, 1024 * 2**20)
    monkeypatch.setattr(healthcheck, "find_cgroup", lambda: limit)
    with answering(200) as port:
        monkeypatch.setattr(os, "environ", {"PORT": str(port), "WORKER_MEMORY_LIMIT_MB": "600"})
        assert healthcheck.main() == 0, capsys.readouterr().out
