"""One history: drawn from its seed, run until everything has come to rest, and checked."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import services.monitor.recovery.rescue as rescue_module
import services.worker.__main__ as worker_program
import services.worker.worker as worker_module
from services.monitor.recovery import worker_exits
from services.monitor.sweeper import Sweeper
from shared.appliance import counters, heartbeats
from shared.jobs import keys, transitions
from shared.jobs.queue import Lane
from shared.jobs.store import JobStore
from shared.objects.object_store import ObjectStore
from shared.objects.payloads import Payloads
from shared.redis.connection import Patience, connect
from shared.settings import Settings
from tests.search.simulator import site as site_module
from tests.search.simulator.checks import check_end, check_leaks, check_state
from tests.search.simulator.clients import Client
from tests.search.simulator.clocked_redis import ClockedRedis
from tests.search.simulator.engine import Ailment, SimulatedModels, Work
from tests.search.simulator.faults import Faults
from tests.search.simulator.ledger import Ledger, Submission
from tests.search.simulator.shims import OperatingSystem
from tests.search.simulator.site import SimulatedWorker, Site, start_drain_clock
from tests.search.simulator.wire import Network, use_network
from tests.search.simulator.world import EPOCH, UPTIME, Event, Machine, Process, World

#: Virtual seconds in which all jobs end, and in which stopped workers leave nothing behind.
REST_SECONDS = 900.0
#: Steps between two looks at all of Redis.
LOOK_STEPS = 40
#: Seconds after which a batch's worker counts as hung.
BATCH_TIMEOUT = 20
SCRIPTS = ("claim", "complete", "release", "finish", "forget")


class History:
    """Everything that one seed decides."""

    def __init__(
        self, seed: int, server: ClockedRedis, folder: Path, trace: Callable[[str], None] | None = None
    ) -> None:
        self.world = World(seed, trace)
        self._server = server
        self.settings = Settings(data_dir=folder, batch_timeout_seconds=BATCH_TIMEOUT)
        self._scripts = script_names()
        self.ledger = Ledger(self.world, self._scripts)
        rng = self.world.rng
        remote = rng.random() < 0.35
        machines = [Machine("first")] + [Machine("second", rng.choice((0.0, -7.0, 90.0)))] * remote
        self.sites = [
            Site(
                self.world,
                machine,
                self.settings,
                workers=rng.choice((1, 2)) if remote else rng.choice((1, 2, 2, 3)),
                alone=not remote,
                with_api=machine is machines[0],
                on_end=self.ledger.process_ended,
            )
            for machine in machines
        ]
        self.faults = Faults(self.world, self.sites, self._name_of, self.ledger.held_up)
        self.network = Network(
            self.world, self.faults.strike, self.ledger.watch, self._describe, self._set_clock
        )
        self.faults.network = self.network
        self._clients: list[Process] = []
        self._looked = 0

    def run(self) -> None:
        """Run and check it. Raises ViolationError, or any unexpected error of the product."""
        self._set_clock()
        self._server.clear()
        with self.world.installed(), running(self):
            try:
                self._run()
            finally:
                for connection in self.network.connections:
                    connection.disconnect()

    def _run(self) -> None:
        world = self.world
        for site in self.sites:
            site.start()
        self._submit()
        world.run(self._is_at_rest, world.now + REST_SECONDS)
        if not self._is_at_rest():
            world.violate(f"these jobs do not end: {sorted(self.ledger.active)}")
        self.faults.end()
        world.run(self._queues_are_empty, world.now + REST_SECONDS)
        self._stop_workers()
        self._in_new_process("checks", lambda: check_end(self.ledger, self.settings))
        self._in_new_process("sweeper", self._sweep)

    def _is_at_rest(self) -> bool:
        world = self.world
        if world.steps - self._looked >= LOOK_STEPS:
            self._looked = world.steps
            for fault in check_state(self._server.admin):
                world.violate(fault)
        api = self.sites[0].slot("api")
        requests = len(api.process.tasks) - 1 if api.process is not None and api.alive else 0
        return not (self.ledger.active or requests or any(client.alive for client in self._clients))

    def _queues_are_empty(self) -> bool:
        now = self.world.now
        if any(process.alive and process.paused_until > now for process in self.world.processes.values()):
            return False  # it may still queue a batch once more
        return not any(self._server.admin.llen(f"rq:queue:{lane.value}") for lane in Lane)

    def _nothing_is_held(self) -> bool:
        admin = self._server.admin
        working = any(slot.alive for site in self.sites for slot in site.slots if slot.stopped)
        return not working and not admin.exists(keys.RUNNING, keys.WORKERS)

    def _submit(self) -> None:
        """Start the clients of some bodies."""
        rng, world = self.world.rng, self.world
        works: dict[int, Work] = {}
        machine = Machine("client")
        for body in range(1, rng.choice((2, 3, 3, 4, 5))):
            ailments = (Ailment.POISON, Ailment.FAULT, Ailment.MEMORY, Ailment.NONE)
            ailment = rng.choices(ailments, (2, 1, 1, 30))[0]
            seconds = rng.choices((0.02, 0.5, 3.0, 12.0), (6, 4, 2, 1))[0]
            works[body] = Work(seconds, ailment, rng.random() < 0.2)
            submission = Submission(
                f"body-{body}",
                body,
                rows=rng.choice((1, 2, 4, 5, 8)),
                batch_rows=2,
                key=f"key-{body}" if rng.random() < 0.7 else None,
                work=works[body],
            )
            self.ledger.submissions[submission.name] = submission
            for number in range(2 if submission.key and rng.random() < 0.4 else 1):
                client = Process(f"client-{body}.{number}", machine, 10_000 + len(self._clients))
                self._clients.append(client)
                run = Client(world, self.sites[0], self.ledger, submission, first=number == 0).run
                world.start(client, run)
        self.models = SimulatedModels(works, rng.choice((None, 1)))

    def _stop_workers(self) -> None:
        """Stop the workers in order; the monitors give back what is left."""
        world = self.world
        for slot in (slot for site in self.sites for slot in site.slots if slot.group == "worker"):
            slot.stopped = True
        for site in self.sites:
            for slot in site.slots:
                if slot.stopped:
                    site.stop_worker(slot)
        world.run(self._nothing_is_held, world.now + REST_SECONDS)

    def _in_new_process(self, name: str, act: Callable[[], None]) -> None:
        """End all processes, and do something in a new one."""
        world = self.world
        for slot in (slot for site in self.sites for slot in site.slots):
            slot.stopped = True
        for process in list(world.processes.values()):
            world.kill(process, quietly=True)
        process = Process(name, self.sites[0].machine, 20_000 + len(world.processes))
        world.now = max(world.now, self.network.down_until)
        world.start(process, act)
        world.run(lambda: not process.alive, world.now + 1e9)

    def _sweep(self) -> None:
        """Sweep leftovers, then let all results expire and sweep again."""
        settings, world = self.settings, self.world
        connection = connect(settings, Patience.STEADY, name="sweeper")
        store, payloads = JobStore(connection, settings), Payloads.open(settings)
        sweeper = Sweeper(connection, store, payloads, settings.result_ttl_hours, settings.local_objects_dir)
        sweeper.step()  # sees objects without a job for the first time
        for hours in (7.0, 0.2, settings.result_ttl_hours + 25):
            world.wait(hours * 3600)
            sweeper.step()
            check_leaks(connection, payloads, self.ledger, expired=hours > settings.result_ttl_hours)

    def _set_clock(self) -> None:
        skew = self.sites[0].machine.skew
        self._server.set_clock(EPOCH + self.world.now - UPTIME + skew)

    def _name_of(self, command: Sequence[Any]) -> str:
        return self._scripts.get(command[1], "EVALSHA") if command[0] == "EVALSHA" else str(command[0])

    def _describe(self, command: Sequence[Any]) -> str:
        words = [word.decode(errors="replace") if isinstance(word, bytes) else str(word) for word in command]
        if words[0] == "EVALSHA":
            words = [self._name_of(command), *words[3:]]
        return " ".join(word if len(word) <= 60 else f"{word[:57]}..." for word in words[:8])


#: The history that runs.
_running: list[History] = []


@contextmanager
def running(history: History) -> Iterator[None]:
    """Have new connections and store accesses belong to a history."""
    _running.append(history)
    use_network(history.network)
    try:
        yield
    finally:
        _running.clear()


def replaced_parts() -> list[tuple[Any, str, Any]]:
    """Return the parts of the simulated world that replace real ones: owner, name, part."""
    system = OperatingSystem()
    parts: list[tuple[Any, str, Any]] = [
        (worker_program, "os", system),
        (worker_program, "Event", Event),
        (worker_program, "BatchWorker", SimulatedWorker),
        (worker_program, "WarmModels", lambda *_args: _running[0].models),
        (worker_program, "ModelCatalog", SimpleNamespace(load=lambda *_args: None)),
        (worker_program, "limit_growth", lambda _cap: None),
        (worker_module, "os", system),
        (worker_module, "start_drain_clock", start_drain_clock),
        (worker_exits, "is_running", site_module.is_running),
        (worker_exits, "is_stopped", site_module.is_stopped),
        (rescue_module, "send_signal", site_module.send_signal),
        (rescue_module, "processor_wait", lambda _pid: 0.0),
        (transitions, "_source", functools.cache(transitions._source)),
    ]
    accesses = ("write", "read", "delete_job", "job_ids", "probe")
    return parts + [(ObjectStore, name, _stepped(name, getattr(ObjectStore, name))) for name in accesses]


def _stepped(name: str, original: Any) -> Any:
    def access(store: ObjectStore, *args: Any) -> Any:
        return _running[0].faults.access_store(name, lambda: original(store, *args))

    return access


def script_names() -> dict[str, str]:
    """Return the names of the product's scripts, by the digest that Redis knows them by."""
    prelude = transitions._source("end_job")
    texts = {name: prelude + transitions._source(name) for name in SCRIPTS}
    texts |= {"beat": heartbeats._BEAT, "withdraw": heartbeats._WITHDRAW, "prune": heartbeats._PRUNE}
    texts["flush"] = counters._FLUSH
    return {hashlib.sha1(text.encode()).hexdigest(): name for name, text in texts.items()}


def load_scripts(server: ClockedRedis) -> None:
    """Load all scripts, so that the first history does not differ from the others."""
    prelude = transitions._source("end_job")
    for name in SCRIPTS:
        server.admin.script_load(prelude + transitions._source(name))
    for text in (heartbeats._BEAT, heartbeats._WITHDRAW, heartbeats._PRUNE, counters._FLUSH):
        server.admin.script_load(text)
