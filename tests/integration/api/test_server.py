"""The api as a process: its start without Redis, its stop, and health while others wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from services.api.components import Components
from shared.build import ROOT
from shared.jobs.document import Job
from shared.settings import Settings
from tests.integration.api.api_client import OverHttp, Process, Reply
from tests.support.quick import check_quick_by_own_clock
from tests.support.redis_server import RedisServer

BODY = {"model": "diabetes", "rows": [[1.0] * 10]}


def test_health_is_answered_while_as_many_as_may_wait_do(
    http: OverHttp, components: Components, finish: Callable[[Job], object], wait_until: Callable[..., float]
) -> None:
    job = http.post_json("/v1/jobs", BODY).json
    threads = [
        threading.Thread(target=http.get, args=(f"{job['links']['self']}?wait=60",)) for _ in range(40)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(components.job_waits._waiting) >= 20)
    assert http.get("/healthz").status == 200
    assert any(thread.is_alive() for thread in threads)
    finish(components.store.get(job["id"]))
    for thread in threads:
        thread.join()


def test_the_process_serves_when_redis_comes_and_ends_also_while_it_hangs(
    start: Callable[[], Process], server: RedisServer, wait_until: Callable[..., float]
) -> None:
    server.kill()
    process = start()
    assert process.http.get("/v1/jobs").status == 503
    server.start()
    wait_until(lambda: process.http.get("/v1/jobs").status == 200)

    def stop_one() -> float:
        process = start()
        process.http.get("/v1/jobs")
        server.signal(signal.SIGSTOP)
        seconds = stop(process)
        server.signal(signal.SIGCONT)
        return seconds

    check_quick_by_own_clock(5, stop_one)


@pytest.mark.usefixtures("connection")
def test_sigterm_lets_who_waits_go_and_ends_the_process(
    start: Callable[[], Process], wait_until: Callable[..., float]
) -> None:
    def stop_one() -> float:
        process = start()
        accepted = len(process.http.get("/v1/jobs").json["jobs"])
        replies: list[Reply] = []
        waiting = threading.Thread(target=lambda: replies.append(process.http.post_json("/v1/explain", BODY)))
        waiting.start()
        wait_until(lambda: len(process.http.get("/v1/jobs").json["jobs"]) > accepted)
        seconds = stop(process)
        waiting.join()
        assert replies[0].status == 202
        assert "Traceback" not in process.log.read_text()
        return seconds

    check_quick_by_own_clock(3, stop_one)


def stop(process: Process) -> float:
    """Return the seconds that a process takes to end after SIGTERM."""
    started = time.monotonic()
    process.process.send_signal(signal.SIGTERM)
    assert process.process.wait(60) == 0
    return time.monotonic() - started


def test_a_process_that_cannot_start_says_why_in_one_line(settings: Settings) -> None:
    environment: dict[str, Any] = {**os.environ, "DATA_DIR": str(settings.data_dir), "PORT": "70000"}
    command = [sys.executable, "-m", "services.api"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "PORT" in done.stderr
    assert "Traceback" not in done.stderr
