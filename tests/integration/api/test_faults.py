"""Faults around the api: each has its status, in time, and no accepted job is lost."""

from __future__ import annotations

import gzip
import json
import logging
import os
import signal
import time
import types
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from services.api.components import Components
from services.api.explain.submission import Submission
from services.api.resources.version import VersionResource
from shared.appliance.status import ApplianceStatus
from shared.errors import StorageUnavailableError
from tests.integration.api.api_client import ADMIN_API_KEY, InProcess, Reply
from tests.support.quick import check_quick

BODY = {"model": "diabetes", "rows": [[1.0] * 10]}


def test_a_full_queue_is_told_with_the_time_to_come_again(client: InProcess, components: Components) -> None:
    first = client.post_json("/v1/jobs", {"model": "diabetes", "rows": [[1.0] * 10] * 1495})
    assert first.status == 202
    reply = client.post_json("/v1/jobs", {"model": "diabetes", "rows": [[1.0] * 10] * 11})
    assert (reply.status, reply.slug) == (429, "queue-full")
    assert int(reply.headers["retry-after"]) >= 1
    assert components.payloads.job_ids() == [first.json["id"]]


def check_told(client: InProcess, method: str, path: str, body: bytes = b"") -> None:
    headers = {"Content-Type": "application/json"} if body else {}
    reply = client.call(method, path, body, headers)
    assert (reply.status, reply.slug) == (503, "redis-unavailable")
    assert int(reply.headers["retry-after"]) >= 1


def check_not_ready(client: InProcess) -> None:
    ready = client.get("/readyz")
    assert (ready.status, ready.json["probes"]["redis"]["ok"]) == (503, False)


@pytest.mark.parametrize("stopped", [False, True])
def test_without_redis_requests_are_told_so_within_two_seconds(
    client: InProcess, server: Any, *, stopped: bool
) -> None:
    job = client.post_json("/v1/jobs", BODY).json
    if stopped:
        server.signal(signal.SIGSTOP)
    else:
        server.kill()
    for method, path in (
        ("GET", "/v1/jobs"),
        ("GET", job["links"]["self"]),
        ("GET", job["links"]["result"]),
        ("DELETE", job["links"]["self"]),
    ):
        check_quick(2, partial(check_told, client, method, path))
    check_quick(2, lambda: check_told(client, "POST", "/v1/jobs", json.dumps(BODY).encode()))
    check_quick(2, lambda: check_not_ready(client))
    assert client.get("/healthz").status == 200
    assert client.get("/version").status == 200
    if stopped:
        server.signal(signal.SIGCONT)


@pytest.mark.usefixtures("finish_all")
def test_the_api_serves_again_when_redis_is_back(client: InProcess, server: Any) -> None:
    server.signal(signal.SIGSTOP)
    assert client.get("/v1/jobs").status == 503
    server.signal(signal.SIGCONT)
    assert client.post_json("/v1/jobs?wait=20", BODY).status == 200


