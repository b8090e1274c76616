"""The monitor as a child of a real supervisord, next to a worker that only sleeps."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import psutil
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from ops.lab.trial_appliance import free_ports
from services.monitor.events.programs import (
    Program,
    SupervisorAwayError,
    SupervisorStoppingError,
    list_programs,
)
from shared import metrics
from shared.appliance.counters import Counters
from shared.appliance.heartbeats import Heartbeat, Heartbeats
from shared.appliance.program_start import HOST_NAME_NAME
from shared.appliance.recycle_requests import RecycleRequests
from shared.appliance.status import ApplianceStatus
from shared.jobs import keys
from shared.jobs.document import Job
from shared.jobs.store import JobStore
from shared.settings import Settings
from tests.integration.redis_server import until
from tests.support.quick import check_quick_by_own_clock

ROOT = Path(__file__).resolve().parents[3]
#: Not the machine's name: the monitor must go by what boot tells it.
HOST = "an-appliance-1234"

#: Every name of DESIGN §6, with the labels it must have at least.
NAMES = {
    "shapbox_jobs_total": {"status"},
    "shapbox_rows_explained_total": {"model"},
    "shapbox_batch_seconds_bucket": {"le"},
    "shapbox_job_seconds_bucket": {"le"},
    "shapbox_batches_recovered_total": {"cause"},
    "shapbox_worker_recycles_total": {"reason"},
    "shapbox_queue_batches": {"queue"},
    "shapbox_queue_oldest_seconds": {"queue"},
    "shapbox_workers": {"state"},
    "shapbox_process_memory_bytes": {"process"},
    "shapbox_memory_working_set_bytes": set(),
    "shapbox_memory_limit_bytes": set(),
    "shapbox_redis_up": set(),
    "shapbox_redis_ping_seconds": set(),
    "shapbox_redis_memory_bytes": set(),
    "shapbox_storage_bytes": set(),
    "shapbox_storage_free_bytes": set(),
    "shapbox_http_requests_total": {"method", "route", "status"},
    "shapbox_http_request_seconds_bucket": {"le", "route"},
    "shapbox_program_up": {"program"},
    "shapbox_model_info": {"model", "version", "engine", "fallback"},
    "shapbox_model_engine_info": {"model", "version", "method", "engine"},
    "shapbox_model_refused": {"model", "version"},
    "shapbox_build_info": {"version", "commit", "python", "xgboost"},
    # Beyond §6: what alerts and the dashboard compare with.
    "shapbox_memory_unrelieved_total": set(),
    "shapbox_api_recycles_total": set(),
    "shapbox_batches_poisoned_total": set(),
    "shapbox_queue_limit_batches": set(),
    "shapbox_redis_memory_limit_bytes": set(),
    "shapbox_storage_capacity_bytes": set(),
    "shapbox_start_time_seconds": set(),
}

CONFIGURATION = """
[supervisord]
nodaemon=true
logfile={run}/supervisord.log
pidfile={run}/supervisord.pid
[unix_http_server]
file={run}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[program:worker]
command=sleep 600
process_name=worker-%(process_num)d
numprocs=2
numprocs_start=1
priority=40
autorestart=true
[program:broken]
command=false
startretries=0
[program:api]
command={python} {run}/api.py
priority=30
stopwaitsecs=30
autostart={api}
autorestart=true
[program:announce]
command=true
startsecs=0
autorestart=false
[program:redis]
command=sleep 600
autostart=false
[eventlistener:monitor]
command={python} {run}/monitor.py
directory={root}
events=PROCESS_STATE,SUPERVISOR_STATE_CHANGE
buffer_size=1000
priority=20
autorestart=true
stdout_logfile=NONE
stderr_logfile={run}/monitor.log
"""

#: The monitor, which waits only some seconds before it restarts an api.
MONITOR = """
import dataclasses, os, runpy, sys
sys.path[0] = os.getcwd()
from shared import timing
timing.TIMING = dataclasses.replace(timing.TIMING, api_grown_seconds={grown})
runpy.run_module("services.monitor", run_name="__main__", alter_sys=True)
"""
GROWN_SECONDS = 6.0

#: An api that has leaked 200 MB when it is first started, and that finishes its requests before it exits: some while there
#: is a file "hold".
API = """
import pathlib, signal, sys, time
def stop(*_):
    time.sleep(0.3)
    while pathlib.Path("hold").exists(): time.sleep(0.1)
    pathlib.Path("finished").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
