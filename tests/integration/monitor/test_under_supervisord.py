"""The monitor as a child of a real supervisord, next to workers that only sleep."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ops.lab.trial_appliance import free_ports
from services.monitor.events.programs import (
    Program,
    SupervisorAwayError,
    SupervisorStoppingError,
    list_programs,
)
from shared import metrics
from shared.appliance.heartbeats import Heartbeat
from shared.appliance.program_start import HOST_NAME_NAME
from shared.appliance.recycle_requests import RecycleRequests
from shared.appliance.status import ApplianceStatus
from shared.build import ROOT
from shared.jobs import keys
from shared.jobs.store import JobStore
from shared.objects.payloads import Payloads
from shared.redis.connection import Patience, connect
from shared.settings import Settings
from tests.integration.monitor.conftest import Scene
from tests.support.quick import check_quick, check_quick_by_own_clock
from tests.support.redis_server import RedisServer, until

#: Not the machine's name: the monitor must go by what boot tells it.
HOST = "an-appliance-1234"
WORKERS = ("worker-1", "worker-2")

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
stopwaitsecs=60
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
GROWN_SECONDS = 3.0

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


class Appliance:
    """supervisord with a monitor, a Redis outside of it, and jobs."""

    def __init__(
        self, settings: Settings, server: RedisServer, scene: Scene, supervisord: subprocess.Popen[bytes]
    ) -> None:
        self.settings, self.server, self.scene, self.supervisord = settings, server, scene, supervisord

    def program(self, name: str) -> Program | None:
        try:
            return next((p for p in list_programs(self.settings.supervisor_socket) if p.name == name), None)
        except (SupervisorAwayError, SupervisorStoppingError):
            return None

    def pid(self, name: str) -> int:
        program = self.program(name)
        return program.pid or 0 if program and program.state == "RUNNING" else 0

    def await_new(self, name: str, old: int) -> None:
        """Wait until a program runs again, as another process."""
        until(lambda: self.pid(name) not in {0, old})

    def beat(self, name: str = "worker-1") -> Heartbeat:
        """Send a heartbeat of a worker's process."""
        pid = self.pid(name)
        heartbeat = Heartbeat(f"{HOST}/{name}", HOST, pid, f"life-{pid}", "busy")
        self.scene.heartbeats.beat(heartbeat)
        return heartbeat

    def status(self) -> ApplianceStatus:
        status = ApplianceStatus.read(self.settings.status_file)
        assert status is not None
        return status

    def scrape(self) -> dict[tuple[str, ...], float]:
        """Return what it exports, by name and the labels' values in the order of their names."""
        url = f"http://127.0.0.1:{self.settings.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            text = answer.read().decode()
        return {
            (s.name.removeprefix(metrics.PREFIX), *(value for _, value in sorted(s.labels.items()))): s.value
            for family in text_string_to_metric_families(text)
            for s in family.samples
        }

    def value(self, *name: str) -> float | None:
        return self.scrape().get(name)

    def log(self) -> str:
        return (self.settings.run_dir / "monitor.log").read_text()


