"""The health check, and what is announced."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ops.run import healthcheck
from ops.run.announce import announcement
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
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()
            self.wfile.write(b'{"causes": [{"cause": "redis"}]}')

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_an_api_is_as_well_as_it_says_and_a_limit_that_boot_derived_is_derived_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(healthcheck, "find_cgroup", lambda: Cgroup(tmp_path, V2, 1024 * 2**20))
    environment = {"WORKER_MEMORY_LIMIT_MB": "600"}  # more than the default for all
    monkeypatch.setattr(os, "environ", environment)
    for status in (200, 503):
        with answering(status) as port:
            environment["PORT"] = str(port)
            assert healthcheck.main() == (status != 200)
    assert healthcheck.main() == 1
    assert capsys.readouterr().out.splitlines() == [
        "well",
        '{"causes": [{"cause": "redis"}]}',
        "/healthz does not answer",
    ]


def test_a_container_without_api_is_judged_by_what_its_monitor_found(tmp_path: Path) -> None:
    settings = Settings(role=Role.WORKER, data_dir=tmp_path, redis_url="redis://redis", storage_url="s3://b")
    settings.run_dir.mkdir()
    assert healthcheck.fault(settings) == "the monitor has not reported yet"
    for age, no_worker_seconds, said in (
        (0, 0.0, ""),
        (0, 31.0, "No worker"),
        (60, 0.0, "has not reported for 6"),
    ):
        ApplianceStatus(time.time() - age, no_worker_seconds=no_worker_seconds).write(settings.status_file)
        found = healthcheck.fault(settings) or ""
        assert bool(found) == bool(said)
        assert said in found


def test_an_address_for_everybody_is_called_by_loopback() -> None:
    for host, address in (
        ("0.0.0.0", "127.0.0.1"),
        ("::", "127.0.0.1"),
        ("0::0", "127.0.0.1"),
        ("fd00::1", "[fd00::1]"),
        ("10.0.0.7", "10.0.0.7"),
    ):
        assert local_address(Settings(host=host, port=8080)) == f"http://{address}:8080"
    assert local_address(Settings(port=8080, url_prefix="/shap")) == "http://127.0.0.1:8080/shap"


def test_a_key_that_is_set_is_not_announced() -> None:
    text = announcement(Settings(models_dir=ROOT / "nowhere"), {"API_KEY": "k" * 20})
    assert "$API_KEY" in text
    assert "/v1/models" in text
    assert "k" * 20 not in text
