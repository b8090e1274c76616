"""A real Prometheus scrapes a real appliance, and each shipped alert is made to fire.

A minute of the rules is a second here. The tests run in order: the first one finds the appliance well.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from ops.lab.trial_appliance import Appliance, memory_cgroup
from shapbox import Shapbox
from shared.build import ROOT
from shared.disk import RESERVE_BYTES
from shared.redis.connection import Patience, connect
from tests.support.client import finish, full_redis, offer, stopped, the_model, until
from tests.support.faults.placing import Faults, timed
from tests.support.faults.submitted import Submitted, eventually, shaken_examples, submit
from tests.support.faults.supervised import Supervisor
from tests.support.shipped import annotation_expressions, exported, panel_expressions, rules
from tests.support.small_disk import small_disk
from tests.watch.provocations import (
    eaten_memory,
    filled_disk,
    kill,
    pulsed,
    repeatedly,
    replicating,
    without_objects,
)
from tests.watch.real_prometheus import Prometheus, filled_in, program, promtool, running

#: MB of the container, and the working set at which memory is at its limit but not at the hard mark.
CONTAINER_MB, PRESSED_BYTES = 512, 480 * 2**20
#: MB of the disk under DATA_DIR: what the api keeps free, and some more.
DISK_MB = 160
#: Batches that may wait, and rows of one.
QUEUE_LIMIT, BATCH_ROWS = 40, 20
#: The model that is damaged.
DAMAGED = "diabetes"
#: Batches that leave memory behind in their workers, and how many workers a poisonous one could end.
LEAKS, PLENTY = 24, 8
#: Only the alert about the placeholder, which is there from the start, fires in an appliance that is well otherwise.
ALWAYS = {"ShapboxFallbackModel"}
#: Clients that wait for a job: more than MAX_WAITING_REQUESTS.
WAITERS = 30
#: Seconds of load in which nothing else may have fired.
WELL_SECONDS = 8
#: Seconds after which a worker that has nothing to do is there to stay.
SETTLING_SECONDS = 2.0
#: The alerts that the tests below provoke: all.
FAILURES = {f"Shapbox{name}" for name in ("PoisonBatch", "EngineFault", "JobsFail", "RecycleStorm", "Errors")}
STUCK = {
    f"Shapbox{name}"
    for name in ("NoWorkers", "WorkerSilent", "QueueStuck", "QueueNearlyFull", "Refusals", "TooManyClients")
}
FULL = {f"Shapbox{name}" for name in ("DiskFilling", "DiskFull", "MemoryNearLimit", "MemoryUnrelieved")}
SLOWNESS, WAITING = {"ShapboxRedisNearlyFull", "ShapboxSlowAnswers"}, {"ShapboxOldestBatchTooOld"}
ABSENCE = {
    f"Shapbox{name}"
    for name in (
        "RedisDown",
        "RedisReadOnly",
        "RedisSlow",
        "ProgramDown",
        "WorkerCrashes",
        "Down",
        "ProgramExits",
        "StorageDown",
    )
}


@dataclass(frozen=True, slots=True)
class Watched:
    """An appliance with its own memory limit and disk, and the Prometheus that scrapes it."""

    appliance: Appliance
    cgroup: Path
    prometheus: Prometheus
    faults: Faults


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    program("prometheus")
    folder = tmp_path_factory.mktemp("watch")
    faults = Faults(folder / "faults")
    with ExitStack() as stack:
        cgroup = stack.enter_context(memory_cgroup(folder.name, CONTAINER_MB))
        if cgroup is None:
            pytest.skip("no memory cgroup (version 1) can be made here: that takes root")
        disk = stack.enter_context(small_disk(f"size={DISK_MB}m"))
        appliance = Appliance(disk, settings_for(folder, faults), cgroup)
        appliance.start()
        stack.callback(appliance.kill)
        prometheus = stack.enter_context(running(folder / "prometheus", "local.yml", appliance.metrics_url))
        yield Watched(appliance, cgroup, prometheus, faults)


def settings_for(folder: Path, faults: Faults) -> dict[str, str]:
    models = shutil.copytree(ROOT / "models", folder / "models")
    os.truncate(models / DAMAGED / "1" / "model.ubj", 100)
    return {
        **faults.environment(),
        **timed(stalled_batches=0.2, storage_probe_seconds=0.5),
        "MODELS_DIR": str(models),
        "ALLOW_FALLBACK_MODEL": "true",
        "MAX_QUEUED_BATCHES": str(QUEUE_LIMIT),
        "BATCH_ROWS": str(BATCH_ROWS),
        "WORKER_MEMORY_LIMIT_MB": "80",
    }


def test_a_well_appliance_gives_every_metric_and_every_panel_data_and_no_alert(watched: Watched) -> None:
    prometheus, appliance = watched.prometheus, watched.appliance
    with repeatedly(lambda: submit(appliance, "wine", 5 * BATCH_ROWS).finish(), 0.2):
        until("scraped", lambda: exported() <= prometheus.metrics())
        eventually(lambda: not without_data(prometheus), lambda: without_data(prometheus))
        # Before its first scrape, which takes it five of these minutes, Prometheus finds the appliance absent.
        eventually(lambda: prometheus.fired(WELL_SECONDS) == ALWAYS, lambda: prometheus.fired(WELL_SECONDS))
    assert prometheus.metrics() == exported()
    models = appliance.get("/v1/models").json()["models"]
    assert [model["name"] for model in models if model["fallback"]] == [DAMAGED]
    assert "fallback" in appliance.get("/readyz").body.decode()
    assert f"a placeholder model is served as {DAMAGED}@1" in appliance.log()
    histograms = {"shapbox_batch_seconds", "shapbox_job_seconds", "shapbox_http_request_seconds"}
    assert prometheus.types() == {
        name: "counter" if name.endswith("_total") else "histogram" if name in histograms else "gauge"
        for name in exported()
    }


def without_data(prometheus: Prometheus) -> list[str]:
    """Return the queries without a number: of panels, and of recording rules."""
    asked = [*(filled_in(expression.text) for expression in panel_expressions()), *rules("record")]
    return [text for text in asked if not prometheus.samples(text)]


def test_both_ports_give_faultless_metrics_and_the_public_one_is_scraped_by_its_token(
    watched: Watched, tmp_path: Path
) -> None:
    appliance = watched.appliance
    public = appliance.get("/metrics", key=appliance.metrics_token)
    for answer in (public, Shapbox(appliance.metrics_url, "").call("GET", "/metrics")):
        assert answer.status == 200
        assert promtool("check", "metrics", given=answer.body) == ""
    with running(tmp_path, "render-public.yml", appliance.url, appliance.metrics_token) as prometheus:
        until("scraped", lambda: exported() <= prometheus.metrics())
        target = appliance.url.removeprefix("http://")
        assert prometheus.samples(f'up{{job="shapbox",instance="{target}"}} == 1')


def test_what_fails_fires(watched: Watched) -> None:
    appliance, faults, begun = watched.appliance, watched.faults, time.monotonic()
    broken = submit(appliance, "wine", 1)
    broken.check_completed()
    (appliance.data_dir / "objects" / "jobs" / f"{broken.id}.npy").unlink()
    with repeatedly(lambda: appliance.get(f"/v1/jobs/{broken.id}/result"), 0.1):
        with faults.held():
            poisonous = submit(appliance, "breast-cancer", 3 * BATCH_ROWS)
            faults.place(poisonous.id, 1, "compute", "kill", PLENTY)
            ill_explained = submit(appliance, "wine", 2 * BATCH_ROWS)
            faults.place(ill_explained.id, 0, "compute", "break")
            leaking = submit(appliance, "wine", LEAKS * BATCH_ROWS)
            for batch in range(LEAKS):
                faults.place(leaking.id, batch, "compute", "leak")
        watched.prometheus.wait_for(FAILURES, begun)
    assert poisonous.finish()["error"]["type"] == "/problems/poison-batch"
    assert ill_explained.finish()["error"]["type"] == "/problems/engine-fault"
    finish(leaking)
    recycles, deploys = (filled_in(expression.text) for expression in annotation_expressions())
    assert watched.prometheus.samples(f"last_over_time(({recycles})[60s:1s])")
    [started] = watched.prometheus.samples(deploys)
    assert 0 < time.time() - float(started["value"][1]) / 1000 < 600
    assert started["metric"]["commit"]


def test_what_stands_still_and_what_is_full_fires(watched: Watched) -> None:
    appliance, prometheus, begun = watched.appliance, watched.prometheus, time.monotonic()
    large = submit(appliance, "wine", 30 * BATCH_ROWS)
    finish(large)
    with ExitStack() as stack:
        stack.enter_context(stopped(*settled_workers(appliance)))
        sent = fill_queue(appliance)
        with (
            repeatedly(lambda: offer(appliance, the_model("wine"), sent[0].rows), 0.1),
            repeatedly(lambda: appliance.get(f"/v1/jobs/{sent[0].id}?wait=2"), 0.1, clients=WAITERS),
            eaten_memory(watched.cgroup, PRESSED_BYTES),
            filled_disk(appliance.data_dir, RESERVE_BYTES - 2**20),
        ):
            prometheus.wait_for(STUCK | FULL, begun)
        connection = stack.enter_context(closing(connect(appliance.settings(), Patience.STEADY, name="test")))
        [api] = appliance.pids_of("services.api")
        with (
            full_redis(connection, 0.83),
            # Requests that take the api some time: when it is stopped, it is in the middle of several.
            repeatedly(lambda: appliance.get(f"/v1/jobs/{large.id}/result"), 0.0, clients=8),
            pulsed(api, stopped=1.3, going=0.3),
        ):
            prometheus.wait_for(SLOWNESS, begun)
        prometheus.wait_for(WAITING, begun)
    for job in sent:
        finish(job)


def settled_workers(appliance: Appliance) -> list[int]:
    """Return the two workers' processes once neither is about to leave."""

    def two_that_stay() -> list[int] | None:
        pids = appliance.worker_pids()
        time.sleep(SETTLING_SECONDS)
        return pids if len(pids) == 2 and pids == appliance.worker_pids() else None

    return list(eventually(two_that_stay, appliance.log_tail))


