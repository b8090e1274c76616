"""A Redis that fails over behind one address; connections to the old primary stay open."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from ops.lab.trial_appliance import Appliance
from services.monitor.events.programs import CRASHES
from shared.metrics import PREFIX
from tests.appliance.conftest import MakeAppliance
from tests.support.client import causes, is_ready, offer, probes, send_obeying, the_model, until
from tests.support.faults.placing import timed
from tests.support.faults.submitted import shaken_examples, submit
from tests.support.redis_server import until as soon
from tests.support.remote.network import Network
from tests.support.remote.remote_redis import RemoteRedis

#: Batches of the job that is running meanwhile, and seconds within which a new one must be accepted.
BATCHES, RECOVERY_SECONDS = 60, 5.0


def exported(box: Appliance, name: str) -> str:
    """Return a metric without labels as it is exported; empty if it is not."""
    with urllib.request.urlopen(f"{box.metrics_url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return next((line.split()[1] for line in lines if line.startswith(f"{PREFIX}{name} ")), "")


class Pair:
    """A primary and its replica, behind the address of a network."""

    def __init__(self, folder: Path) -> None:
        self.servers = [RemoteRedis(folder / name, tls=False, password="") for name in ("one", "two")]
        for server in self.servers:
            server.start()
        self.primary, self.replica = (redis.Redis(port=server.port) for server in self.servers)
        self.replica.replicaof("127.0.0.1", self.servers[0].port)
        soon(lambda: self.replica.info("replication")["master_link_status"] == "up")

    def fail_over(self) -> None:
        """Swap the two in order: the replica has all that the primary accepted."""
        self.primary.execute_command("FAILOVER")  # type: ignore[no-untyped-call]
        soon(lambda: self.replica.info("replication")["role"] == "master")
        self.servers.reverse()
        self.primary, self.replica = self.replica, self.primary

    def stop(self) -> None:
        for client in (self.primary, self.replica):
            client.close()
        for server in self.servers:
            server.kill()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    both = Pair(tmp_path)
    yield both
    both.stop()


def test_a_failover_behind_one_address_is_over_within_seconds_and_loses_no_job(
    pair: Pair, make_appliance: MakeAppliance
) -> None:
    version = the_model()
    with Network(pair.servers[0].port) as network:
        box = make_appliance(REDIS_URL=f"redis://127.0.0.1:{network.port}/0")
        box.start()
        before = submit(box, version.name, BATCHES * 500)
        before.wait_for(2)
        pair.fail_over()
        # Until the address follows, writes are refused and everyone is told why.
        answer = offer(box, version, shaken_examples(version, 1))
        assert (answer.status, answer.json()["type"]) == (503, "/problems/redis-read-only")
        until("not ready", lambda: not is_ready(box), appliance=box)
        assert "read-only replica" in probes(box)[1]["redis"]["detail"]
        until("measured", lambda: exported(box, "redis_writable") == "0.0", appliance=box)
        assert exported(box, "redis_up") == "1.0"
        assert causes(box) == set()  # a restart would not help
        network.server_port = pair.servers[0].port
        started = time.monotonic()
        after = send_obeying(box, version, shaken_examples(version, 600))
        until("ready", lambda: is_ready(box), appliance=box)
        assert time.monotonic() - started < RECOVERY_SECONDS
        for job in (before, after):
            job.check_completed()
        assert "Traceback" not in box.log()


def test_a_replica_is_refused_at_boot(pair: Pair, make_appliance: MakeAppliance) -> None:
    box = make_appliance(REDIS_URL=f"redis://127.0.0.1:{pair.servers[1].port}/0")
    refused = box.run_boot("--check")
    assert refused.returncode != 0
    assert f"is a read-only replica of 127.0.0.1:{pair.servers[0].port}" in refused.stdout + refused.stderr


def test_workers_that_crash_after_their_first_heartbeat_are_no_workers(make_appliance: MakeAppliance) -> None:
    box = make_appliance(**timed(hopeless_seconds=8.0), SHAPBOX_TEST_CRASHES="1.5", WORKERS="1")
    box.start()
    until("crashing", lambda: not is_ready(box), appliance=box)
    until("failing", lambda: causes(box) == {"workers"}, appliance=box)
    assert "again and again: " in probes(box)[1]["workers"]["detail"]
    assert float(exported(box, "worker_crashes_total")) >= CRASHES