def test_an_accepted_job_is_named_even_if_redis_goes_away_while_waiting(
    client: InProcess, components: Components, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = components.store.accept

    def accept_and_kill(*given: Any) -> Any:
        accepted = accept(*given)
        server.kill()
        return accepted

    monkeypatch.setattr(type(components.store), "accept", lambda _self, *given: accept_and_kill(*given))
    reply = client.post_json("/v1/explain", BODY)
    assert (reply.status, reply.json["status"]) == (202, "queued")


def test_rows_of_a_job_that_may_have_been_accepted_are_kept(
    client: InProcess, components: Components, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = components.store.accept

    def kill_and_accept(*given: Any) -> Any:
        server.kill()
        return accept(*given)

    monkeypatch.setattr(type(components.store), "accept", lambda _self, *given: kill_and_accept(*given))
    assert client.post_json("/v1/jobs", BODY).status == 503
    assert len(components.payloads.job_ids()) == 1  # the sweeper knows what to do with them


def test_a_redis_that_refuses_writes_is_503(client: InProcess, components: Components) -> None:
    components.connection.replicaof("127.0.0.1", 1)
    reply = client.post_json("/v1/jobs", BODY)
    assert (reply.status, reply.slug) == (503, "redis-unavailable")


@pytest.mark.parametrize(("path", "body"), [("/v1/jobs", BODY), ("/v1/workers/recycle", None)])
def test_a_redis_that_cannot_save_refuses_writes_in_a_transaction_which_is_503(
    client: InProcess,
    components: Components,
    wait_until: Callable[..., float],
    path: str,
    body: dict[str, Any] | None,
) -> None:
    connection = components.connection
    (components.settings.redis_socket.parent / "dump.rdb").mkdir()  # where Redis would put its file
    connection.config_set("save", "3600 1")
    connection.bgsave()
    wait_until(lambda: connection.info("persistence")["rdb_last_bgsave_status"] == "err")
    data = b"" if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if data else {}
    reply = client.call("POST", path, data, headers, key=ADMIN_API_KEY)
    assert (reply.status, reply.slug) == (503, "redis-unavailable")
    assert "MISCONF" in reply.detail


def test_a_redis_whose_memory_is_full_is_503(client: InProcess, components: Components) -> None:
    components.connection.config_set("maxmemory", "1kb")
    reply = client.post_json("/v1/jobs", BODY)
    assert (reply.status, reply.slug) == (503, "redis-full")


@pytest.mark.parametrize(
    ("free_bytes", "free_inodes", "scarce"), [(1000, 10**6, "MB"), (2**40, 100, "inodes")]
)
def test_a_full_disk_is_507_and_names_what_is_scarce(
    client: InProcess,
    monkeypatch: pytest.MonkeyPatch,
    nothing_is_left: Callable[[], None],
    free_bytes: int,
    free_inodes: int,
    scarce: str,
) -> None:
    disk = types.SimpleNamespace(
        f_bavail=free_bytes, f_frsize=1, f_blocks=2**41, f_files=2**30, f_favail=free_inodes
    )
    monkeypatch.setattr(os, "statvfs", lambda _path: disk)
    reply = client.post_json("/v1/jobs", BODY)
    assert (reply.status, reply.slug) == (507, "storage-full")
    assert scarce in reply.detail
    assert int(reply.headers["retry-after"]) >= 1
    ready = client.get("/readyz")
    found = ready.json["probes"]["storage"]
    assert (ready.status, found["ok"]) == (503, False)
    assert (found["free_bytes"], found["free_inodes"]) == (free_bytes, free_inodes)
    assert scarce in found["detail"]
    nothing_is_left()


def test_a_retry_of_a_packed_body_gets_its_job_although_the_disk_is_full(
    client: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = gzip.compress(json.dumps(BODY).encode())

    def send(key: str) -> Reply:
        return client.post_json("/v1/jobs", body, Content_Encoding="gzip", Idempotency_Key=key)

    first = send("first")
    disk = types.SimpleNamespace(f_bavail=1000, f_frsize=1, f_blocks=2**41, f_files=2**30, f_favail=10**6)
    monkeypatch.setattr(os, "statvfs", lambda _path: disk)
    assert first.status == 202
    assert send("first").json["id"] == first.json["id"]
    assert send("second").status == 507


def test_a_store_that_is_away_is_503(
    client: InProcess, components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_given: object) -> None:
        raise StorageUnavailableError("The object store does not answer: refused")

    monkeypatch.setattr(type(components.payloads), "write", away)
    monkeypatch.setattr(type(components.payloads), "probe", away)
    reply = client.post_json("/v1/jobs", BODY)
    assert (reply.status, reply.slug) == (503, "storage-unavailable")
    components.probe.refresh()
    assert client.get("/readyz").json["probes"]["storage"]["detail"].endswith("refused")


def test_a_stopping_appliance_takes_no_new_work(
    client: InProcess, components: Components, wait_until: Callable[..., float]
) -> None:
    job = client.post_json("/v1/jobs", BODY).json
    ApplianceStatus(written_at=time.time(), draining=True).write(components.settings.status_file)
    wait_until(lambda: client.get("/readyz").json["probes"]["draining"]["ok"] is False)
    reply = client.post_json("/v1/jobs", BODY)
    assert (reply.status, reply.slug) == (503, "draining")
    assert client.get("/readyz").json["probes"]["draining"]["ok"] is False
    assert client.get(job["links"]["self"]).status == 200


def test_too_many_large_uploads_are_told_to_come_again(client: InProcess, components: Components) -> None:
    while components.uploads._free.acquire(blocking=False):
        pass
    reply = client.post("/v1/jobs?model=diabetes", b"x" * (2**20 + 1), "text/csv")
    assert (reply.status, reply.slug) == (503, "busy")
    assert client.post_json("/v1/jobs", BODY).status == 202


def test_an_unexpected_error_is_500_without_a_trace_and_logged_with_one(
    client: InProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_given: object, **_named: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(Submission, "submit", break_down)
    with caplog.at_level(logging.ERROR):
        reply = client.send("POST", "/v1/jobs", b"{}", {"Authorization": "Bearer api-key-of-the-tests"})
    assert (reply.status, reply.slug) == (500, "internal")
    assert b"secret" not in reply.body
    assert "ZeroDivisionError" in caplog.text


def test_a_resource_that_names_no_right_stays_closed(
    client: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(VersionResource, "access")
    assert client.send("GET", "/version", b"", {}).status == 500
