"""Health, readiness, metrics, versions, documents."""

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


def report(components: Components, **findings: Any) -> None:
    status = ApplianceStatus(written_at=findings.pop("written_at", time.time()), **findings)
    status.write(components.settings.status_file)
    components.status._read_at = -1.0


def grow_old(components: Components) -> None:
    object.__setattr__(components, "started", time.monotonic() - 60)


def test_a_sound_appliance_is_healthy(client: InProcess, components: Components) -> None:
    grow_old(components)
    report(components)
    assert client.get("/healthz", key=None).json == {"status": "ok", "causes": []}


@pytest.mark.parametrize(
    ("findings", "cause"),
    [
        ({"redis_down_seconds": 31.0}, "redis"),
        ({"no_worker_seconds": 31.0}, "workers"),
        ({"fatal_programs": ("worker-1",)}, "programs"),
        ({"written_at": 1.0}, "monitor"),
    ],
)
def test_what_cannot_heal_is_unhealthy(
    client: InProcess, components: Components, findings: dict[str, Any], cause: str
) -> None:
    grow_old(components)
    report(components, **findings)
    reply = client.get("/healthz", key=None)
    assert reply.status == 503
    assert [found["cause"] for found in reply.json["causes"]] == [cause]


def test_an_api_with_remote_workers_is_not_restarted_for_them(
    client: InProcess, components: Components
) -> None:
    object.__setattr__(components, "settings", replace(components.settings, role=Role.API))
    grow_old(components)
    report(components, no_worker_seconds=31.0, standstill_seconds=31.0)
    assert client.get("/healthz", key=None).json == {"status": "ok", "causes": []}
    assert client.get("/readyz", key=None).json["probes"]["queue"]["ok"] is False
    report(components, no_worker_seconds=31.0, fatal_programs=("api",))
    assert client.get("/healthz", key=None).json["causes"][0]["cause"] == "programs"


def test_what_heals_by_itself_is_healthy(client: InProcess, components: Components) -> None:
    grow_old(components)
    report(components, redis_down_seconds=29.0, no_worker_seconds=29.0)
    assert client.get("/healthz").status == 200


def test_a_monitor_that_never_reported_is_a_fault_only_after_the_start(
    client: InProcess, components: Components
) -> None:
    assert client.get("/healthz").status == 200
    grow_old(components)
    components.status._read_at = -1.0
    assert client.get("/healthz").status == 503


def test_readiness_names_every_probe(client: InProcess, components: Components) -> None:
    report(components)
    reply = client.get("/readyz", key=None)
    assert reply.status == 200
    probes = reply.json["probes"]
    assert set(probes) == {"redis", "queue", "workers", "storage", "models", "draining", "monitor"}
    assert all(probe["ok"] for probe in probes.values())
    assert probes["storage"]["free_bytes"] > 0


def test_without_a_worker_the_appliance_is_not_ready(client: InProcess, components: Components) -> None:
    components.heartbeats.withdraw("worker-1")
    reply = client.get("/readyz")
    assert (reply.status, reply.json["probes"]["workers"]["ok"]) == (503, False)
    assert int(reply.headers["retry-after"]) >= 1


def test_a_missing_monitor_does_not_make_it_unready(client: InProcess) -> None:
    reply = client.get("/readyz")
    assert (reply.status, reply.json["probes"]["monitor"]["ok"]) == (200, False)


def test_a_placeholder_is_flagged_everywhere(client: InProcess, components: Components) -> None:
    version = components.catalog.get("diabetes")
    object.__setattr__(version, "contract", replace(version.contract, fallback=True))
    ready = client.get("/readyz")
    assert (ready.status, ready.json["probes"]["models"]["fallback"]) == (200, ["diabetes@1"])
    assert client.get("/v1/models/diabetes").json["fallback"] is True
    assert client.post_json("/v1/jobs", {"model": "diabetes", "rows": [[1.0] * 10]}).json["fallback"] is True


def test_a_store_that_hangs_is_no_longer_ready(
    client: InProcess, components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_self: object) -> None:
        raise StorageUnavailableError("refused")

    monkeypatch.setattr(type(components.payloads), "probe", away)
    components.probe.refresh()
    assert client.get("/readyz").status == 503


def test_models_are_listed_with_their_features(client: InProcess, components: Components) -> None:
    models = client.get("/v1/models").json["models"]
    assert [model["name"] for model in models] == ["breast-cancer", "diabetes", "wine"]
    assert models[1]["features"] == list(components.catalog.get("diabetes").features)
    assert client.get("/v1/models/diabetes@1").json == client.get("/v1/models/diabetes").json == models[1]
    for name in ("nothing", "diabetes@2", "..%2Fdiabetes", "diabetes%40x"):
        assert client.get(f"/v1/models/{name}").status == 404


def test_the_version_is_told(client: InProcess) -> None:
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
    client = InProcess(create_app(components))
    reply = client.get("/metrics", key=METRICS_TOKEN)
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
        client.get("/v1/jobs")
        client.get("/v1/%0Aforged")
        client.get("/healthz")
        client.get("/v1/appliance")
    lines = [record.getMessage() for record in caplog.records if record.name == "shapbox.access"]
    assert lines == ["GET /v1/jobs 200", "GET /v1/%0Aforged 404"]
    assert API_KEY not in caplog.text


def test_each_line_names_its_request_and_the_job_that_it_is_about(
    client: InProcess, logged: Logged, components: Components
) -> None:
    body = {"model": "diabetes", "rows": [[1] * 10]}
    named = {"Idempotency_Key": "k1"}
    job = client.post_json("/v1/jobs", body, X_Request_Id="first", **named).json["id"]
    client.post_json("/v1/jobs", body, X_Request_Id="again", **named)
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
