"""One api and separate worker appliances, on a remote Redis and a shared store.

All of them run on this machine, so all have one hostname. Workers join, vanish, and are cut off the network.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import redis

from ops.lab.network import Network
from ops.lab.trial_appliance import Appliance
from shapbox import Shapbox
from tests.appliance.roles import WorkerAppliance, shared_connection
from tests.support.faults.placing import Faults, timed
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
from tests.support.remote.remote_redis import PASSWORD, RemoteRedis

#: Batches of a job: enough that every worker takes part.
BATCHES = 30
#: Shorter times than production's, and for how long a worker is cut off: longer than its lease.
LEASE_SECONDS, CUT_SECONDS = 4.0, 6.0
TIMES = timed(heartbeat_interval_seconds=0.8, heartbeat_lease_seconds=LEASE_SECONDS)
#: Metrics that only the api's monitor exports.
COMMON = {"shapbox_jobs_total", "shapbox_queue_batches", "shapbox_workers"}


class Fleet:
    """One Redis, store and api, and workers that come and go, each behind a network."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self.faults = Faults(folder / "faults")
        self.redis = RemoteRedis(folder / "redis", options=("--maxmemory-policy", "allkeys-lru"))
        self.redis.start()
        self.networks: dict[WorkerAppliance, Network] = {}
        self.appliances: list[Appliance] = []
        stack.callback(self._end)
        self.workers(1)
        self.api = Appliance(folder / "api", {**self.settings(), "ROLE": "api"})
        self.appliances.append(self.api)
        self.api.start()

    def settings(self, port: int | None = None) -> dict[str, str]:
        """Return what all of them share; `port` of a network between them and Redis."""
        return {
            **SMALL_BATCHES,
            **self.faults.environment(),
            **TIMES,
            "REDIS_URL": self.redis.url(port=port),
            "STORAGE_URL": f"file://{self._folder / 'objects'}",
            "WORKERS": "1",
        }

    def join(self) -> WorkerAppliance:
        network = self._stack.enter_context(Network(self.redis.port))
        folder = self._folder / f"worker-{len(self.networks)}"
        worker = WorkerAppliance(folder, self.settings(network.port), self.redis.url())
        self.networks[worker] = network
        self.appliances.append(worker)
        worker.start()
        return worker

    def workers(self, count: int) -> list[WorkerAppliance]:
        """Return so many workers that run; some may have to join."""
        running = [worker for worker in self.networks if worker.is_ready()]
        return [*running, *(self.join() for _ in range(count - len(running)))][:count]

    def connection(self) -> closing[redis.Redis]:
        return closing(shared_connection(self.api))

    def held_by(self, job: Submitted) -> set[int]:
        return {step.pid for step in self.faults.steps("read") if step.job_id == job.id}

    def check_counted_once(self, before: dict[str, float], *jobs: Submitted) -> dict[str, float]:
        """Fail unless each job is exact and counted once; return the counters' growth."""
        for job in jobs:
            job.check_completed()
        with self.connection() as connection:
            eventually(lambda: nothing_is_left(connection), self.api.log_tail)
            counted = {name: value - before.get(name, 0) for name, value in counters(connection).items()}
        assert counted["jobs_total|completed"] == len(jobs)
        assert counted["rows_explained_total|breast-cancer@1"] == sum(len(job.rows) for job in jobs)
        return counted

    def _end(self) -> None:
        written = ""
        for appliance in self.appliances:
            written += appliance.log() + "".join(str(process.cmdline()) for process in appliance.family())
            appliance.kill()
        self.redis.kill()
        assert PASSWORD not in written
        assert "p%40ss" not in written


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with ExitStack() as stack:
        yield Fleet(tmp_path_factory.mktemp("fleet"), stack)


@pytest.fixture
def before(fleet: Fleet) -> dict[str, float]:
    with fleet.connection() as connection:
        return counters(connection)


def states(appliance: Appliance) -> set[str]:
    with closing(Supervisor(appliance.settings().supervisor_socket)) as supervisor:
        return {name for name, state in supervisor.states().items() if state in {"RUNNING", "STARTING"}}


def metric_names(appliance: Appliance) -> set[str]:
    text = Shapbox(appliance.metrics_url, "").call("GET", "/metrics").body.decode()
    return {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}


