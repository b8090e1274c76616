"""The monitor's process, with this test as its supervisord."""

from __future__ import annotations

import os
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault
from xmlrpc.server import SimpleXMLRPCDispatcher, SimpleXMLRPCRequestHandler

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ops.lab.trial_appliance import free_ports
from services.monitor.events.listener import STOPPING
from services.monitor.events.programs import SHUTDOWN_STATE
from shared import metrics
from shared.appliance.api_load import ApiLoad
from shared.appliance.program_start import HOST_NAME_NAME
from shared.appliance.recycle_requests import RecycleRequests
from shared.appliance.status import ApplianceStatus
from shared.build import ROOT
from shared.jobs.recovery import Blame
from shared.jobs.store import JobStore
from shared.objects.payloads import Payloads
from shared.redis.connection import Patience, connect
from shared.settings import Settings
from tests.integration.monitor.conftest import HOST, Scene
from tests.support.quick import check_quick
from tests.support.redis_server import RedisServer, until


class Handler(SimpleXMLRPCRequestHandler):
    disable_nagle_algorithm = False  # a unix socket has none


class Supervisord(socketserver.ThreadingMixIn, socketserver.UnixStreamServer, SimpleXMLRPCDispatcher):
    """Runs a monitor, an api and two workers that only sleep, and sends events."""

    daemon_threads, logRequests = True, False  # noqa: N815  # its base class's name

    def __init__(self, settings: Settings, scene: Scene, redis: RedisServer) -> None:
        SimpleXMLRPCDispatcher.__init__(self)
        socketserver.UnixStreamServer.__init__(self, str(settings.supervisor_socket), Handler)
        self.register_function(self._list, "supervisor.getAllProcessInfo")
        self.settings, self.scene, self.redis = settings, scene, redis
        self.stopping = False
        self.children: dict[str, subprocess.Popen[bytes]] = {}

    def run_all(self) -> None:
        """Start what does not run."""
        self.stopping = False
        for name in ("api", "worker-1", "worker-2"):
            if name not in self.children or self.children[name].poll() is not None:
                self.children[name] = self.scene.spawn()
        if "monitor" not in self.children or self.children["monitor"].poll() is not None:
            self.children["monitor"] = self._start_monitor()
            assert self._pipe("stdout").read(6) == b"READY\n"
        self.send("PROCESS_STATE_RUNNING")
        until(lambda: self.value("redis_up") == 1)

    def send(self, name: str, **fields: object) -> None:
        """Send the monitor an event; it says that it took it."""
        payload = " ".join(f"{field}:{value}" for field, value in fields.items())
        event = f"ver:3.0 server:x serial:1 pool:monitor poolserial:1 eventname:{name} len:{len(payload)}\n{payload}"
        self._pipe("stdin").write(event.encode())
        self._pipe("stdin").flush()
        assert self._pipe("stdout").read(17) == b"RESULT 2\nOKREADY\n"

    def end(self, name: str) -> int:
        """Close the pipes of a child and wait for its exit; return the code."""
        child = self.children[name]
        code = child.wait(60)
        for pipe in (child.stdin, child.stdout):
            if pipe:
                pipe.close()
        return code

    def status(self) -> ApplianceStatus:
        status = ApplianceStatus.read(self.settings.status_file)
        assert status is not None
        return status

    def scrape(self) -> dict[tuple[str, ...], float]:
        """Return what it exports, by name and the labels' values in the order of their names."""
        url = f"http://127.0.0.1:{self.settings.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            return {
                (
                    s.name.removeprefix(metrics.PREFIX),
                    *(value for _, value in sorted(s.labels.items())),
                ): s.value
                for family in families
                for s in family.samples
            }

    def value(self, *name: str) -> float | None:
        return self.scrape().get(name)

    def log(self) -> str:
        return (self.settings.run_dir / "monitor.log").read_text()

    def _start_monitor(self) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "DATA_DIR": str(self.settings.data_dir),
            HOST_NAME_NAME: HOST,
            "MODELS_DIR": str(ROOT / "models"),
            "METRICS_PORT": str(self.settings.metrics_port),
            "MEMORY_LIMIT_MB": "4000",
        }
        command = [sys.executable, "-m", "services.monitor"]
        with (self.settings.run_dir / "monitor.log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )

    def _pipe(self, name: str) -> Any:
        return getattr(self.children["monitor"], name)

    def _list(self) -> list[dict[str, object]]:
        if self.stopping:
            raise Fault(SHUTDOWN_STATE, "SHUTDOWN_STATE")
        ended = {"broken": "FATAL", "announce": "EXITED"}
        running = [(name, "RUNNING", child.pid) for name, child in self.children.items()]
        return [
            {"group": name.partition("-")[0], "name": name, "statename": state, "pid": pid, "start": 1}
            for name, state, pid in [*running, *((name, state, 0) for name, state in ended.items())]
        ]


@pytest.fixture(scope="module")
def shared() -> Iterator[Supervisord]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shapbox-")))
        settings = Settings(data_dir=folder, batch_rows=10, metrics_port=free_ports(1)[0])
        settings.run_dir.mkdir()
        server = RedisServer(settings)
        server.start()
        stack.callback(server.kill)
        connection = stack.enter_context(closing(connect(settings, Patience.STEADY, name="test")))
        scene = Scene(connection, JobStore(connection, settings), Payloads.open(settings), stack)
        supervisord = Supervisord(settings, scene, server)
        threading.Thread(target=supervisord.serve_forever, daemon=True).start()
        stack.callback(supervisord.server_close)
        stack.callback(supervisord.shutdown)
        yield supervisord
        supervisord.run_all()
        supervisord.children["monitor"].terminate()
        assert supervisord.end("monitor") == 0


@pytest.fixture
def supervisord(shared: Supervisord) -> Supervisord:
    shared.run_all()
    return shared


def test_a_killed_workers_batch_is_queued_again_after_its_event_and_by_a_new_monitor_without_one(
    supervisord: Supervisord,
) -> None:
    scene, job = supervisord.scene, supervisord.scene.accept(2)
    before = supervisord.value("batches_recovered_total", "worker_died") or 0
    for batch, name in enumerate(("worker-1", "worker-2")):
        worker = supervisord.children[name]
        scene.take(scene.beat(name, worker.pid, token=f"life-{worker.pid}"), job, batch)
        if batch == 1:
            supervisord.children["monitor"].kill()
            supervisord.end("monitor")
        worker.kill()
        worker.wait()
        if batch == 0:
            fields = {"processname": name, "groupname": "worker", "expected": 0, "pid": worker.pid}
            supervisord.send("PROCESS_STATE_EXITED", from_state="RUNNING", **fields)
            until(lambda: 0 in scene.waiting(job))
            assert scene.blame(job) == Blame.DEATH  # as the event says
            until(lambda: supervisord.value("batches_recovered_total", "worker_died") == before + 1)
    supervisord.run_all()
    until(lambda: scene.waiting(job) == {0, 1})
    until(lambda: all(f"job={job.id} batch={batch}" in supervisord.log() for batch in (0, 1)))
    until(lambda: supervisord.status().fatal_programs == ("broken",))


def test_every_metric_is_exported(supervisord: Supervisord) -> None:
    scene = supervisord.scene
    scene.accept(3)
    scene.counters.add(metrics.HTTP_REQUESTS, "GET", "/v1/models", "200")
    scene.counters.observe(metrics.HTTP_REQUEST_SECONDS, 0.01, "/v1/models")
    scene.counters.most(metrics.LARGEST_RESIDUAL, 1e-7, "wine@1")
    scene.counters.flush()
    scene.connection.config_set("maxmemory", 2**30)
    scene.beat(pid=supervisord.children["worker-1"].pid)
    ApiLoad(3, 2).write(supervisord.settings.load_file)
    until(lambda: supervisord.value("storage_bytes") is not None)
    until(lambda: (supervisord.value("queue_batches", "bulk") or 0) >= 3)
    until(lambda: supervisord.value("workers", "idle") == 1)
    until(lambda: supervisord.value("program_up", "worker-2") == 1)
    found = supervisord.scrape()
    assert (supervisord.value("http_connections"), supervisord.value("http_waits")) == (3, 2)
    names = {name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") for name, *_ in found}
    without_limits = {"memory_container_limit_bytes", "worker_memory_limit_bytes"}
    assert {metric.name for metric in metrics.METRICS} - names <= without_limits
    assert found["redis_memory_limit_bytes",] == 2**30
    assert time.time() > found["start_time_seconds",] > 0
    up = {name[1]: value for name, value in found.items() if name[0] == "program_up"}
    assert up == {"api": 1, "broken": 0, "monitor": 1, "worker-1": 1, "worker-2": 1}
    assert "numpy" not in Path(f"/proc/{supervisord.children['monitor'].pid}/maps").read_text()  # it is light
    processes = {name[1] for name in found if name[0] == "process_memory_bytes"}
    assert processes >= {"supervisord", "monitor", "worker-1", "worker-2"}


def test_a_scrape_without_redis_says_so_at_once(supervisord: Supervisord) -> None:
    server, before = supervisord.redis, supervisord.log().count("Redis is away")
    faults: list[tuple[Callable[[], None], Callable[[], None]]] = [
        (lambda: server.signal(signal.SIGSTOP), lambda: server.signal(signal.SIGCONT)),
        (server.kill, server.start),
    ]
    for number, (away, back) in enumerate(faults, 1):
        away()
        until(lambda: supervisord.value("redis_up") == 0)
        check_quick(1, supervisord.scrape)
        found = supervisord.scrape()
        assert ("redis_memory_bytes",) not in found
        assert ("storage_free_bytes",) in found
        until(lambda: supervisord.status().redis_down_seconds > 1)
        back()
        until(lambda: supervisord.value("redis_up") == 1 and supervisord.status().redis_down_seconds == 0)
        assert (
            supervisord.log().count("Redis is away") - before <= 2 * number
        )  # once for each loop that met it


def test_an_admins_request_recycles_one_worker(supervisord: Supervisord) -> None:
    workers = [supervisord.children[name] for name in ("worker-1", "worker-2")]
    before = supervisord.value("worker_recycles_total", "admin") or 0
    until(lambda: supervisord.value("program_up", "worker-2") == 1)
    RecycleRequests(supervisord.scene.connection).ask()
    until(lambda: supervisord.value("worker_recycles_total", "admin") == before + 1)
    until(lambda: -signal.SIGTERM in {worker.poll() for worker in workers})
    assert None in {worker.poll() for worker in workers}


def test_stopping_is_written_down_at_once_and_what_has_stopped_is_down(supervisord: Supervisord) -> None:
    until(lambda: supervisord.value("program_up", "worker-1") == 1 and not supervisord.status().draining)
    supervisord.stopping = True
    supervisord.send(STOPPING)
    assert supervisord.status().draining
    supervisord.children["worker-1"].kill()
    supervisord.children["worker-1"].wait()
    until(lambda: supervisord.value("program_up", "worker-1") == 0)
    assert supervisord.value("program_up", "api") == 1
    until(lambda: "STOPPED" in {program.state for program in supervisord.status().programs})
    stdin = supervisord.children["monitor"].stdin
    assert stdin is not None
    stdin.close()  # supervisord has ended
    assert supervisord.end("monitor") == 0
    assert "Traceback" not in supervisord.log()
