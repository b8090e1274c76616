"""A real disk that fills up: refusals in time, no accepted job lost, recovery by itself."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ops.lab.trial_appliance import Appliance
from services.monitor.sweeper import Sweeper
from shapbox import NoAnswerError, Response
from shared.disk import RESERVE_BYTES
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
BATCH_ROWS, JOB_ROWS = 100, 20_000
#: Seconds after which this appliance asks for a restart where one would help, and for which the disk stays full.
HOPELESS, FULL_SECONDS = 8.0, 12.0


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    with small_disk(f"size={DISK_MB}m") as folder:
        yield folder


@pytest.fixture(scope="module")
def box(disk: Path) -> Iterator[Appliance]:
    running = Appliance(disk, {"BATCH_ROWS": str(BATCH_ROWS), **timed(hopeless_seconds=HOPELESS)})
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(autouse=True)
def room(box: Appliance) -> Iterator[None]:
    yield
    release(box)
    until("ready", lambda: is_ready(box), 2 * GENEROUS, box)
    for job in box.get("/v1/jobs?limit=100").json()["jobs"]:
        assert box.call("DELETE", f"/v1/jobs/{job['id']}").status == 204


def free(box: Appliance) -> int:
    return shutil.disk_usage(box.data_dir).free


def fill(box: Appliance, leave: int = 0) -> None:
    """Fill the disk from outside until so many bytes are left; to the last one if none."""
    with (box.data_dir / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while (there := free(box)) > leave or not leave:
            file.write(bytes(min(max(there - leave, 1), 2**20)))


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
    finish(sent)  # results are still given
    release(box)
    until("ready", lambda: is_ready(box), appliance=box)
    finish(send(box, version, sent.rows))


def test_the_results_of_accepted_jobs_have_their_room_before_they_are_made(box: Appliance) -> None:
    version = the_model("wine")  # three outputs: the values take over three times the room of the rows
    rows = shaken_examples(version, 100_000)
    results = len(rows) * len(version.outputs) * (len(version.features) + 2) * 4
    accepted = 0
    with stopped(*box.worker_pids()):
        while (answer := offer(box, version, rows)).status == 202:
            accepted += 1
            assert accepted * results < free(box) - RESERVE_BYTES, "the results will not fit"
        check_refusal(answer, 507, "storage-full")
        assert accepted
        for job in box.get("/v1/jobs").json()["jobs"]:
            assert box.call("DELETE", f"/v1/jobs/{job['id']}").status == 204


def test_a_disk_that_is_filled_in_mid_job_loses_nothing_and_is_recovered_from(box: Appliance) -> None:
    version = the_model()
    rows = shaken_examples(version, JOB_ROWS)
    done = send(box, version, rows[:BATCH_ROWS])
    finish(done)
    payloads = Payloads.open(box.settings())
    orphan = old_id(1.5 * TIMING.orphan_on_full_disk_seconds)
    put_one_row(payloads, orphan)
    sent = [send(box, version, rows) for _ in range(3)]
    until("begun", lambda: completed(box, sent[0]) > 10, appliance=box)
    fill(box)
    connection = connect(box.settings(), Patience.STEADY, name="test")
    until("refused", lambda: connection.info("persistence")["aof_last_write_status"] == "err", appliance=box)
    until("not ready", lambda: not is_ready(box), appliance=box)
    refused = hammer(box, sent[0], FULL_SECONDS)
    assert len(refused) > 5
    for answer in refused:
        check_refusal(answer)
    status, found = probes(box)
    assert status == 503
    assert not found["storage"]["ok"] or not found["redis"]["ok"]
    finish(done)
    # An upload's leavings go sooner than otherwise, for the room that they give.
    until("swept", lambda: orphan not in payloads.job_ids(), appliance=box)

    release(box)
    until("ready", lambda: is_ready(box), appliance=box)
    sent.append(send_obeying(box, version, rows[:500])[0])
    for one in sent:
        finish(one)
    assert connection.info("persistence")["aof_last_write_status"] == "ok"
    known = {job["id"] for job in box.get("/v1/jobs?limit=100").json()["jobs"]}
    assert {one.id for one in (*sent, done)} <= known
    left = set(payloads.job_ids()) - known
    assert len(left) <= 20, "rows of refused requests stay behind"
    connection.close()


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


def completed(box: Appliance, sent: Submitted) -> int:
    return int(box.get(f"/v1/jobs/{sent.id}").json()["batches"]["completed"])


def old_id(seconds: float) -> str:
    return f"{int((time.time() - seconds) * 1000):012x}{new_job_id()[12:]}"


def test_deleting_an_ended_job_makes_room_on_a_full_disk(box: Appliance) -> None:
    version = the_model()
    sent = send(box, version, shaken_examples(version, JOB_ROWS))
    finish(sent)
    fill(box)
    connection = connect(box.settings(), Patience.STEADY, name="test")
    until("refused", lambda: connection.info("persistence")["aof_last_write_status"] == "err", appliance=box)
    connection.close()
    before = free(box)
    until("deleted", lambda: box.call("DELETE", f"/v1/jobs/{sent.id}").status in {204, 404}, appliance=box)
    assert free(box) > before + 2**20


def test_an_api_that_is_killed_in_an_upload_leaves_no_job_and_what_it_stored_is_swept(box: Appliance) -> None:
    version = the_model()
    kept = send(box, version, shaken_examples(version, BATCH_ROWS))
    finish(kept)
    settings = box.settings()
    payloads = Payloads.open(settings)
    there = free(box)
    header = ",".join(f'"{name}"' for name in version.features)
    line = ",".join(["0"] * len(version.features))
    body = "\n".join([header, *[line] * 150_000]).encode()
    with ThreadPoolExecutor(1) as threads:
        upload = threads.submit(
            box.call, "POST", f"/v1/jobs?model={version.id}", body, headers={"Content-Type": "text/csv"}
        )
        until("storing", lambda: len(payloads.job_ids()) > 1, appliance=box)
        for pid in box.pids_of("services.api"):
            os.kill(pid, signal.SIGKILL)
        assert isinstance(upload.exception(GENEROUS), NoAnswerError)
    until("back", lambda: is_ready(box), appliance=box)
    assert [job["id"] for job in box.get("/v1/jobs").json()["jobs"]] == [kept.id]
    assert len(payloads.job_ids()) == 2

    connection = connect(settings, Patience.STEADY, name="test")
    store = JobStore(connection, settings)
    now = time.time()
    assert Sweeper(connection, store, payloads, 24).sweep_objects(now) == 0  # it might be on its way
    assert Sweeper(connection, store, payloads, 24).sweep_objects(now + TIMING.orphan_seconds + 1) == 1
    connection.close()
    assert payloads.job_ids() == [kept.id]
    assert list(settings.tmp_dir.iterdir()) == []
    assert free(box) > there - 2**20
    finish(kept)
