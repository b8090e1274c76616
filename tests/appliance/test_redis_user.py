"""An appliance whose user of Redis has the documented permissions and no more."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.appliance.conftest import MakeAppliance
from tests.support.client import offer, the_model, until
from tests.support.faults.submitted import shaken_examples, submit
from tests.support.remote.acl import PASSWORD_OF_USER, documented_user
from tests.support.remote.remote_redis import RemoteRedis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RemoteRedis]:
    running = RemoteRedis(tmp_path / "redis", tls=False, password="")
    running.start()
    try:
        yield running
    finally:
        running.kill()


def test_all_that_an_appliance_does_is_allowed_to_the_documented_user(
    make_appliance: MakeAppliance, server: RemoteRedis
) -> None:
    url = server.url().replace("//", f"//shapbox:{PASSWORD_OF_USER}@")
    box, model = make_appliance(REDIS_URL=url), the_model()
    with redis.Redis.from_url(server.url()) as admin:
        admin.execute_command(*documented_user())
        box.start()
        assert offer(box, model, shaken_examples(model, 2), "/v1/explain").status == 200
        job = submit(box, model.name, 5000)
        os.kill(box.worker_pids()[0], signal.SIGKILL)
        job.check_completed()
        before = set(box.worker_pids())
        assert box.call("POST", "/v1/workers/recycle", key=box.admin_key).status == 202
        until("recycled", lambda: set(box.worker_pids()) - before, appliance=box)
        for path in ("/readyz", "/v1/jobs", "/metrics"):
            assert box.call("GET", path, key=box.admin_key).status == 200
        for one in (job, submit(box, model.name, 5000)):  # deleted and canceled
            assert box.call("DELETE", f"/v1/jobs/{one.id}").status == 204
        reading = [
            name for name, process in box.programs().items() if PASSWORD_OF_USER in str(process.environ())
        ]
        assert sorted(reading) == ["api", "monitor", "worker-1", "worker-2"]
        box.stop()
        assert admin.acl_log() == []
    assert "Traceback" not in box.log()
