"""Answers for clients that do not read take bounded memory, and are not lost."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest

from services.api.http.channel import WAITING_BYTES
from services.api.http.server import UNSENT_BYTES
from services.api.results.writer import WHOLE_NUMBERS
from shared.explanation import Explanation
from shared.jobs.document import Job, Method
from shared.jobs.ids import new_job_id
from shared.jobs.store import JobStore
from shared.memory import process_pss_bytes
from shared.objects.payloads import Payloads
from tests.integration.api.api_client import API_KEY, NPY, Process

MB = 2**20
CLIENTS = 200
FEATURES = 13
#: WAITING_BYTES, what the server's threads have in hand, and what they are made with.
MOST_GROWN_MB = 48
ROWS = WHOLE_NUMBERS // (FEATURES + 2)


@pytest.fixture
def job(store: JobStore, payloads: Payloads) -> Job:
    """A completed job whose result is the largest that is made whole: 512 KB."""
    names = (new_job_id(), "wine@1", Method.TREE_PATH_DEPENDENT)
    job = Job(*names, rows=ROWS, batch_rows=ROWS, features=FEATURES, outputs=1, created_at=time.time())
    store.accept(job)
    store.transitions.claim(job.id, 0, "worker-1", "token")
    values = np.random.default_rng(1).normal(size=(ROWS, 1, FEATURES + 2)).astype(np.float32)
    payloads.put_result(job, 0, values[:, 0, :FEATURES], Explanation(values))
    store.transitions.complete(job.id, 0, ROWS, job.model, 0.0)
    return job


def ask(process: Process, job: Job, stack: ExitStack) -> socket.socket:
    """Ask for the result on a connection of its own whose buffer is small, and read nothing."""
    client = stack.enter_context(socket.socket())
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(60)
    client.connect(("127.0.0.1", process.port))
    head = f"GET /v1/jobs/{job.id}/result HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\n"
    client.sendall(f"{head}Accept: {NPY}\r\n\r\n".encode())
    return client


def files(process: Process) -> int:
    """Return how many temporary files it has open."""
    found = 0
    for link in Path(f"/proc/{process.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed just now
            found += link.readlink().is_relative_to(process.tmp_dir)
    return found


def read(client: socket.socket, length: int) -> bytes:
    """Read an answer whose body has so many bytes."""
    received, body = bytearray(), -1
    while body < 0 or len(received) < body + length:
        received += client.recv(2**20)
        body = body if body > 0 else received.find(b"\r\n\r\n") + 4 * (b"\r\n\r\n" in received)
    return bytes(received[body:])


def waiting(port: int) -> list[int]:
    """Return how many bytes wait in the system for each connection to a port that has any."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    own = [line[4] for line in lines if line[1].endswith(f":{port:04X}")]
    return [size for queues in own if (size := int(queues.partition(":")[0], 16))]


def test_answers_that_nobody_reads_take_a_bounded_part_of_memory_and_arrive_whole_at_last(
    start: Callable[[], Process], job: Job, wait_until: Callable[..., float]
) -> None:
    process = start()
    whole = process.http.get(f"/v1/jobs/{job.id}/result", Accept=NPY).body
    idle = process_pss_bytes(process.process.pid)

    def grown() -> float:
        return (process_pss_bytes(process.process.pid) - idle) / MB

    with ExitStack() as stack:
        clients = [ask(process, job, stack) for _ in range(CLIENTS)]
        # Each has its answer on its way: beyond what waits in memory they wait in files.
        wait_until(lambda: files(process) > CLIENTS - 2 * WAITING_BYTES // len(whole))
        assert CLIENTS * len(whole) > 90 * MB
        assert grown() < MOST_GROWN_MB
        # By itself the system would take all of each answer.
        wait_until(lambda: len(waiting(process.port)) == len(clients))
        assert max(waiting(process.port)) < 2 * UNSENT_BYTES < len(whole)
        for client in clients:
            assert read(client, len(whole)) == whole
        wait_until(lambda: files(process) == 0)
        assert grown() < MOST_GROWN_MB
        # The connections are kept, and what was sent on them leaves room for others.
        few = [ask(process, job, stack) for _ in range(WAITING_BYTES // len(whole) - 1)]
        for client in few:
            client.recv(1, socket.MSG_PEEK)
        assert process.http.get("/version").status == 200
        assert files(process) == 0
        assert all(read(client, len(whole)) == whole for client in few)
        assert grown() < MOST_GROWN_MB

    with ExitStack() as stack:  # clients that leave without reading
        for _ in range(CLIENTS):
            ask(process, job, stack)
        wait_until(lambda: files(process) > CLIENTS // 2)
    wait_until(lambda: files(process) == 0)
    assert process.http.get(f"/v1/jobs/{job.id}/result", Accept=NPY).body == whole
    assert grown() < MOST_GROWN_MB