started = pathlib.Path("started")
leaked = b"" if started.exists() else b"x" * (200 << 20)
with started.open("a") as file: file.write(".")
time.sleep(600)
"""


class Server(Protocol):
    def start(self) -> None: ...
    def kill(self) -> None: ...
    def signal(self, number: signal.Signals) -> None: ...


type Sample = tuple[str, frozenset[tuple[str, str]]]


class Appliance:
    def __init__(self, settings: Settings, supervisord: subprocess.Popen[bytes], port: int) -> None:
        self.settings, self.supervisord, self.port = settings, supervisord, port

    def program(self, name: str) -> Program | None:
        try:
            return next((p for p in list_programs(self.settings.supervisor_socket) if p.name == name), None)
        except (SupervisorAwayError, SupervisorStoppingError):
            return None

    def pid(self, name: str) -> int:
        program = self.program(name)
        return program.pid or 0 if program and program.state == "RUNNING" else 0

    def status(self) -> ApplianceStatus | None:
        return ApplianceStatus.read(self.settings.status_file)

    def scrape(self) -> dict[Sample, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        families = text_string_to_metric_families(text)
        return {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}

    def value(self, name: str, **labels: str) -> float | None:
        return self.scrape().get((name, frozenset(labels.items())))

    def log(self) -> str:
        return (self.settings.run_dir / "monitor.log").read_text()


@contextlib.contextmanager
def running(
    settings: Settings, server: Server, *, api: bool = False, **environment: str
) -> Iterator[Appliance]:
    """Run supervisord with the monitor and two workers, and with an api if that is wanted."""
    server.signal(signal.SIGCONT)  # it runs
    [port] = free_ports(1)
    run = settings.run_dir
    configuration = run / "supervisord.conf"
    configuration.write_text(
        CONFIGURATION.format(run=run, python=sys.executable, root=ROOT, api=str(api).lower())
    )
    (run / "api.py").write_text(API)
    (run / "monitor.py").write_text(MONITOR.format(grown=GROWN_SECONDS))
    environment |= {
        "PATH": os.environ["PATH"],
        "DATA_DIR": str(settings.data_dir),
        HOST_NAME_NAME: HOST,
        "MODELS_DIR": str(ROOT / "models"),
        "METRICS_PORT": str(port),
        "BATCH_TIMEOUT_SECONDS": "60",
    }
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)]
    with subprocess.Popen(command, cwd=run, env=environment, stdout=subprocess.DEVNULL) as supervisord:
        appliance = Appliance(settings, supervisord, port)
        try:
            until(lambda: all(map(appliance.pid, ("monitor", "worker-1", "worker-2"))))
            until(lambda: "monitor is up" in appliance.log())
            yield appliance
        finally:
            supervisord.terminate()
            supervisord.wait(60)


@pytest.fixture
def appliance(settings: Settings, server: Server) -> Iterator[Appliance]:
    with running(settings, server) as appliance:
        yield appliance


@pytest.fixture
def beat_of_worker(connection: redis.Redis, appliance: Appliance) -> Callable[[], Heartbeat]:
    """Send a heartbeat of the first worker's process."""

    def beat() -> Heartbeat:
        pid = appliance.pid("worker-1")
        heartbeat = Heartbeat(f"{HOST}/worker-1", HOST, pid, f"life-{pid}", "busy")
        Heartbeats(connection).beat(heartbeat)
        return heartbeat

    return beat


@pytest.fixture
def beating(beat_of_worker: Callable[[], Heartbeat]) -> Heartbeat:
    return beat_of_worker()


