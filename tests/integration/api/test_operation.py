"""Health, readiness, metrics, versions, and the log."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import falcon.inspect
import pytest

from services.api.app import create_app, routes
from services.api.components import Components
from shared.appliance.status import ApplianceStatus
from shared.errors import StorageUnavailableError
from shared.settings import Role
from tests.integration.api.api_client import API_KEY, METRICS_TOKEN, InProcess
from tests.integration.conftest import Logged

OK = {"status": "ok", "causes": []}
#: The monitor's findings, and the cause that makes the appliance unhealthy; None: it heals by itself.
FINDINGS: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"redis_down_seconds": 29.0, "no_worker_seconds": 29.0}, None),
    ({"redis_down_seconds": 31.0}, "redis"),
    ({"no_worker_seconds": 31.0}, "workers"),
    ({"fatal_programs": ("worker-1",)}, "programs"),
    ({"written_at": 1.0}, "monitor"),
]


def report(components: Components, **findings: Any) -> None:
    status = ApplianceStatus(written_at=findings.pop("written_at", time.time()), **findings)
    status.write(components.settings.status_file)
    components.status._read_at = -1.0


def grow_old(components: Components) -> None:
    object.__setattr__(components, "started", time.monotonic() - 60)


def probe(client: InProcess, name: str) -> tuple[int, bool]:
    reply = client.get("/readyz", key=None)
    return reply.status, reply.json["probes"][name]["ok"]


def test_what_cannot_heal_is_unhealthy_and_a_monitor_is_missed_only_after_the_start(
    client: InProcess, components: Components
) -> None:
    assert client.get("/healthz", key=None).json == OK
    assert probe(client, "monitor") == (200, False)
    grow_old(components)
    assert client.get("/healthz").status == 503
    for findings, cause in FINDINGS:
        report(components, **findings)
        reply = client.get("/healthz", key=None)
        assert [found["cause"] for found in reply.json["causes"]] == [cause][: cause is not None]
        assert reply.status == (503 if cause else 200)


def test_an_api_with_remote_workers_is_not_restarted_for_them(
    client: InProcess, components: Components
) -> None:
    object.__setattr__(components, "settings", replace(components.settings, role=Role.API))
    grow_old(components)
    report(components, no_worker_seconds=31.0, standstill_seconds=31.0)
    assert client.get("/healthz", key=None).json == OK
    assert client.get("/readyz", key=None).json["probes"]["queue"]["ok"] is False
    report(components, no_worker_seconds=31.0, fatal_programs=("api",))
    assert client.get("/healthz", key=None).json["causes"][0]["cause"] == "programs"


def test_readiness_names_every_probe_and_needs_a_worker_and_a_store(
    client: InProcess, components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    report(components)
    reply = client.get("/readyz", key=None)
    assert reply.status == 200
    probes = reply.json["probes"]
    assert set(probes) == {"redis", "queue", "workers", "storage", "models", "draining", "monitor"}
    assert all(probe["ok"] for probe in probes.values())
    assert probes["storage"]["free_bytes"] > 0

    def away(_self: object) -> None:
        raise StorageUnavailableError("refused")

    monkeypatch.setattr(type(components.payloads), "probe", away)
    components.probe.refresh()
    assert probe(client, "storage") == (503, False)
    assert client.get("/readyz").json["probes"]["storage"]["detail"].endswith("refused")
    components.heartbeats.withdraw("worker-1")
    assert probe(client, "workers") == (503, False)
    assert int(client.get("/readyz").headers["retry-after"]) >= 1


def test_a_placeholder_is_flagged_everywhere(client: InProcess, components: Components) -> None:
    version = components.catalog.get("diabetes")
    object.__setattr__(version, "contract", replace(version.contract, fallback=True))
    ready = client.get("/readyz")
    assert (ready.status, ready.json["probes"]["models"]["fallback"]) == (200, ["diabetes@1"])
    assert client.get("/v1/models/diabetes").json["fallback"] is True
    assert client.post_json("/v1/jobs", {"model": "diabetes", "rows": [[1.0] * 10]}).json["fallback"] is True


def test_models_and_the_version_are_told(client: InProcess, components: Components) -> None:
    models = client.get("/v1/models").json["models"]
    assert [model["name"] for model in models] == ["breast-cancer", "diabetes", "wine"]
    assert models[1]["features"] == list(components.catalog.get("diabetes").features)
    assert client.get("/v1/models/diabetes@1").json == client.get("/v1/models/diabetes").json == models[1]
    for name in ("nothing", "diabetes@2", "..%2Fdiabetes", "diabetes%40x"):
        assert client.get(f"/v1/models/{name}").status == 404
    version = client.get("/version", key=None).json
    assert (version["commit"], version["engine"]) == ("abc123", "xgboost")


class _Monitor(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/metrics" else 404)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(b"shapbox_redis_up 1\n")

    def log_message(self, *_given: object) -> None:
        pass


@pytest.fixture
def monitor_port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Monitor) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_metrics_are_passed_on_from_the_monitor(components: Components, monitor_port: int) -> None:
    object.__setattr__(components.settings, "metrics_port", monitor_port)
    reply = InProcess(create_app(components)).get("/metrics", key=METRICS_TOKEN)
    assert (reply.status, reply.body) == (200, b"shapbox_redis_up 1\n")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_requests_are_counted_by_route(client: InProcess, components: Components) -> None:
    client.get("/v1/jobs/" + "0" * 32)
    client.get("/v1/jobs", key=None)
    client.get("/anything/else")
    components.counters.flush()
    counts = {key: value for key, value in components.counters.read().items() if key[0].startswith("http")}
    assert counts["http_requests_total", "GET", "/v1/jobs/{job_id}", "404"] == 1
    assert counts["http_requests_total", "GET", "/v1/jobs", "401"] == 1
    assert counts["http_requests_total", "GET", "unmatched", "404"] == 1
    timed = {key[1] for key in counts if key[0] == "http_request_seconds_bucket"}
    assert timed == {"/v1/jobs/{job_id}", "/v1/jobs", "unmatched"}


def test_a_wait_that_the_client_asked_for_does_not_count_as_the_apis_time(
    client: InProcess, components: Components
) -> None:
    job = client.post_json("/v1/jobs", {"model": "wine", "rows": [[1.0] * 13]}).json
    started = time.monotonic()
    for _ in range(2):  # a wait of the request before does not count for the next one
        client.get(f"/v1/jobs/{job['id']}?wait=1")
    seconds = time.monotonic() - started
    assert seconds >= 2
    components.counters.flush()
    counted = components.counters.read()["http_request_seconds_sum", "/v1/jobs/{job_id}"]
    assert 0 < counted < seconds - 1.5  # one of the two waits would be more


def test_every_request_is_one_line_in_the_log(client: InProcess, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "shapbox.access"):
        for path in ("/v1/jobs", "/v1/%0Aforged", "/healthz", "/v1/appliance"):
            client.get(path)
    lines = [record.getMessage() for record in caplog.records if record.name == "shapbox.access"]
    assert lines == ["GET /v1/jobs 200", "GET /v1/%0Aforged 404"]
    assert API_KEY not in caplog.text


def test_each_line_names_its_request_and_the_job_that_it_is_about(
    client: InProcess, logged: Logged, components: Components
) -> None:
    body = {"model": "diabetes", "rows": [[1] * 10]}
    job = client.post_json("/v1/jobs", body, X_Request_Id="first", Idempotency_Key="k1").json["id"]
    client.post_json("/v1/jobs", body, X_Request_Id="again", Idempotency_Key="k1")
    client.get(f"/v1/jobs/{job}", X_Request_Id="asking")
    client.get("/v1/jobs/no-id", X_Request_Id="wrong")
    client.get("/v1/jobs", X_Request_Id="other")

    for request, lines in {"first": 2, "again": 1, "asking": 1}.items():
        assert len(logged(f" request={request} job={job} ")) == len(logged(f"={request} ")) == lines
    assert components.store.get(job).request == "first"
    assert not [line for name in ("wrong", "other") for line in logged(f"={name} ") if "job=" in line]


def test_the_app_is_built_by_falcon(components: Components) -> None:
    inspected = falcon.inspect.inspect_routes(create_app(components)._app)
    assert {route.path for route in inspected} == set(routes(components))
