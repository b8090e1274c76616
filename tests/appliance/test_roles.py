"""One api and separate worker appliances, on a remote Redis and a shared store.

All of them run on this machine, so all have one hostname. Workers join, vanish, and are cut off the network.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ops.lab.trial_appliance import Appliance
from shapbox import Shapbox
from shared.timing import TIMING
from tests.appliance.conftest import Say
from tests.appliance.roles import WorkerAppliance, shared_connection
from tests.support.faults.placing import Faults
from tests.support.faults.submitted import (
    BATCH_ROWS,
    SMALL_BATCHES,
    Submitted,
    counters,
    eventually,
    nothing_is_left,
    submit,
)
from tests.support.faults.supervised import Supervisor
from tests.support.remote.network import Network
from tests.support.remote.remote_redis import PASSWORD, RemoteRedis

#: Batches of the job: enough that every worker takes part.
BATCHES = 60
#: Seconds for which a worker is cut off: longer than its lease.
CUT_SECONDS = 14.0
#: Seconds beyond the lease in which the others must have a silent worker's batch.
NOTICED_SECONDS = 60.0


class Fleet:
    """One Redis, one store, one api at most, and workers that come and go."""

    def __init__(self, folder: Path, faults: Faults) -> None:
        self._folder = folder
        self._faults = faults
        self.redis = RemoteRedis(folder / "redis")
        self.appliances: list[Appliance] = []

    def settings(self, port: int | None = None) -> dict[str, str]:
        """Return what all of them share; `port` of a network between them and Redis."""
        store = f"file://{self._folder / 'objects'}"
        shared = {
            **SMALL_BATCHES,
            "REDIS_URL": self.redis.url(port=port),
            "STORAGE_URL": store,
            "WORKERS": "1",
        }
        return {**self._faults.environment(), **shared}

    def join(self, port: int | None = None) -> WorkerAppliance:
        """Start a worker appliance and wait until it is heard of."""
        folder = self._folder / f"worker-{len(self.appliances)}"
        worker = WorkerAppliance(folder, self.settings(port), self.redis.url())
        self.appliances.append(worker)
        worker.start()
        return worker

    def start_api(self) -> Appliance:
        """Start the api and wait until it can take work."""
        api = Appliance(self._folder / "api", {**self.settings(), "ROLE": "api"})
        self.appliances.append(api)
        api.start()
        return api

    def end(self) -> None:
        """End all that runs."""
        for appliance in self.appliances:
            appliance.kill()
        self.redis.kill()


@pytest.fixture
def fleet(tmp_path: Path, faults: Faults) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path, faults)
    fleet.redis.start()
    try:
        yield fleet
    finally:
        fleet.end()


def check_counted_once(api: Appliance, *jobs: Submitted) -> dict[str, float]:
    """Fail unless each job is exact, counted once, and nothing is left; return the counters."""
    for job in jobs:
        job.check_completed()
    with closing(shared_connection(api)) as connection:
        eventually(lambda: nothing_is_left(connection), api.log_tail)
        counted = counters(connection)
    assert counted["jobs_total|completed"] == len(jobs)
    assert counted["rows_explained_total|breast-cancer@1"] == sum(len(job.rows) for job in jobs)
    return counted


def check_no_secret(fleet: Fleet) -> None:
    """Fail if the password stands in a log or on a command line."""
    for appliance in fleet.appliances:
        written = appliance.log() + "".join(str(process.cmdline()) for process in appliance.family())
        assert PASSWORD not in written
        assert "p%40ss" not in written


def states(appliance: Appliance) -> set[str]:
    """Return the programs that supervisord runs."""
    with closing(Supervisor(appliance.settings().supervisor_socket)) as supervisor:
        return {name for name, state in supervisor.states().items() if state in {"RUNNING", "STARTING"}}


def metric_names(appliance: Appliance) -> set[str]:
    """Return the names of what its monitor exports."""
    text = Shapbox(appliance.metrics_url, "").call("GET", "/metrics").body.decode()
    return {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}


def holders(faults: Faults, job: Submitted) -> set[int]:
    """Return the processes that have claimed a batch of the job."""
    return {step.pid for step in faults.steps("read") if step.job_id == job.id}


def test_a_job_outlives_a_worker_container_that_vanishes_and_one_that_joins(
    fleet: Fleet, faults: Faults, say: Say
) -> None:
    first, second = fleet.join(), fleet.join()
    api = fleet.start_api()
    assert states(api) - {"announce"} == {"monitor", "api"}
    assert states(first) == {"monitor", "worker-1"}
    assert first.host != second.host
    assert first.host.rpartition("-")[0] == second.host.rpartition("-")[0]

    with faults.held():
        job = submit(api, "breast-cancer", BATCHES * BATCH_ROWS)
        pids = {*first.worker_pids(), *second.worker_pids()}
        eventually(lambda: holders(faults, job) == pids, api.log_tail)
        first.kill()
        vanished = time.monotonic()
        third = fleet.join()
        eventually(lambda: len(holders(faults, job)) == 3, api.log_tail)
    counted = check_counted_once(api, job)
    seconds = time.monotonic() - vanished

    assert counted["batches_recovered_total|lease"] == 1
    assert "batches_recovered_total|worker_died" not in counted
    worked = {step.pid for step in faults.steps("recorded")}
    assert worked == {*second.worker_pids(), *third.worker_pids()}
    say(f"a worker container vanished with a batch in hand; the job was complete {seconds:.1f} s after")
    told = metric_names(api)
    assert {"shapbox_jobs_total", "shapbox_queue_batches", "shapbox_workers"} <= told
    assert not {"shapbox_jobs_total", "shapbox_queue_batches", "shapbox_workers"} & metric_names(second)
    assert {"shapbox_redis_up", "shapbox_memory_limit_bytes"} <= metric_names(second)
    check_no_secret(fleet)


def test_a_worker_cut_off_the_network_changes_nothing_by_its_late_result_and_comes_back_by_itself(
    fleet: Fleet, faults: Faults, say: Say
) -> None:
    with Network(fleet.redis.port) as network:
        cut_off, other = fleet.join(network.port), fleet.join()
        api = fleet.start_api()
        with faults.held():
            job = submit(api, "breast-cancer", BATCHES * BATCH_ROWS)
            eventually(lambda: len(holders(faults, job)) == 2, api.log_tail)
            network.cut()
            cut_at = time.monotonic()
        # It has its rows, computes, stores the result, and cannot tell anybody.
        job.check_completed()
        seconds = time.monotonic() - cut_at
        assert TIMING.heartbeat_lease_seconds - 3 < seconds < TIMING.heartbeat_lease_seconds + NOTICED_SECONDS
        lost_batch = {step.batch for step in faults.steps("stored") if step.pid not in other.worker_pids()}
        assert len(lost_batch) == 1
        time.sleep(max(0.0, CUT_SECONDS - (time.monotonic() - cut_at)))
        assert not cut_off.is_ready()
        network.mend()
        back = time.monotonic()
        eventually(cut_off.is_ready, cut_off.log_tail)
        say(
            f"cut off for {CUT_SECONDS:.0f} s: the job was complete {seconds:.1f} s after the cut, "
            f"the worker back {time.monotonic() - back:.1f} s after its end"
        )

        counted = check_counted_once(api, job)
        assert counted["batches_recovered_total|lease"] == 1
        with faults.held():
            later = submit(api, "breast-cancer", BATCHES * BATCH_ROWS, seed=8)
            pids = {*cut_off.worker_pids(), *other.worker_pids()}
            eventually(lambda: holders(faults, later) == pids, cut_off.log_tail)
        counted = check_counted_once(api, job, later)
        assert counted["batches_recovered_total|lease"] == 1
        assert states(cut_off) == {"monitor", "worker-1"}
        check_no_secret(fleet)


def test_an_api_without_workers_takes_no_work_and_is_not_to_be_restarted_and_workers_wait_for_redis(
    fleet: Fleet,
) -> None:
    worker = fleet.join()
    with closing(shared_connection(worker)) as connection:
        connection.config_set("maxmemory-policy", "allkeys-lru")
    api = fleet.start_api()
    eventually(lambda: "accepted jobs with them: set it to noeviction" in api.log(), api.log_tail)
    worker.stop()
    eventually(lambda: api.get("/readyz").status == 503)
    assert api.get("/readyz").json()["probes"]["workers"]["ok"] is False
    assert api.get("/healthz").status == 200

    fleet.redis.kill()
    late = WorkerAppliance(worker.data_dir, fleet.settings())
    fleet.appliances.append(late)

    def come_back() -> None:
        eventually(lambda: "waiting for Redis" in late.log(), late.log_tail)
        fleet.redis.start()

    back = threading.Thread(target=come_back)
    back.start()
    late.start()
    back.join()
    assert "the programs will wait for it" in late.log()
    assert late.host == worker.host
    eventually(api.is_ready, api.log_tail)
    check_counted_once(api, submit(api, "breast-cancer", 3 * BATCH_ROWS))
    check_no_secret(fleet)


def test_a_wrong_password_ends_the_start_with_what_to_do(fleet: Fleet, tmp_path: Path) -> None:
    settings = {**fleet.settings(), "REDIS_URL": fleet.redis.url(password="wrong-one")}
    boot = WorkerAppliance(tmp_path / "refused", settings).run_boot("--check")
    assert boot.returncode == 2
    assert "refuses the password" in boot.stderr
    assert "wrong-one" not in boot.stdout + boot.stderr
