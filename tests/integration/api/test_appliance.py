"""The live view: one cheap document, available even if everything else is not."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from services.api.components import Components
from services.api.resources import appliance
from services.api.resources.appliance import REDIS_AWAY_LOOK, RedisView
from shared.appliance.heartbeats import Heartbeat
from shared.appliance.status import ApplianceStatus, ProgramStatus
from tests.integration.api.api_client import InProcess
from tests.support.quick import check_quick
from tests.support.redis_server import RedisServer

MB = 2**20
PROGRAMS = (ProgramStatus("api", "RUNNING", 38 * MB), ProgramStatus("worker-1", "STARTING"))
ROW = [1.0] * 10


def report(components: Components, **findings: Any) -> None:
    status = ApplianceStatus(written_at=findings.pop("written_at", time.time()), **findings)
    status.write(components.settings.status_file)
    components.status._read_at = -1.0


def look(client: InProcess) -> dict[str, Any]:
    reply = client.get("/v1/appliance")
    assert reply.status == 200
    return dict(reply.json)


@pytest.fixture(autouse=True)
def every_look_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appliance, "LOOK_SECONDS", 0.0)


def test_what_the_monitor_found_is_told_and_without_it_the_rest(
    client: InProcess, components: Components
) -> None:
    document = look(client)
    assert document["monitor"] == {"fresh": False, "reported_at": None}
    assert document["programs"] == []
    assert document["memory"]["working_set_bytes"] is None
    assert document["memory"]["recycle_at_bytes"] == 475 * MB
    assert document["redis"]["up"] is True
    assert document["queues"]["interactive"] == {"batches": 0, "oldest_seconds": 0.0}
    report(
        components,
        memory_working_set_bytes=200 * MB,
        memory_limit_bytes=475 * MB,
        memory_container_bytes=512 * MB,
        memory_source="cgroup",
        programs=PROGRAMS,
        storage_used_bytes=7,
    )
    document = look(client)
    assert document["memory"] == {
        "working_set_bytes": 200 * MB,
        "recycle_at_bytes": 475 * MB,
        "container_limit_bytes": 512 * MB,
        "source": "cgroup",
    }
    of_api, of_worker = document["programs"]
    assert of_api == {"name": "api", "state": "RUNNING", "memory_bytes": 38 * MB}
    assert of_worker == {"name": "worker-1", "state": "STARTING", "memory_bytes": None}
    assert document["storage"]["used_bytes"] == 7
    assert document["storage"]["free_bytes"] > 0
    assert document["monitor"]["fresh"] is True
    assert (document["commit"], document["role"], document["draining"]) == ("abc123", "all", False)
    report(components, written_at=time.time() - 60, programs=PROGRAMS)
    assert look(client)["monitor"]["fresh"] is False
    assert client.get("/v1/appliance?x=1").status == 400


def test_jobs_queues_and_workers_are_counted_by_few_questions(
    client: InProcess, components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    components.heartbeats.beat(Heartbeat("other/worker-1", "other", 2, "token", "busy"))
    for count in (1, 1, 15):
        client.post_json("/v1/jobs", {"model": "diabetes", "rows": [ROW] * count})
    ended = client.post_json("/v1/jobs", {"model": "diabetes", "rows": [ROW]}).json
    client.call("DELETE", ended["links"]["self"])
    time.sleep(0.01)

    document = look(client)
    assert document["jobs"] == {"queued": 3, "running": 0, "completed": 0, "failed": 0, "cancelled": 1}
    assert document["workers"] == {"idle": 1, "busy": 1}
    assert document["queues"]["bulk"]["batches"] == 2
    assert document["queues"]["interactive"]["batches"] >= 2
    assert 0 < document["queues"]["bulk"]["oldest_seconds"] < 600
    assert document["redis"]["ping_seconds"] > 0
    assert document["redis"]["memory_bytes"] > 0

    def commands() -> int:
        return int(components.connection.info("stats")["total_commands_processed"])

    monkeypatch.setattr(appliance, "LOOK_SECONDS", 600.0)
    look(client)
    before = commands()
    for _ in range(20):
        look(client)
    assert commands() - before <= 2


def test_without_redis_the_rest_is_told_and_others_need_not_wait_for_it(
    client: InProcess, components: Components, server: RedisServer, wait_until: Callable[..., float]
) -> None:
    def look_once() -> None:
        report(components, redis_down_seconds=3.0, programs=PROGRAMS)
        document = look(client)
        assert document["redis"]["up"] is False
        assert (document["workers"], document["queues"], document["jobs"]) == (None, None, None)
        assert len(document["programs"]) == 2

    view = RedisView(components)
    assert view.look()["redis"]["up"]
    server.signal(signal.SIGSTOP)  # the monitor misses it, so it is not waited for
    try:
        check_quick(1, look_once)  # three attempts of half a second each would take longer
        waiting = threading.Thread(target=view.look)
        waiting.start()
        wait_until(view._lock.locked)
        assert view.look()["redis"]["up"]  # as found before
        assert waiting.is_alive()
        waiting.join()
        assert view._look == REDIS_AWAY_LOOK
    finally:
        server.signal(signal.SIGCONT)
    server.kill()
    check_quick(2, look_once)