def fill_queue(appliance: Appliance) -> list[Submitted]:
    """Send jobs of one batch and of ten until the queue is full; return the accepted ones."""
    version = the_model("wine")
    sent = [submit(appliance, "wine", 1)]
    for batches in (10, 1):
        rows = shaken_examples(version, batches * BATCH_ROWS)
        while (answer := offer(appliance, version, rows)).status == 202:
            sent.append(Submitted(appliance, answer.json()["id"], version, rows))
        assert answer.status == 429, answer
    return sent


def test_what_is_away_fires(watched: Watched) -> None:
    appliance, prometheus, begun = watched.appliance, watched.prometheus, time.monotonic()
    [redis_pid] = appliance.pids_of("redis-server")
    with closing(Supervisor(appliance.settings().supervisor_socket)) as supervisor:
        supervisor.stop("worker")
        with pulsed(redis_pid, stopped=0.4, going=0.3):
            prometheus.wait_for({"ShapboxRedisSlow", "ShapboxProgramDown"}, begun)
        with stopped(redis_pid):
            prometheus.wait_for({"ShapboxRedisDown"}, begun)
        supervisor.start("worker")
    with replicating(appliance):
        prometheus.wait_for({"ShapboxRedisReadOnly"}, begun)
    until("ready", appliance.is_ready, appliance=appliance)  # an api does not start without a store
    with without_objects(appliance):
        prometheus.wait_for({"ShapboxStorageDown"}, begun)
    with repeatedly(lambda: kill(appliance, "services.worker"), 2.0):
        prometheus.wait_for({"ShapboxWorkerCrashes"}, begun)
    with repeatedly(lambda: kill(appliance, "services.api"), 2.0):
        prometheus.wait_for({"ShapboxProgramExits"}, begun)
    [monitor] = appliance.pids_of("services.monitor")
    with stopped(monitor):
        prometheus.wait_for({"ShapboxDown"}, begun)


def test_every_alert_is_provoked() -> None:
    assert set(rules("alert")) == ALWAYS | FAILURES | STUCK | FULL | SLOWNESS | WAITING | ABSENCE