def test_a_killed_workers_batch_is_queued_again_within_three_seconds(
    appliance: Appliance,
    store: JobStore,
    accept: Callable[..., Job],
    take: Callable[..., None],
    beat_of_worker: Callable[[], Heartbeat],
) -> None:
    jobs: list[Job] = []

    def kill_one() -> float:
        beating = beat_of_worker()
        jobs.append(accept())
        take(beating, jobs[-1], 0)
        os.kill(beating.pid, signal.SIGKILL)
        seconds = until(lambda: (jobs[-1].id, 0) in store.queues.waiting_batches())
        until(lambda: appliance.pid("worker-1") not in {0, beating.pid})
        return seconds

    check_quick_by_own_clock(3, kill_one)
    until(lambda: appliance.value("shapbox_batches_recovered_total", cause="worker_died") == len(jobs))
    assert all(f"job={job.id} batch=0" in appliance.log() for job in jobs)


def test_a_restarted_monitor_knows_the_states_and_finds_what_it_missed(
    appliance: Appliance,
    store: JobStore,
    accept: Callable[..., Job],
    take: Callable[..., None],
    beat_of_worker: Callable[[], Heartbeat],
) -> None:
    def kill_both() -> float:
        beating, job, old = beat_of_worker(), accept(), appliance.pid("monitor")
        take(beating, job, 0)
        os.kill(old, signal.SIGKILL)
        os.kill(beating.pid, signal.SIGKILL)
        seconds = until(lambda: (job.id, 0) in store.queues.waiting_batches())
        until(lambda: appliance.pid("monitor") not in {0, old})
        until(lambda: appliance.pid("worker-1") not in {0, beating.pid})
        return seconds

    check_quick_by_own_clock(5, kill_both)
    until(lambda: appliance.value("shapbox_program_up", program="worker-2") == 1)
    until(lambda: (status := appliance.status()) and status.fatal_programs == ("broken",))


def test_every_metric_of_the_design_is_exported_and_a_scrape_is_quick(
    appliance: Appliance, connection: redis.Redis, beating: Heartbeat, accept: Callable[..., Job]
) -> None:
    accept(3)
    counters = Counters(connection)
    counters.add(metrics.HTTP_REQUESTS, "GET", "/v1/models", "200")
    counters.observe(metrics.HTTP_REQUEST_SECONDS, 0.01, "/v1/models")
    counters.flush()
    connection.config_set("maxmemory", 2**30)
    until(lambda: appliance.value("shapbox_storage_bytes") is not None)
    until(lambda: appliance.value("shapbox_queue_batches", queue="bulk") == 3)
    found = appliance.scrape()
    for name, labels in NAMES.items():
        assert any(n == name and labels <= {key for key, _ in have} for n, have in found), name
    assert appliance.value("shapbox_workers", state=beating.state) == 1
    assert appliance.value("shapbox_redis_memory_limit_bytes") == 2**30
    assert 0 < time.time() - (appliance.value("shapbox_start_time_seconds") or 0) < 600
    up = {dict(have)["program"]: value for (n, have), value in found.items() if n == "shapbox_program_up"}
    assert up == {"broken": 0, "monitor": 1, "worker-1": 1, "worker-2": 1}
    processes = {dict(have)["process"] for n, have in found if n == "shapbox_process_memory_bytes"}
    assert processes >= {"supervisord", "monitor", "worker-1", "worker-2"}
    seconds = [timed(appliance.scrape) for _ in range(50)]
    assert min(seconds) < 0.02  # the others may have waited for a processor


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


@pytest.mark.parametrize("how", ["killed", "hung"])
def test_a_scrape_without_redis_says_so_within_a_second(
    appliance: Appliance, server: Server, how: str
) -> None:
    until(lambda: appliance.value("shapbox_redis_up") == 1)
    if how == "killed":
        server.kill()
    else:
        server.signal(signal.SIGSTOP)
    check_quick_by_own_clock(1, lambda: max(timed(appliance.scrape) for _ in range(20)))
    until(lambda: appliance.value("shapbox_redis_up") == 0)
    found = appliance.scrape()
    assert ("shapbox_redis_memory_bytes", frozenset()) not in found
    assert ("shapbox_storage_free_bytes", frozenset()) in found
    until(lambda: (status := appliance.status()) and status.redis_down_seconds > 1)
    if how == "killed":
        server.start()
    else:
        server.signal(signal.SIGCONT)
    until(lambda: appliance.value("shapbox_redis_up") == 1)
    until(lambda: (status := appliance.status()) and status.redis_down_seconds == 0)
    assert appliance.log().count("Redis is away") <= 2  # once for each loop that met the outage


