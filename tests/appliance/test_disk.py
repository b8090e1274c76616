"""A real disk without bytes or inodes: refusals in time, no job lost, recovery by itself."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import redis

from ops.lab.trial_appliance import Appliance
from services.monitor.sweeper import Sweeper
from shapbox import NoAnswerError, Response
from shared.disk import RESERVE_BYTES, RESERVE_INODES, free_space
from shared.jobs.ids import new_job_id
from shared.jobs.store import JobStore
from shared.objects.payloads import Payloads
from shared.redis.connection import Patience, connect
from shared.timing import TIMING
from tests.support.client import (
    GENEROUS,
    causes,
    check_refusal,
    finish,
    is_ready,
    offer,
    probes,
    send,
    send_obeying,
    stopped,
    the_model,
    until,
)
from tests.support.faults.placing import timed
from tests.support.faults.submitted import Submitted, shaken_examples
from tests.support.small_disk import small_disk
from tests.support.stored_rows import put_one_row

#: MB of the disk: what the api keeps free, and some for rows.
DISK_MB = 160
#: Rows of a batch, and of a job that takes some seconds.
BATCH_ROWS, JOB_ROWS = 50, 10_000
#: Seconds after which this appliance asks for a restart where one would help, and for which the disk stays full.
HOPELESS, FULL_SECONDS = 4.0, 6.0
#: Seconds after which an upload's rows are leftovers while the disk is nearly full.
LEFTOVER = 20.0
#: Jobs for which there are inodes, and inodes that the appliance may take meanwhile: log rewrites, temporary files.
INODES, OWN = 100, 20


@pytest.fixture(scope="module")
def box() -> Iterator[Appliance]:
    with small_disk(f"size={DISK_MB}m") as folder:
        running = Appliance(
            folder,
            {
                "BATCH_ROWS": str(BATCH_ROWS),
                **timed(hopeless_seconds=HOPELESS, orphan_on_full_disk_seconds=LEFTOVER),
            },
        )
        running.start()
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture(autouse=True)
def _room(box: Appliance) -> Iterator[None]:
    yield
    release(box)
    until("ready", lambda: is_ready(box), 2 * GENEROUS, box)
    while jobs := box.get("/v1/jobs?limit=100").json()["jobs"]:
        for job in jobs:
            assert box.call("DELETE", f"/v1/jobs/{job['id']}").status == 204


@pytest.fixture
def connection(box: Appliance) -> Iterator[redis.Redis]:
    with contextlib.closing(connect(box.settings(), Patience.STEADY, name="test")) as made:
        yield made


def free(box: Appliance) -> int:
    return shutil.disk_usage(box.data_dir).free


def fill(box: Appliance, leave: int = 0) -> None:
    """Fill the disk from outside until so many bytes are left; to the last one if none."""
    with (box.data_dir / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while (there := free(box)) > leave or not leave:
            file.write(bytes(min(max(there - leave, 1), 2**20)))


def fill_until_redis_refuses(box: Appliance, connection: redis.Redis) -> None:
    fill(box)
    until("refused", lambda: connection.info("persistence")["aof_last_write_status"] == "err", appliance=box)


def kill_api(box: Appliance) -> None:
    for pid in box.pids_of("services.api"):
        os.kill(pid, signal.SIGKILL)


def release(box: Appliance) -> None:
    (box.data_dir / "filler").unlink(missing_ok=True)


@contextlib.contextmanager
def lowest_free(box: Appliance) -> Iterator[list[int]]:
    """Watch how little room there was while the block ran."""
    seen, done = [free(box)], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            seen[0] = min(seen[0], free(box))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def test_rows_that_would_touch_the_reserve_are_refused(box: Appliance) -> None:
    version = the_model()
    with lowest_free(box) as lowest:
        for megabytes in (DISK_MB - 70, DISK_MB - 110):  # refused at its head; refused when it is there
            rows = np.zeros((megabytes * 2**20 // 120, 30), np.float32)
            check_refusal(offer(box, version, rows), 507, "storage-full")
        sent = send(box, version, shaken_examples(version, JOB_ROWS))
        finish(sent)
    assert lowest[0] > RESERVE_BYTES
    fill(box, RESERVE_BYTES - 2**20)
    for rows in (sent.rows, sent.rows[:1]):
        check_refusal(offer(box, version, rows), 507, "storage-full")
    check_refusal(offer(box, version, sent.rows, "/v1/explain"), 507, "storage-full")
    assert offer(box, version, sent.rows[:1], "/v1/explain").status == 200  # it needs no disk
    status, found = probes(box)
    assert status == 503
    assert "free" in found["storage"]["detail"]
    assert causes(box) == set()
    sent.check_values()  # results are still given
    release(box)
    until("ready", lambda: is_ready(box), appliance=box)
    finish(send(box, version, sent.rows[:1]))


def test_the_results_of_accepted_jobs_have_their_room_before_they_are_made(box: Appliance) -> None:
    version = the_model("wine")  # three outputs: the values take over three times the room of the rows
    rows = shaken_examples(version, 40_000)
    results = len(rows) * len(version.outputs) * (len(version.features) + 2) * 4
    accepted = 0
    with stopped(*box.worker_pids()):
        while (answer := offer(box, version, rows)).status == 202:
            accepted += 1
            assert accepted * results < free(box) - RESERVE_BYTES, "the results will not fit"
        check_refusal(answer, 507, "storage-full")
        assert accepted, answer
        for job in box.get("/v1/jobs").json()["jobs"]:
            assert box.call("DELETE", f"/v1/jobs/{job['id']}").status == 204
    kill_api(box)  # it would hold their room until it looks again


def test_a_disk_that_is_filled_in_mid_job_loses_nothing_and_is_recovered_from(
    box: Appliance, connection: redis.Redis
) -> None:
    version = the_model()
    rows = shaken_examples(version, JOB_ROWS)
    done = send(box, version, rows[:BATCH_ROWS])
    finish(done)
    payloads = Payloads.open(box.settings())
    orphan = new_job_id()
    put_one_row(payloads, orphan)
    sent = [send(box, version, rows) for _ in range(3)]
    until("begun", lambda: sent[0].document()["batches"]["completed"] > 10, appliance=box)
    fill_until_redis_refuses(box, connection)
    until("not ready", lambda: not is_ready(box), appliance=box)
    refused = hammer(box, sent[0], FULL_SECONDS)
    assert len(refused) > 5
    for answer in refused:
        check_refusal(answer)
    status, found = probes(box)
    assert status == 503
    assert not found["storage"]["ok"] or not found["redis"]["ok"]
    done.check_values()
    # An upload's leavings go sooner than otherwise, for the room that they give.
    until("swept", lambda: orphan not in payloads.job_ids(), appliance=box)

    release(box)
    until("ready", lambda: is_ready(box), appliance=box)
    sent.append(send_obeying(box, version, rows[:500]))
    for one in sent:
        finish(one)
    assert connection.info("persistence")["aof_last_write_status"] == "ok"
    known = {job["id"] for job in box.get("/v1/jobs?limit=100").json()["jobs"]}
    assert {one.id for one in (*sent, done)} <= known
    assert len(set(payloads.job_ids()) - known) <= 20, "rows of refused requests stay behind"


def hammer(box: Appliance, busy: Submitted, seconds: float) -> list[Response]:
    """Send small and large requests from several clients, watch health, return the refusals."""
    version, deadline = busy.version, time.monotonic() + seconds
    refused: list[Response] = []

    def client(rows: int, path: str) -> None:
        while time.monotonic() < deadline:
            answer = offer(box, version, busy.rows[:rows], path)
            if answer.status in {429, 503, 507}:
                refused.append(answer)
            else:  # explained on the spot, or a page came free in this moment
                assert answer.status in {200, 202}, answer
            time.sleep(0.1)

    def watch() -> None:
        while time.monotonic() < deadline:
            assert causes(box) == set()  # a restart makes no room
            assert box.get(f"/v1/jobs/{busy.id}").status == 200
            assert box.get("/v1/jobs").status == 200
            assert box.get("/metrics", key=box.metrics_token).status in {200, 503}
            time.sleep(0.5)

    with ThreadPoolExecutor() as threads:
        clients = [threads.submit(client, *one) for one in ((1, "/v1/explain"), (1, "/v1/jobs"))]
        clients += [threads.submit(client, JOB_ROWS, "/v1/jobs"), threads.submit(watch)]
        for one in clients:
            one.result()
    return refused


def test_deleting_an_ended_job_makes_room_on_a_full_disk(box: Appliance, connection: redis.Redis) -> None:
    version = the_model()
    sent = send(box, version, shaken_examples(version, JOB_ROWS))
    assert sent.finish()["status"] == "completed"
    fill_until_redis_refuses(box, connection)
    before = free(box)
    until("deleted", lambda: box.call("DELETE", f"/v1/jobs/{sent.id}").status in {204, 404}, appliance=box)
    assert free(box) > before + 2**20


def test_an_api_that_is_killed_in_an_upload_leaves_no_job_and_what_it_stored_is_swept(
    box: Appliance, connection: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = the_model()
    kept = send(box, version, shaken_examples(version, BATCH_ROWS))
    finish(kept)
    settings = box.settings()
    payloads = Payloads.open(settings)
    there = free(box)
    header = ",".join(f'"{name}"' for name in version.features)
    line = ",".join(["0"] * len(version.features))
    body = "\n".join([header, *[line] * 100_000]).encode()
    call = ("POST", f"/v1/jobs?model={version.id}", body)
    with ThreadPoolExecutor(1) as threads:
        upload = threads.submit(box.call, *call, headers={"Content-Type": "text/csv"})
        until("storing", lambda: len(payloads.job_ids()) > 1, appliance=box)
        kill_api(box)
        assert isinstance(upload.exception(GENEROUS), NoAnswerError)
    until("back", lambda: is_ready(box), appliance=box)
    assert [job["id"] for job in box.get("/v1/jobs").json()["jobs"]] == [kept.id]
    assert len(payloads.job_ids()) == 2

    store = JobStore(connection, settings)
    sweeper, later = Sweeper(connection, store, payloads, 24), time.monotonic() + TIMING.orphan_seconds + 60
    assert sweeper.sweep_objects(time.time()) == 0  # it might be on its way
    monkeypatch.setattr("services.monitor.sweeper.time", SimpleNamespace(monotonic=lambda: later))
    assert sweeper.sweep_objects(time.time()) == 1
    assert payloads.job_ids() == [kept.id]
    assert list(settings.tmp_dir.iterdir()) == []
    assert free(box) > there - 2**20
    kept.check_values()


# --- Inodes ---


def free_inodes(box: Appliance) -> int:
    space = free_space(box.data_dir)
    assert space is not None
    assert space.inodes is not None
    return space.inodes


@pytest.fixture
def _few_inodes(box: Appliance) -> Iterator[None]:
    def allow(inodes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,nr_inodes={inodes}", str(box.data_dir)], check=True)

    kill_api(box)  # it would hold the room of deleted jobs until it looks again
    until("ready", lambda: is_ready(box), GENEROUS, box)
    used = os.statvfs(box.data_dir).f_files - free_inodes(box)
    allow(used + RESERVE_INODES + INODES)
    yield
    allow(100_000)


@pytest.mark.usefixtures("_few_inodes")
def test_one_row_jobs_take_one_inode_each_and_are_refused_before_the_reserve(box: Appliance) -> None:
    version = the_model()
    rows = shaken_examples(version, 200)
    kept = send(box, version, rows[:1])
    finish(kept)
    before = free_inodes(box)

    def send_until_refused(client: int) -> list[str]:
        accepted = []
        while (answer := offer(box, version, rows[client : client + 1])).status == 202:
            accepted.append(answer.json()["id"])
        assert "free inodes" in check_refusal(answer, 507, "storage-full")["detail"]
        return accepted

    with ThreadPoolExecutor(4) as threads:
        accepted = [job_id for some in threads.map(send_until_refused, range(4)) for job_id in some]
    assert abs(before - RESERVE_INODES - len(accepted)) <= OWN
    assert free_inodes(box) >= RESERVE_INODES - OWN
    all_run = len(accepted) + 1
    until("run", lambda: box.get("/v1/appliance").json()["jobs"]["completed"] == all_run, appliance=box)

    for number in range(OWN):  # so that an inode that the appliance frees does not make it ready
        (box.data_dir / f"filler-{number}").touch()
    status, found = probes(box)
    assert status == 503
    assert found["storage"]["free_inodes"] < RESERVE_INODES
    assert found["storage"]["free_bytes"] > RESERVE_BYTES
    assert "free inodes" in found["storage"]["detail"]
    check_refusal(offer(box, version, rows), 507, "storage-full")
    assert offer(box, version, rows[:1], "/v1/explain").status == 200  # it stores nothing
    kept.check_values()  # results are still given

    for job_id in accepted[: 2 * OWN]:
        assert box.call("DELETE", f"/v1/jobs/{job_id}").status == 204
    until("ready", lambda: is_ready(box), appliance=box)
    finish(send(box, version, rows[:1]))
