"""The api as a process: its start without Redis, its stop, and its memory while clients do not read."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest

from services.api.__main__ import main
from services.api.components import Components
from services.api.http.channel import WAITING_BYTES
from services.api.http.server import UNSENT_BYTES
from services.api.results.writer import WHOLE_NUMBERS
from shared.explanation import Explanation
from shared.jobs.document import Job, Method
from shared.jobs.ids import new_job_id
from shared.jobs.store import JobStore
from shared.memory import process_pss_bytes
from shared.objects.payloads import Payloads
from shared.settings import Settings
from tests.integration.api.api_client import API_KEY, NPY, OverHttp, Process, Reply
from tests.integration.api.served import Connection
from tests.support.quick import check_quick_by_own_clock
from tests.support.redis_server import RedisServer

type Start = Callable[[], Process]
type Wait = Callable[..., float]

BODY = {"model": "diabetes", "rows": [[1.0] * 10]}
MB = 2**20
#: Clients that do not read, and features of the model whose result each of them asks for.
CLIENTS, FEATURES = 150, 13
#: The largest result that is made whole: 512 KB.
ROWS = WHOLE_NUMBERS // (FEATURES + 2)
#: WAITING_BYTES, what the server's threads have in hand, and what they are made with.
MOST_GROWN_MB = 48


def test_health_is_answered_while_as_many_as_may_wait_do(
    http: OverHttp, components: Components, finish: Callable[[Job], object], wait_until: Wait
) -> None:
    job = http.post_json("/v1/jobs", BODY).json
    path = f"{job['links']['self']}?wait=60"
    threads = [threading.Thread(target=http.get, args=(path,)) for _ in range(40)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(components.job_waits._waiting) >= 20)
    assert http.get("/healthz").status == 200
    assert any(thread.is_alive() for thread in threads)
    finish(components.store.get(job["id"]))
    for thread in threads:
        thread.join()


def test_the_process_serves_when_redis_comes_and_lets_who_waits_go_at_its_end(
    start: Start, server: RedisServer, wait_until: Wait
) -> None:
    server.kill()
    process = start()
    assert process.http.get("/v1/jobs").status == 503
    server.start()
    wait_until(lambda: process.http.get("/v1/jobs").status == 200)

    def stop_one() -> float:
        nonlocal process
        if process.process.poll() is not None:
            process = start()
        accepted = len(process.http.get("/v1/jobs").json["jobs"])
        replies: list[Reply] = []
        waiting = threading.Thread(target=lambda: replies.append(process.http.post_json("/v1/explain", BODY)))
        waiting.start()
        wait_until(lambda: len(process.http.get("/v1/jobs").json["jobs"]) > accepted)
        seconds = process.stop()
        waiting.join()
        assert replies[0].status == 202
        assert "Traceback" not in process.log.read_text()
        return seconds

    check_quick_by_own_clock(3, stop_one)


def test_the_process_ends_also_while_redis_hangs(start: Start, server: RedisServer) -> None:
    def stop_one() -> float:
        process = start()
        process.http.get("/v1/jobs")
        server.signal(signal.SIGSTOP)
        seconds = process.stop()
        server.signal(signal.SIGCONT)
        return seconds

    check_quick_by_own_clock(5, stop_one)


def test_an_api_that_cannot_start_says_why_in_one_line(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    assert main({"DATA_DIR": str(settings.data_dir), "PORT": "70000"}) == 1
    [record] = caplog.records
    assert "PORT" in record.getMessage()
    assert record.exc_info is None


# --- Slow readers ---


@pytest.fixture
def job(store: JobStore, payloads: Payloads) -> Job:
    """Complete a job with the largest result that is made whole."""
    names = (new_job_id(), "wine@1", Method.TREE_PATH_DEPENDENT)
    job = Job(*names, rows=ROWS, batch_rows=ROWS, features=FEATURES, outputs=1, created_at=time.time())
    store.accept(job)
    store.transitions.claim(job.id, 0, "worker-1", "token")
    values = np.random.default_rng(1).normal(size=(ROWS, 1, FEATURES + 2)).astype(np.float32)
    payloads.put_result(job, 0, values[:, 0, :FEATURES], Explanation(values))
    store.transitions.complete(job.id, 0, ROWS, job.model, 0.0)
    return job


def test_answers_that_nobody_reads_take_a_bounded_part_of_memory_and_arrive_whole_at_last(
    start: Start, job: Job, settings: Settings, wait_until: Wait
) -> None:
    process = start()
    path = f"/v1/jobs/{job.id}/result"
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\nAccept: {NPY}\r\n\r\n"
    whole = process.http.get(path, Accept=NPY).body
    idle = process_pss_bytes(process.process.pid)

    def ask(count: int) -> list[Connection]:
        clients = [stack.enter_context(Connection(process.port, slow=True)) for _ in range(count)]
        for client in clients:
            client.sendall(head.encode())
        return clients

    def grown_mb() -> float:
        return (process_pss_bytes(process.process.pid) - idle) / MB

    with ExitStack() as stack:
        clients = ask(CLIENTS)
        # Each has its answer on its way: beyond what waits in memory they wait in files.
        wait_until(lambda: files(process, settings) > CLIENTS - 2 * WAITING_BYTES // len(whole))
        assert CLIENTS * len(whole) > 1.4 * MOST_GROWN_MB * MB
        assert grown_mb() < MOST_GROWN_MB
        # By itself the system would take all of each answer.
        wait_until(lambda: len(waiting(process.port)) == len(clients))
        assert max(waiting(process.port)) < 2 * UNSENT_BYTES < len(whole)
        assert all(client.answer().endswith(whole) for client in clients)
        wait_until(lambda: files(process, settings) == 0)
        # The connections are kept, and what was sent on them leaves room for others.
        few = ask(WAITING_BYTES // len(whole) - 1)
        for client in few:
            client.recv(1, socket.MSG_PEEK)
        assert process.http.get("/version").status == 200
        assert files(process, settings) == 0
        assert all(client.answer().endswith(whole) for client in few)
        assert grown_mb() < MOST_GROWN_MB

    with ExitStack() as stack:  # clients that leave without reading
        ask(CLIENTS)
        wait_until(lambda: files(process, settings) > CLIENTS // 2)
    wait_until(lambda: files(process, settings) == 0)
    assert process.http.get(path, Accept=NPY).body == whole
    assert grown_mb() < MOST_GROWN_MB


def files(process: Process, settings: Settings) -> int:
    """Return how many temporary files it has open."""
    found = 0
    for link in Path(f"/proc/{process.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed just now
            found += link.readlink().is_relative_to(settings.tmp_dir)
    return found


def waiting(port: int) -> list[int]:
    """Return how many bytes wait in the system for each connection to a port that has any."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    own = [line[4] for line in lines if line[1].endswith(f":{port:04X}")]
    return [size for queues in own if (size := int(queues.partition(":")[0], 16))]
