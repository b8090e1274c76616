from __future__ import annotations

import time
from datetime import datetime

import pytest
import redis

from services.api.components import Components
from shared.appliance.heartbeats import Heartbeat
from shared.appliance.recycle_requests import RecycleRequests
from shared.jobs import keys
from shared.timing import TIMING
from tests.integration.api.api_client import ADMIN_API_KEY, InProcess, Reply


def ask(client: InProcess) -> Reply:
    return client.call("POST", "/v1/workers/recycle", key=ADMIN_API_KEY)


def test_the_living_workers_are_listed_for_an_admin(client: InProcess, components: Components) -> None:
    components.heartbeats.beat(Heartbeat("host/worker-2", "host", 22, "token", "busy"))
    listed = client.get("/v1/workers", key=ADMIN_API_KEY)
    assert listed.json["workers"] == [
        {"name": "host/worker-2", "pid": 22, "state": "busy"},
        {"name": "worker-1", "pid": 1, "state": "idle"},
    ]
    assert "token" not in listed.body.decode()


def test_an_admins_requests_wait_for_one_monitor_as_one_and_expire(
    client: InProcess, components: Components, connection: redis.Redis
) -> None:
    first = ask(client)
    assert first.status == 202
    asked = datetime.fromisoformat(first.json["asked"]).timestamp()
    assert asked == pytest.approx(time.time(), abs=30)
    assert 0 < connection.ttl(keys.RECYCLE) <= TIMING.recycle_request_seconds
    time.sleep(0.01)  # its time is told in milliseconds
    assert ask(client).json == first.json
    assert [RecycleRequests(connection).take() for _monitor in range(2)] == [True, False]
    assert ask(client).json != first.json

    assert RecycleRequests(connection).take()
    components.heartbeats.withdraw("worker-1")
    reply = ask(client)
    assert reply.refusal == (503, "no-worker")
    assert int(reply.headers["retry-after"]) >= 1
    assert not connection.exists(keys.RECYCLE)
