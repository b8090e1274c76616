from __future__ import annotations

import time
from datetime import datetime

import pytest
import redis

from services.api.components import Components
from shared.appliance.heartbeats import Heartbeat
from shared.appliance.recycle_requests import RecycleRequests
from shared.appliance.status import ApplianceStatus
from shared.jobs import keys
from shared.timing import TIMING
from tests.integration.api.api_client import ADMIN_API_KEY, API_KEY, METRICS_TOKEN, InProcess, Reply

RECYCLE = "/v1/workers/recycle"


def ask(client: InProcess, key: str | None = ADMIN_API_KEY) -> Reply:
    return client.call("POST", RECYCLE, key=key)


def test_the_living_workers_are_listed_for_an_admin(client: InProcess, components: Components) -> None:
    components.heartbeats.beat(Heartbeat("host/worker-2", "host", 22, "token", "busy"))
    listed = client.get("/v1/workers", key=ADMIN_API_KEY)
    assert listed.json["workers"] == [
        {"name": "host/worker-2", "pid": 22, "state": "busy"},
        {"name": "worker-1", "pid": 1, "state": "idle"},
    ]
    assert "token" not in listed.body.decode()


@pytest.mark.parametrize(("key", "status"), [(None, 401), (API_KEY, 403), (METRICS_TOKEN, 403)])
def test_workers_are_an_admins_alone(
    client: InProcess, connection: redis.Redis, key: str | None, status: int
) -> None:
    assert client.get("/v1/workers", key=key).status == status
    assert ask(client, key).status == status
    assert not connection.exists(keys.RECYCLE)


def test_an_admins_request_waits_for_one_monitor_and_expires(
    client: InProcess, connection: redis.Redis
) -> None:
    reply = ask(client)
    assert reply.status == 202
    asked = datetime.fromisoformat(reply.json["asked"]).timestamp()
    assert asked == pytest.approx(time.time(), abs=5)
    assert 0 < connection.ttl(keys.RECYCLE) <= TIMING.recycle_request_seconds
    monitors = [RecycleRequests(connection), RecycleRequests(connection)]
    assert [monitor.take() for monitor in monitors] == [True, False]


def test_a_second_request_while_one_is_pending_is_the_same(
    client: InProcess, connection: redis.Redis
) -> None:
    first = ask(client).json
    time.sleep(0.01)  # its time is told in milliseconds
    assert ask(client).json == first
    assert RecycleRequests(connection).take()
    assert not RecycleRequests(connection).take()
    assert ask(client).json != first


def test_without_a_worker_there_is_nothing_to_recycle(
    client: InProcess, components: Components, connection: redis.Redis
) -> None:
    components.heartbeats.withdraw("worker-1")
    reply = ask(client)
    assert (reply.status, reply.slug) == (503, "no-worker")
    assert int(reply.headers["retry-after"]) >= 1
    assert not connection.exists(keys.RECYCLE)


def test_an_appliance_that_stops_asks_nobody_to_leave(client: InProcess, components: Components) -> None:
    ApplianceStatus(written_at=time.time(), draining=True).write(components.settings.status_file)
    assert ask(client).slug == "draining"
