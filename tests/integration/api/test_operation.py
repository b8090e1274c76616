"""Health, readiness, draining, workers, metrics, and the log."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
import redis

from services.api.components import Components
from services.api.resources import health
from shared.appliance.heartbeats import Heartbeat
from shared.appliance.recycle_requests import RecycleRequests
from shared.appliance.status import ApplianceStatus
from shared.disk import FreeSpace
from shared.errors import StorageUnavailableError
from shared.jobs import keys
from shared.settings import Role
from shared.timing import TIMING
from tests.integration.api.api_client import ADMIN_API_KEY, API_KEY, InProcess, Reply
from tests.integration.conftest import Logged

BODY = {"model": "diabetes", "rows": [[1.0] * 10]}
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


def test_what_cannot_heal_is_unhealthy_after_the_start(client: InProcess, components: Components) -> None:
    assert client.get("/healthz", key=None).json == OK
    assert probe(client, "monitor") == (200, False)
    grow_old(components)
    assert client.get("/healthz").status == 503
    for findings, cause in FINDINGS:
        report(components, **findings)
        reply = client.get("/healthz", key=None)
        assert [found["cause"] for found in reply.json["causes"]] == [cause][: cause is not None]
        assert reply.status == (503 if cause else 200)


def test_an_api_is_not_restarted_for_remote_workers(client: InProcess, components: Components) -> None:
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
    assert " ".join(probes) == "redis queue workers storage models programs draining monitor"
    assert all(probe["ok"] for probe in probes.values())
    assert probes["storage"]["free_bytes"] > 0
    report(components, restarting_programs=("redis",))
    assert probe(client, "programs") == (200, False)
    assert "redis" in client.get("/readyz").json["probes"]["programs"]["detail"]
    report(components, stalled_seconds=241.0)
    assert probe(client, "queue") == (503, False)
    report(components)
    assert probe(client, "queue") == (200, True)

    # The disk of uploads and of Redis's file, which may be another one than that of objects.
    with monkeypatch.context() as patch:
        full = components.settings.tmp_dir
        patch.setattr(
            health, "free_space", lambda folder: FreeSpace(0 if folder == full else 2**40, None, 2**41)
        )
        assert probe(client, "storage") == (503, False)

    def away(_self: object) -> None:
        raise StorageUnavailableError("refused")

    monkeypatch.setattr(type(components.payloads), "probe", away)
    components.probe.refresh()
    assert probe(client, "storage") == (503, False)
    components.counters.flush()
    assert components.counters.read()["storage_faults_total",] == 1
    assert client.get("/readyz").json["probes"]["storage"]["detail"].endswith("refused")
    components.heartbeats.withdraw("worker-1")
    assert probe(client, "workers") == (503, False)
    assert int(client.get("/readyz").headers["retry-after"]) >= 1


def test_an_appliance_that_stops_takes_no_new_work(client: InProcess, components: Components) -> None:
    job = client.post_json("/v1/jobs", BODY).json
    report(components, draining=True)
    for path in ("/v1/jobs", "/v1/explain"):
        assert client.post_json(path, BODY).refusal == (503, "draining")
    assert recycle(client).slug == "draining"
    assert probe(client, "draining") == (503, False)
    assert client.get(job["links"]["self"]).status == 200


def test_a_placeholder_is_flagged_everywhere(client: InProcess, components: Components) -> None:
    version = components.catalog.get("diabetes")
    object.__setattr__(version, "contract", replace(version.contract, fallback=True))
    ready = client.get("/readyz")
    assert (ready.status, ready.json["probes"]["models"]["fallback"]) == (200, ["diabetes@1"])
    assert client.get("/v1/models/diabetes").json["fallback"] is True
    assert client.post_json("/v1/jobs", BODY).json["fallback"] is True


# --- Workers ---


def recycle(client: InProcess) -> Reply:
    return client.call("POST", "/v1/workers/recycle", key=ADMIN_API_KEY)


def test_an_admin_sees_the_living_workers_and_asks_one_monitor_once_to_replace_them(
    client: InProcess, components: Components, connection: redis.Redis
) -> None:
    components.heartbeats.beat(Heartbeat("host/worker-2", "host", 22, "token", "busy"))
    assert client.get("/v1/workers", key=ADMIN_API_KEY).json["workers"] == [  # and not their tokens
        {"name": "host/worker-2", "pid": 22, "state": "busy"},
        {"name": "worker-1", "pid": 1, "state": "idle"},
    ]
    components.heartbeats.withdraw("host/worker-2")
    first = recycle(client)
    assert first.status == 202
    assert datetime.fromisoformat(first.json["asked"]).timestamp() == pytest.approx(time.time(), abs=30)
    assert 0 < connection.ttl(keys.RECYCLE) <= TIMING.recycle_request_seconds
    time.sleep(0.01)  # its time is told in milliseconds
    assert recycle(client).json == first.json
    assert [RecycleRequests(connection).take() for _monitor in range(2)] == [True, False]
    assert recycle(client).json != first.json

    assert RecycleRequests(connection).take()
    components.heartbeats.withdraw("worker-1")
    reply = recycle(client)
    assert reply.refusal == (503, "no-worker")
    assert int(reply.headers["retry-after"]) >= 1
    assert not connection.exists(keys.RECYCLE)


# --- Counters and the log ---


def test_requests_are_counted_without_their_waits(client: InProcess, components: Components) -> None:
    job = client.post_json("/v1/jobs", BODY).json
    started = time.monotonic()
    for _ in range(2):  # a wait of the request before does not count for the next one
        client.get(f"/v1/jobs/{job['id']}?wait=0.5")
    seconds = time.monotonic() - started
    client.get("/v1/jobs", key=None)
    client.get("/anything/else")
    components.counters.flush()
    counts = components.counters.read()
    assert counts["http_requests_total", "GET", "/v1/jobs/{job_id}", "200"] == 2
    assert counts["http_requests_total", "GET", "/v1/jobs", "401"] == 1
    assert counts["http_requests_total", "GET", "unmatched", "404"] == 1
    # One of the two waits would be more.
    assert 0 < counts["http_request_seconds_sum", "/v1/jobs/{job_id}"] < seconds - 0.75


def test_each_request_is_one_line_that_names_it_and_the_job_that_it_is_about(
    client: InProcess, logged: Logged, components: Components, caplog: pytest.LogCaptureFixture
) -> None:
    job = client.post_json("/v1/jobs", BODY, X_Request_Id="first", Idempotency_Key="k1").json["id"]
    client.post_json("/v1/jobs", BODY, X_Request_Id="again", Idempotency_Key="k1")
    client.get(f"/v1/jobs/{job}", X_Request_Id="asking")
    client.get("/v1/jobs/no-id", X_Request_Id="wrong")
    client.get("/v1/jobs", X_Request_Id="other")
    for request, lines in {"first": 2, "again": 1, "asking": 1}.items():
        assert len(logged(f" request={request} job={job} ")) == len(logged(f"={request} ")) == lines
    assert components.store.get(job).request == "first"
    assert not [line for name in ("wrong", "other") for line in logged(f"={name} ") if "job=" in line]

    caplog.clear()
    for path in ("/v1/jobs", "/v1/%0Aforged", "/healthz", "/v1/appliance"):
        client.get(path)
    assert [record.getMessage() for record in caplog.records if record.name == "shapbox.access"] == [
        "GET /v1/jobs 200",
        "GET /v1/%0Aforged 404",
    ]
    assert API_KEY not in caplog.text
