"""A Redis that fails over behind one address; connections to the old primary stay open."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.lab.chaos.redis_pair import RedisPair
from ops.lab.trial_appliance import Appliance
from services.monitor.events.programs import CRASHES
from shared.metrics import PREFIX
from tests.appliance.conftest import MakeAppliance
from tests.support.client import causes, is_ready, offer, probes, send_obeying, the_model, until
from tests.support.faults.placing import timed
from tests.support.faults.submitted import shaken_examples, submit

#: Batches of the job that is running meanwhile, and seconds within which a new one must be accepted.
BATCHES, RECOVERY_SECONDS = 60, 5.0


def exported(box: Appliance, name: str) -> str:
    """Return a metric without labels as it is exported; empty if it is not."""
    with urllib.request.urlopen(f"{box.metrics_url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return next((line.split()[1] for line in lines if line.startswith(f"{PREFIX}{name} ")), "")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[RedisPair]:
    both = RedisPair(tmp_path)
    yield both
    both.stop()


def test_a_failover_behind_one_address_is_over_within_seconds_and_loses_no_job(
    pair: RedisPair, make_appliance: MakeAppliance
) -> None:
    version = the_model()
    box = make_appliance(REDIS_URL=pair.url)
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
    pair.follow()
    started = time.monotonic()
    after = send_obeying(box, version, shaken_examples(version, 600))
    until("ready", lambda: is_ready(box), appliance=box)
    assert time.monotonic() - started < RECOVERY_SECONDS
    for job in (before, after):
        job.check_completed()
    assert "Traceback" not in box.log()


def test_a_replica_is_refused_at_boot(pair: RedisPair, make_appliance: MakeAppliance) -> None:
    box = make_appliance(REDIS_URL=f"redis://127.0.0.1:{pair.ports[1]}/0")
    refused = box.run_boot("--check")
    assert refused.returncode != 0
    assert f"is a read-only replica of 127.0.0.1:{pair.ports[0]}" in refused.stdout + refused.stderr


def test_workers_that_crash_after_their_first_heartbeat_are_no_workers(make_appliance: MakeAppliance) -> None:
    box = make_appliance(**timed(hopeless_seconds=8.0), SHAPBOX_TEST_CRASHES="1.5", WORKERS="1")
    box.start()
    until("crashing", lambda: not is_ready(box), appliance=box)
    until("failing", lambda: causes(box) == {"workers"}, appliance=box)
    assert "again and again: " in probes(box)[1]["workers"]["detail"]
    assert float(exported(box, "worker_crashes_total")) >= CRASHES