def test_an_admins_request_brings_one_fresh_worker_and_the_next_waits_for_it_to_beat(
    appliance: Appliance, connection: redis.Redis
) -> None:
    names = ("worker-1", "worker-2")
    before = {name: appliance.pid(name) for name in names}

    def fresh() -> list[str]:
        return [name for name in names if appliance.pid(name) not in {0, before[name]}]

    RecycleRequests(connection).ask()
    until(fresh)
    until(lambda: appliance.value("shapbox_worker_recycles_total", reason="admin") == 1)
    [name] = fresh()
    RecycleRequests(connection).ask()
    time.sleep(2.5)  # it is looked for once a second
    assert connection.exists(keys.RECYCLE)
    Heartbeats(connection).beat(Heartbeat(f"{HOST}/{name}", HOST, appliance.pid(name), "life-2"))
    until(lambda: appliance.value("shapbox_worker_recycles_total", reason="admin") == 2)
    assert not connection.exists(keys.RECYCLE)


def test_an_api_that_has_grown_is_restarted_once_after_it_has_finished_its_requests(
    settings: Settings, server: Server
) -> None:
    with running(settings, server, api=True, MEMORY_LIMIT_MB="220") as appliance:
        until(lambda: appliance.pid("api"))
        old = appliance.pid("api")
        started = psutil.Process(old).create_time()
        until(lambda: appliance.pid("api") not in {0, old})
        assert time.time() - started > GROWN_SECONDS
        assert (settings.run_dir / "finished").exists()
        until(lambda: appliance.value("shapbox_api_recycles_total") == 1)
        assert "api restarted: it has grown" in appliance.log()
        # The workers are too small to matter: they stay.
        assert all(
            not value
            for (name, _), value in appliance.scrape().items()
            if name == "shapbox_worker_recycles_total"
        )
        time.sleep(2)
        assert (settings.run_dir / "started").read_text() == ".."


def test_stopping_is_written_down_at_once_and_leaves_nothing_behind(
    settings: Settings, server: Server
) -> None:
    def stop_all() -> float:
        with running(settings, server) as appliance:
            until(lambda: (status := appliance.status()) and not status.draining)
            pids = [appliance.pid(name) for name in ("monitor", "worker-1", "worker-2")]
            appliance.supervisord.terminate()
            seconds = until(lambda: (status := appliance.status()) and status.draining)
            assert appliance.supervisord.wait(60) == 0
            assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
        return seconds

    check_quick_by_own_clock(2.5, stop_all)  # supervisord itself looks at its signals once a second


def test_while_one_program_takes_long_to_stop_those_that_have_stopped_are_down(
    settings: Settings, server: Server
) -> None:
    with running(settings, server, api=True) as appliance:
        until(lambda: appliance.value("shapbox_program_up", program="api") == 1)
        until((settings.run_dir / "started").exists)
        (settings.run_dir / "hold").touch()
        appliance.supervisord.terminate()
        until(lambda: appliance.value("shapbox_program_up", program="worker-1") == 0, 20)
        assert appliance.value("shapbox_program_up", program="api") == 1
        until(lambda: (status := appliance.status()) and stopped(status) == {"worker-1", "worker-2"}, 20)
        (settings.run_dir / "hold").unlink()


def stopped(status: ApplianceStatus) -> set[str]:
    return {program.name for program in status.programs if program.state == "STOPPED"}


def test_a_monitor_told_to_stop_does_so_soon(appliance: Appliance) -> None:
    def stop_one() -> float:
        old = appliance.pid("monitor")
        os.kill(old, signal.SIGTERM)
        seconds = until(lambda: not Path(f"/proc/{old}").exists())
        until(lambda: appliance.pid("monitor") not in {0, old})
        return seconds

    check_quick_by_own_clock(3, stop_one)
    assert "Traceback" not in appliance.log()
