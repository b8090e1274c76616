"""An S3-compatible store that hangs or refuses in mid-job and comes back; a log as text."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from ops.lab.network import Network
from ops.lab.trial_appliance import Appliance
from ops.run.announce import announcement
from shared.redis.connection import Patience, connect
from tests.appliance.conftest import MakeAppliance, Say
from tests.support.client import check_refusal, offer, until
from tests.support.faults.placing import Faults, timed
from tests.support.faults.submitted import BATCH_ROWS, counters, nothing_is_left, shaken_examples, submit
from tests.support.remote.s3_server import SECRET_KEY, S3Server

#: Batches of the job, those that hold both workers up for seconds, and that are recorded before the store is away.
BATCHES, SLOW_BATCHES, RECORDED = 20, (6, 7, 13, 14), {"hangs": 2, "refuses": 9}
#: Seconds of one batch's patience with the store, and for which it is away.
PATIENCE_SECONDS, AWAY_SECONDS = 2.0, 3.0
#: A line of text: time, level, who, what. Below it only what belongs to it, indented.
TEXT_LINE = re.compile(r"  .*|\d\d:\d\d:\d\d (?:DEBUG|INFO|WARNING|ERROR|CRITICAL) +([a-z]+)(?:-\d+)? +\S.*")


class Store:
    """An S3 server and the way to it."""

    def __init__(self, server: S3Server, network: Network) -> None:
        self.server = server
        self.network = network

    @contextmanager
    def away(self, how: str) -> Iterator[None]:
        """Have the store hang, or refuse connections."""
        if how == "hangs":
            self.server.hold()
            yield
            self.server.let_go()
            return
        port = self.network.port
        self.network.__exit__(None, None, None)
        yield
        self.network = Network(self.server.port, port)
        self.network.__enter__()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    server = S3Server(tmp_path)
    server.start()
    with ExitStack() as stack:
        stack.callback(server.kill)
        store = Store(server, Network(server.port).__enter__())
        stack.callback(lambda: store.network.__exit__(None, None, None))
        yield store


def storage_fault(appliance: Appliance) -> str | None:
    """Return what /readyz says is wrong with the store."""
    probe = appliance.get("/readyz").json()["probes"]["storage"]
    return None if probe["ok"] else str(probe["detail"])


def test_a_job_outlives_a_store_that_hangs_one_that_refuses_and_comes_back(
    make_appliance: MakeAppliance, store: Store, faults: Faults, say: Say
) -> None:
    patience = {"storage_try_seconds": PATIENCE_SECONDS, "storage_patience_seconds": PATIENCE_SECONDS}
    times = timed(storage_pause_seconds=1.0, storage_probe_seconds=1.0, **patience)
    settings = {**faults.environment(), **times, **store.server.settings(store.network.port)}
    appliance = make_appliance(**settings)
    appliance.start()
    with faults.held():
        job = submit(appliance, "breast-cancer", BATCHES * BATCH_ROWS)
        for batch in SLOW_BATCHES:
            faults.place(job.id, batch, "compute", "slow")
        until("at work", lambda: len(faults.steps("read")) == 2, appliance=appliance)
    for how, batches in RECORDED.items():
        job.wait_for(batches)
        with store.away(how):
            gone = time.monotonic()
            until("noticed", lambda: storage_fault(appliance), appliance=appliance)
            refused = offer(appliance, job.version, shaken_examples(job.version, 5))
            check_refusal(refused, 503, "storage-unavailable")
            assert appliance.get("/healthz").status == 200
            time.sleep(max(0.0, AWAY_SECONDS - (time.monotonic() - gone)))
            seen = job.document()
        assert seen["status"] == "running"
        assert seen["batches"]["completed"] < BATCHES
        until("ready", appliance.is_ready, appliance=appliance)
    job.check_completed()

    with closing(connect(appliance.settings(), Patience.STEADY, name="test")) as connection:
        until("over", lambda: nothing_is_left(connection), appliance=appliance)
        counted = counters(connection)
    assert counted["jobs_total|completed"] == 1
    assert counted["rows_explained_total|breast-cancer@1"] == len(job.rows)
    assert "batches_recovered_total|worker_died" not in counted
    say(f"{counted.get('batches_recovered_total|handed_back', 0):.0f} batches of {BATCHES} were handed back")
    folder = f"shapbox/jobs/{job.id}/"  # what was refused may have arrived late, and is swept
    assert store.server.objects(folder) == 2 * BATCHES
    assert appliance.call("DELETE", f"/v1/jobs/{job.id}").status == 204
    assert store.server.objects(folder) == 0
    assert not (appliance.data_dir / "objects").exists()
    check_log(appliance)


def check_log(appliance: Appliance) -> None:
    """Check that each line has a head or belongs to the one above, and that no secret is told."""
    settings = appliance.settings()
    told = {"API_KEY_FILE": str(settings.keys_dir / "API_KEY")}  # by boot, which made it
    log, announced = appliance.log(), announcement(settings, told)
    assert SECRET_KEY not in log
    assert log.count(announced) == 1
    heads = set()
    for line in log.replace(f"{announced}\n", "").split("\n")[:-1]:
        assert line.isprintable()
        found = TEXT_LINE.fullmatch(line)
        assert found, line
        heads.add(found[1])
    assert heads - {None} == {"boot", "supervisor", "redis", "monitor", "api", "worker"}
