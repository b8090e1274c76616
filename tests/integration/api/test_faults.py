"""Faults around the api: each has its status, in time, and no accepted job is lost."""

from __future__ import annotations

import gzip
import json
import logging
import os
import re
import signal
import types
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from services.api.components import Components
from services.api.explain.submission import Submission
from services.api.resources.version import VersionResource
from shared.errors import StorageUnavailableError
from tests.integration.api.api_client import ADMIN_API_KEY, InProcess, Reply
from tests.support.quick import check_quick
from tests.support.redis_server import RedisServer, until

BODY = {"model": "diabetes", "rows": [[1.0] * 10]}
AWAY = (503, "redis-unavailable")


def check_not_now(reply: Reply, status: int, slug: str) -> None:
    assert reply.refusal == (status, slug)
    assert int(reply.headers["retry-after"]) >= 1


def test_a_full_queue_is_told_with_the_time_to_come_again(client: InProcess, components: Components) -> None:
    first = client.post_json("/v1/jobs", {"model": "diabetes", "rows": [[1.0] * 10] * 1495})
    assert first.status == 202
    reply = client.post_json("/v1/jobs", {"model": "diabetes", "rows": [[1.0] * 10] * 11})
    check_not_now(reply, 429, "queue-full")
    assert components.payloads.job_ids() == [first.json["id"]]


@pytest.mark.usefixtures("finish_all")
@pytest.mark.parametrize("stopped", [False, True])
def test_without_redis_requests_are_told_so_within_two_seconds_and_served_when_it_is_back(
    client: InProcess, server: RedisServer, *, stopped: bool
) -> None:
    links = client.post_json("/v1/jobs", BODY).json["links"]
    if stopped:
        server.signal(signal.SIGSTOP)
    else:
        server.kill()
    calls = (("GET", "/v1/jobs"), ("GET", links["result"]), ("DELETE", links["self"]))
    for method, path in calls:
        check_quick(2, partial(lambda *call: check_not_now(client.call(*call), *AWAY), method, path))
    check_quick(2, lambda: check_not_now(client.post_json("/v1/jobs", BODY), *AWAY))

    def check_not_ready() -> None:
        ready = client.get("/readyz")
        assert (ready.status, ready.json["probes"]["redis"]["ok"]) == (503, False)

    check_quick(2, check_not_ready)
    assert client.get("/healthz").status == 200
    assert client.get("/version").status == 200
    if stopped:
        server.signal(signal.SIGCONT)
        assert client.post_json("/v1/jobs?wait=20", BODY).status == 200


def test_a_job_is_named_and_its_rows_are_kept_if_redis_goes_away_around_its_acceptance(
    client: InProcess, components: Components, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = components.store.accept

    def accept_and_kill(_self: object, *given: Any) -> Any:
        accepted = accept(*given)
        server.kill()
        return accepted

    def kill_and_accept(_self: object, *given: Any) -> Any:
        server.kill()
        return accept(*given)

    monkeypatch.setattr(type(components.store), "accept", accept_and_kill)
    reply = client.post_json("/v1/explain", BODY)
    assert (reply.status, reply.json["status"]) == (202, "queued")
    before = components.payloads.job_ids()
    server.start()
    monkeypatch.setattr(type(components.store), "accept", kill_and_accept)
    assert client.post_json("/v1/jobs", BODY).status == 503
    assert len(components.payloads.job_ids()) == len(before) + 1  # the sweeper knows what to do with them


@pytest.mark.usefixtures("server")
def test_a_redis_that_refuses_writes_is_503_with_why(client: InProcess, components: Components) -> None:
    connection = components.connection
    # One that cannot save refuses writes in a transaction.
    (components.settings.redis_socket.parent / "dump.rdb").mkdir()  # where Redis would put its file
    connection.config_set("save", "3600 1")
    connection.bgsave()
    until(lambda: connection.info("persistence")["rdb_last_bgsave_status"] == "err")
    recycle = client.call("POST", "/v1/workers/recycle", key=ADMIN_API_KEY)
    for reply in (client.post_json("/v1/jobs", BODY), recycle):
        assert reply.refusal == AWAY
        assert "MISCONF" in reply.detail
        assert not re.search("Command #|script|@user", reply.detail)
    connection.config_set("save", "")
    connection.replicaof("127.0.0.1", 1)
    assert client.post_json("/v1/jobs", BODY).refusal == (503, "redis-read-only")


def set_free(monkeypatch: pytest.MonkeyPatch, nbytes: int = 1000, inodes: int = 10**6) -> None:
    disk = types.SimpleNamespace(f_bavail=nbytes, f_frsize=1, f_blocks=2**41, f_files=2**30, f_favail=inodes)
    monkeypatch.setattr(os, "statvfs", lambda _path: disk)


def test_a_full_disk_is_507_and_names_what_is_scarce(
    client: InProcess, monkeypatch: pytest.MonkeyPatch, nothing_is_left: Callable[[], None]
) -> None:
    for nbytes, inodes, scarce in ((1000, 10**6, "MB"), (2**40, 100, "inodes")):
        set_free(monkeypatch, nbytes, inodes)
        reply = client.post_json("/v1/jobs", BODY)
        check_not_now(reply, 507, "storage-full")
        assert scarce in reply.detail
        ready = client.get("/readyz")
        found = ready.json["probes"]["storage"]
        assert (ready.status, found["ok"]) == (503, False)
        assert (found["free_bytes"], found["free_inodes"]) == (nbytes, inodes)
        assert scarce in found["detail"]
    nothing_is_left()


def test_a_packed_retry_gets_its_job_on_a_full_disk(
    client: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = gzip.compress(json.dumps(BODY).encode())

    def send(key: str) -> Reply:
        return client.post_json("/v1/jobs", body, Content_Encoding="gzip", Idempotency_Key=key)

    first = send("first")
    set_free(monkeypatch)
    assert first.status == 202
    assert send("first").json["id"] == first.json["id"]
    assert send("second").status == 507


def test_a_store_that_is_away_and_uploads_that_are_too_many_are_503(
    client: InProcess, components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_given: object) -> None:
        raise StorageUnavailableError("The object store does not answer: refused")

    with monkeypatch.context() as patch:
        patch.setattr(type(components.payloads), "write", away)
        assert client.post_json("/v1/jobs", BODY).refusal == (503, "storage-unavailable")
    while components.uploads._free.acquire(blocking=False):
        pass
    reply = client.post("/v1/jobs?model=diabetes", b"x" * (2**20 + 1), "text/csv")
    assert reply.refusal == (503, "busy")
    assert client.post_json("/v1/jobs", BODY).status == 202


def test_an_unexpected_error_is_500_without_a_trace_and_logged_with_one(
    client: InProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_given: object, **_named: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(Submission, "submit", break_down)
    with caplog.at_level(logging.ERROR):
        reply = client.send("POST", "/v1/jobs", b"{}", {"Authorization": "Bearer api-key-of-the-tests"})
    assert reply.refusal == (500, "internal")
    assert b"secret" not in reply.body
    assert "ZeroDivisionError" in caplog.text
    monkeypatch.delattr(VersionResource, "access")  # a resource that names no right stays closed
    assert client.send("GET", "/version", b"", {}).status == 500