def test_a_job_outlives_a_worker_container_that_vanishes_and_one_that_joins(
    fleet: Fleet, before: dict[str, float]
) -> None:
    first, second = fleet.workers(2)
    assert states(fleet.api) - {"announce"} == {"monitor", "api"}
    assert states(first) == {"monitor", "worker-1"}
    assert first.host != second.host
    assert first.host.rpartition("-")[0] == second.host.rpartition("-")[0]
    with fleet.faults.held():
        job = submit(fleet.api, "breast-cancer", BATCHES * BATCH_ROWS)
        pids = {*first.worker_pids(), *second.worker_pids()}
        eventually(lambda: fleet.held_by(job) == pids, fleet.api.log_tail)
        first.kill()
        third = fleet.join()
        eventually(lambda: len(fleet.held_by(job)) == 3, fleet.api.log_tail)
    counted = fleet.check_counted_once(before, job)
    assert counted["batches_recovered_total|lease"] == 1
    assert not counted.get("batches_recovered_total|worker_died")
    worked = {step.pid for step in fleet.faults.steps("recorded") if step.job_id == job.id}
    assert worked == {*second.worker_pids(), *third.worker_pids()}
    eventually(lambda: "accepted jobs with them: set it to noeviction" in fleet.api.log(), fleet.api.log_tail)
    assert metric_names(fleet.api) >= COMMON
    told = metric_names(second)
    assert told >= {"shapbox_redis_up", "shapbox_memory_limit_bytes"}
    assert not told & COMMON


def test_a_worker_cut_off_the_network_changes_nothing_by_its_late_result_and_comes_back_by_itself(
    fleet: Fleet, before: dict[str, float]
) -> None:
    cut_off, other = fleet.workers(2)
    pids = {*cut_off.worker_pids(), *other.worker_pids()}
    network = fleet.networks[cut_off]
    with fleet.faults.held():
        job = submit(fleet.api, "breast-cancer", BATCHES * BATCH_ROWS)
        eventually(lambda: fleet.held_by(job) == pids, fleet.api.log_tail)
        network.cut()
        cut_at = time.monotonic()
    # It has its rows, computes, stores the result, and cannot tell anybody.
    job.check_completed()
    assert time.monotonic() - cut_at > LEASE_SECONDS - 1
    stored = [step for step in fleet.faults.steps("stored") if step.job_id == job.id]
    assert len({step.batch for step in stored if step.pid not in other.worker_pids()}) == 1
    time.sleep(max(0.0, CUT_SECONDS - (time.monotonic() - cut_at)))
    assert not cut_off.is_ready()
    network.mend()
    eventually(cut_off.is_ready, cut_off.log_tail)
    with fleet.faults.held():
        later = submit(fleet.api, "breast-cancer", BATCHES * BATCH_ROWS, seed=8)
        pids = {*cut_off.worker_pids(), *other.worker_pids()}
        eventually(lambda: fleet.held_by(later) == pids, cut_off.log_tail)
    counted = fleet.check_counted_once(before, job, later)
    assert counted["batches_recovered_total|lease"] == 1
    assert states(cut_off) == {"monitor", "worker-1"}


def test_an_api_without_workers_takes_no_work_and_is_not_to_be_restarted_and_workers_wait_for_redis(
    fleet: Fleet, before: dict[str, float]
) -> None:
    api = fleet.api
    [worker] = fleet.workers(1)
    host = worker.host
    for appliance in fleet.networks:
        appliance.stop()
    eventually(lambda: api.get("/readyz").status == 503)
    assert api.get("/readyz").json()["probes"]["workers"]["ok"] is False
    assert api.get("/healthz").status == 200

    fleet.redis.kill()

    def come_back() -> None:
        eventually(lambda: "waiting for Redis" in worker.log(), worker.log_tail)
        fleet.redis.start()

    back = threading.Thread(target=come_back)
    back.start()
    worker.start()
    back.join()
    assert "the programs will wait for it" in worker.log()
    assert worker.host == host
    eventually(api.is_ready, api.log_tail)
    fleet.check_counted_once(before, submit(api, "breast-cancer", 3 * BATCH_ROWS))