@contextlib.contextmanager
def running(*, api: bool = False, **environment: str) -> Iterator[Appliance]:
    """Run supervisord with the monitor and two workers, and with an api if that is wanted."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shapbox-")))
        settings = Settings(data_dir=folder, batch_rows=10, metrics_port=free_ports(1)[0])
        run = settings.run_dir
        run.mkdir()
        server = RedisServer(settings)
        server.start()
        stack.callback(server.kill)
        connection = stack.enter_context(contextlib.closing(connect(settings, Patience.STEADY, name="test")))
        scene = Scene(connection, JobStore(connection, settings), Payloads.open(settings), stack)
        words = {"run": run, "python": sys.executable, "root": ROOT, "api": str(api).lower()}
        (run / "supervisord.conf").write_text(CONFIGURATION.format(**words))
        (run / "api.py").write_text(API)
        (run / "monitor.py").write_text(MONITOR.format(grown=GROWN_SECONDS))
        measured = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
        environment |= measured | {
            "PATH": os.environ["PATH"],
            "DATA_DIR": str(folder),
            HOST_NAME_NAME: HOST,
            "MODELS_DIR": str(ROOT / "models"),
            "METRICS_PORT": str(settings.metrics_port),
            "BATCH_TIMEOUT_SECONDS": "60",
        }
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(run / "supervisord.conf")]
        supervisord = subprocess.Popen(command, cwd=run, env=environment, stdout=subprocess.DEVNULL)
        stack.callback(supervisord.wait, 120)
        stack.callback(supervisord.terminate)
        appliance = Appliance(settings, server, scene, supervisord)
        until(lambda: all(map(appliance.pid, ("monitor", *WORKERS))) and "monitor is up" in appliance.log())
        yield appliance


@pytest.fixture(scope="module")
def shared() -> Iterator[Appliance]:
    with running() as appliance:
        yield appliance


@pytest.fixture
def appliance(shared: Appliance) -> Appliance:
    until(lambda: all(map(shared.pid, ("monitor", *WORKERS))) and shared.value("redis_up") == 1)
    return shared


def test_a_killed_workers_batch_is_queued_again_within_three_seconds(appliance: Appliance) -> None:
    scene, jobs = appliance.scene, []
    before = appliance.value("batches_recovered_total", "worker_died") or 0

    def kill_one() -> float:
        beating = appliance.beat()
        jobs.append(scene.accept())
        scene.take(beating, jobs[-1])
        os.kill(beating.pid, signal.SIGKILL)
        seconds = until(lambda: scene.waiting(jobs[-1]) == {0})
        appliance.await_new("worker-1", beating.pid)
        return seconds

    check_quick_by_own_clock(3, kill_one)
    until(lambda: appliance.value("batches_recovered_total", "worker_died") == before + len(jobs))
    assert all(f"job={job.id} batch=0" in appliance.log() for job in jobs)


def test_a_restarted_monitor_knows_the_states_and_finds_what_it_missed(appliance: Appliance) -> None:
    scene, monitor, beating = appliance.scene, appliance.pid("monitor"), appliance.beat()
    job = scene.accept()
    scene.take(beating, job)
    os.kill(monitor, signal.SIGKILL)
    os.kill(beating.pid, signal.SIGKILL)
    until(lambda: scene.waiting(job) == {0})
    appliance.await_new("monitor", monitor)
    appliance.await_new("worker-1", beating.pid)
    until(lambda: appliance.value("program_up", "worker-2") == 1)
    until(lambda: appliance.status().fatal_programs == ("broken",))


def test_every_metric_is_exported_and_a_scrape_is_quick(appliance: Appliance) -> None:
    scene = appliance.scene
    scene.accept(3)
    scene.counters.add(metrics.HTTP_REQUESTS, "GET", "/v1/models", "200")
    scene.counters.observe(metrics.HTTP_REQUEST_SECONDS, 0.01, "/v1/models")
    scene.counters.most(metrics.LARGEST_RESIDUAL, 1e-7, "wine@1")
    scene.counters.flush()
    scene.connection.config_set("maxmemory", 2**30)
    appliance.beat()
    until(lambda: appliance.value("storage_bytes") is not None)
    until(lambda: (appliance.value("queue_batches", "bulk") or 0) >= 3)
    until(lambda: appliance.value("workers", "busy") == 1)
    found = appliance.scrape()
    names = {name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") for name, *_ in found}
    without_limits = {"memory_container_limit_bytes", "worker_memory_limit_bytes"}
    assert {metric.name for metric in metrics.METRICS} - names <= without_limits
    assert found["redis_memory_limit_bytes",] == 2**30
    assert 0 < time.time() - found["start_time_seconds",] < 3600
    up = {name[1]: value for name, value in found.items() if name[0] == "program_up"}
    assert up == {"broken": 0, "monitor": 1, "worker-1": 1, "worker-2": 1}
    processes = {name[1] for name in found if name[0] == "process_memory_bytes"}
    assert processes >= {"supervisord", "monitor", *WORKERS}
    check_quick(0.02, appliance.scrape, attempts=50)  # it may have to wait for a processor


def test_a_scrape_without_redis_says_so_at_once(appliance: Appliance) -> None:
    before = appliance.log().count("Redis is away")
    faults: list[tuple[Callable[[], None], Callable[[], None]]] = [
        (lambda: appliance.server.signal(signal.SIGSTOP), lambda: appliance.server.signal(signal.SIGCONT)),
        (appliance.server.kill, appliance.server.start),
    ]
    for number, (away, back) in enumerate(faults, 1):
        away()
        until(lambda: appliance.value("redis_up") == 0)
        check_quick(1, appliance.scrape)
        found = appliance.scrape()
        assert ("redis_memory_bytes",) not in found
        assert ("storage_free_bytes",) in found
        until(lambda: appliance.status().redis_down_seconds > 1)
        back()
        until(lambda: appliance.value("redis_up") == 1 and appliance.status().redis_down_seconds == 0)
        assert appliance.log().count("Redis is away") - before <= 2 * number  # once for each loop that met it


def test_an_admins_request_brings_one_fresh_worker_and_the_next_waits_for_it_to_beat(
    appliance: Appliance,
) -> None:
    requests = RecycleRequests(appliance.scene.connection)
    before = {name: appliance.pid(name) for name in WORKERS}
    counted = appliance.value("worker_recycles_total", "admin") or 0

    def fresh() -> list[str]:
        return [name for name in WORKERS if appliance.pid(name) not in {0, before[name]}]

    requests.ask()
    until(fresh)
    until(lambda: appliance.value("worker_recycles_total", "admin") == counted + 1)
    [name] = fresh()
    requests.ask()
    time.sleep(2.5)  # it is looked for once a second
    assert appliance.scene.connection.exists(keys.RECYCLE)
    appliance.beat(name)
    until(lambda: appliance.value("worker_recycles_total", "admin") == counted + 2)
    assert not appliance.scene.connection.exists(keys.RECYCLE)


def test_a_monitor_told_to_stop_does_so_and_comes_back(appliance: Appliance) -> None:
    old = appliance.pid("monitor")
    os.kill(old, signal.SIGTERM)
    until(lambda: not Path(f"/proc/{old}").exists(), 20)  # long before supervisord would kill it
    appliance.await_new("monitor", old)
    assert "Traceback" not in appliance.log()


def test_an_api_that_has_grown_is_restarted_once_after_it_has_finished_its_requests() -> None:
    with running(api=True, MEMORY_LIMIT_MB="220") as appliance:
        run = appliance.settings.run_dir
        until(lambda: appliance.pid("api"))
        old = appliance.pid("api")
        started = psutil.Process(old).create_time()
        appliance.await_new("api", old)
        assert time.time() - started > GROWN_SECONDS
        assert (run / "finished").exists()
        until(lambda: appliance.value("api_recycles_total") == 1)
        assert "api restarted: it has grown" in appliance.log()
        # The workers are too small to matter: they stay.
        recycled = {
            name: value for name, value in appliance.scrape().items() if name[0] == "worker_recycles_total"
        }
        assert not any(recycled.values())
        time.sleep(2)
        assert (run / "started").read_text() == ".."


def test_stopping_is_written_down_at_once_what_has_stopped_is_down_and_nothing_is_left() -> None:
    with running(api=True) as appliance:
        run = appliance.settings.run_dir
        until(lambda: appliance.value("program_up", "api") == 1 and not appliance.status().draining)
        until((run / "started").exists)
        (run / "hold").touch()  # the api takes long to stop
        pids = [appliance.pid(name) for name in ("monitor", "api", *WORKERS)]
        appliance.supervisord.terminate()
        until(lambda: appliance.status().draining, 20)
        until(lambda: appliance.value("program_up", "worker-1") == 0, 20)
        assert appliance.value("program_up", "api") == 1
        until(lambda: stopped(appliance.status()) == set(WORKERS), 20)
        (run / "hold").unlink()
        assert appliance.supervisord.wait(60) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def stopped(status: ApplianceStatus) -> set[str]:
    return {program.name for program in status.programs if program.state == "STOPPED"}
