"""The api as a process: start without Redis, stop, and memory while clients do not read."""

from __future__ import annotations

import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
from shared.metrics import HTTP_WAITS_REFUSED
from shared.objects.payloads import Payloads
from shared.settings import Settings
from tests.integration.api.api_client import API_KEY, NPY, OverHttp, Process
from tests.integration.api.served import Connection
from tests.support.quick import check_quick_by_own_clock
from tests.support.redis_server import RedisServer, until

BODY = {"model": "diabetes", "rows": [[1.0] * 10]}
MB = 2**20
#: Clients that do not read, and features of the model whose result each of them asks for.
CLIENTS, FEATURES = 150, 13
#: The largest result that is made whole: 512 KB.
ROWS = WHOLE_NUMBERS // (FEATURES + 2)
#: WAITING_BYTES, what the server's threads have in hand, and what they are made with.
MOST_GROWN_MB = 48


def test_health_is_answered_while_as_many_as_may_wait_do_and_others_are_answered_at_once(
    http: OverHttp, components: Components, finish: Callable[[Job], object]
) -> None:
    job = http.post_json("/v1/jobs", BODY).json
    path, most = f"{job['links']['self']}?wait=60", components.settings.max_waiting_requests
    with ThreadPoolExecutor(40) as threads:
        asked = [threads.submit(http.get, path) for _ in range(40)]
        until(lambda: components.job_waits.waiting == most)
        until(lambda: sum(one.done() for one in asked) == 40 - most)
        assert http.get("/healthz").status == 200
        for refused in (
            http.post_json("/v1/jobs?wait=50", BODY),
            http.post_json("/v1/explain?interactions=true", BODY),
        ):
            assert (refused.status, refused.headers["retry-after"]) == (202, "2")
            assert refused.headers["location"] == refused.json["links"]["self"]
        finish(components.store.get(job["id"]))
    answers = Counter((one.result().json["status"], one.result().headers.get("retry-after")) for one in asked)
    assert answers == {("queued", "2"): 40 - most, ("completed", None): most}
    components.counters.flush()
    assert components.counters.read()[HTTP_WAITS_REFUSED.name,] == 40 - most + 2


def test_it_serves_when_redis_comes_and_lets_go_at_its_end(settings: Settings, server: RedisServer) -> None:
    def serve_and_stop() -> float:
        server.kill()
        with Process(settings) as process:
            assert process.http.get("/v1/jobs").status == 503
            server.start()
            until(lambda: process.http.get("/v1/jobs").status == 200)
            accepted = len(process.http.get("/v1/jobs").json["jobs"])
            with ThreadPoolExecutor(1) as threads:
                waiting = threads.submit(process.http.post_json, "/v1/explain", BODY)
                until(lambda: len(process.http.get("/v1/jobs").json["jobs"]) > accepted)
                seconds = process.stop()
            assert waiting.result().status == 202
            assert "Traceback" not in process.log.read_text()
        return seconds

    check_quick_by_own_clock(3, serve_and_stop)


def test_the_process_ends_also_while_redis_hangs(settings: Settings, server: RedisServer) -> None:
    def stop_one() -> float:
        with Process(settings) as process:
            process.http.get("/v1/jobs")
            server.signal(signal.SIGSTOP)
            seconds = process.stop()
            server.signal(signal.SIGCONT)
        return seconds

    check_quick_by_own_clock(5, stop_one)


def test_one_that_cannot_start_says_why(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
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


def test_answers_that_nobody_reads_take_bounded_memory_and_arrive(job: Job, settings: Settings) -> None:
    with Process(settings) as process:
        check_slow_readers(process, job, settings)


def check_slow_readers(process: Process, job: Job, settings: Settings) -> None:
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
        until(lambda: files(process, settings) > CLIENTS - 2 * WAITING_BYTES // len(whole))
        assert CLIENTS * len(whole) > 1.4 * MOST_GROWN_MB * MB
        assert grown_mb() < MOST_GROWN_MB
        # By itself the system would take all of each answer.
        until(lambda: len(waiting(process.port)) == len(clients))
        assert max(waiting(process.port)) < 2 * UNSENT_BYTES < len(whole)
        assert all(client.answer().endswith(whole) for client in clients)
        until(lambda: files(process, settings) == 0)
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
        until(lambda: files(process, settings) > CLIENTS // 2)
    until(lambda: files(process, settings) == 0)
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
