"""The simulated appliances: supervisors, and the product's programs that they start."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import redis

import services.worker.__main__ as worker_program
from services.api.capacity.results import ResultReservations
from services.api.explain.queued import QueuedExecutor
from services.api.resources.jobs import JobResource
from services.monitor.events.listener import Event as SupervisorEvent
from services.monitor.events.listener import note_exit
from services.monitor.events.loop import Loop
from services.monitor.events.programs import API, RUNNING, Program, Programs
from services.monitor.monitor import POLL_SECONDS, RESCUE_SECONDS, SWEEP_SECONDS
from services.monitor.recovery import worker_exits
from services.monitor.recovery.rescue import Rescue
from services.monitor.recovery.worker_exits import WorkerExits
from services.monitor.sweeper import Sweeper
from services.worker.worker import BatchWorker
from shared.appliance.counters import Counters
from shared.jobs.recovery import Recovery
from shared.jobs.store import JobStore
from shared.objects.payloads import Payloads
from shared.redis.connection import Patience, connect, is_outage
from shared.settings import Settings
from tests.search.simulator.world import Event, Machine, Process, World, running_world

#: Seconds from a program's end until supervisord starts it again, and until the program has started.
RESTART_SECONDS, WORKER_START_SECONDS = 0.2, 0.8
#: A process that dies within so many seconds is reported without its id.
START_SECONDS = 1.0


class SimulatedWorker(BatchWorker):
    """The worker without a real process's signals and title, and RQ's command channel."""

    def subscribe(self) -> None:
        self.pubsub_thread = None

    def procline(self, message: str) -> None:
        """Leave the real process its title."""

    def _install_signal_handlers(self) -> None:
        site_of_process().stop_worker = lambda: self.request_stop(15, None)


def start_drain_clock(seconds: float, leave: Callable[[], None]) -> None:
    """Do as services.worker.exits does, with the simulator's signals."""

    def wait_and_leave() -> None:
        running_world().wait(seconds)
        leave()

    site_of_process().leave = wait_and_leave


class SimulatedLoop(Loop):
    """A monitor's loop, for which an unexpected error is a broken promise."""

    def _report(self, fault: Exception) -> None:
        running_world().violate(f"the monitor's loop {self.name} failed: {fault!r}")


@dataclass(eq=False)
class Slot:
    """A program of supervisord's: it is started again whenever its process ends."""

    group: str
    name: str
    main: Callable[[], int]
    process: Process | None = None
    stop_worker: Callable[[], None] | None = None
    leave: Callable[[], object] | None = None
    #: Whether supervisord leaves it stopped.
    stopped: bool = False

    @property
    def alive(self) -> bool:
        """Whether it has a process."""
        return self.process is not None and self.process.alive


_slots: dict[int, Slot] = {}


def site_of_process() -> Slot:
    """Return the slot of the running process."""
    return _slots[running_world().task.process.pid]


@dataclass(eq=False)
class Api:
    """The parts of the api's process that requests use."""

    store: JobStore
    payloads: Payloads
    reservations: ResultReservations
    executor: QueuedExecutor
    jobs: JobResource


@dataclass(eq=False)
class MonitorParts:
    """The parts of the monitor's process that supervisord's events reach."""

    rescue: Rescue
    loop: Loop
    supervisor: Loop
    sweeper: Sweeper


@dataclass(eq=False)
class Site:
    """An appliance: one machine with supervisord, workers, a monitor, and perhaps the api."""

    world: World
    machine: Machine
    settings: Settings
    workers: int
    alone: bool
    with_api: bool
    #: Called when a process has ended, before supervisord acts.
    on_end: Callable[[Process], None]
    slots: list[Slot] = field(default_factory=list)
    api: Api | None = None
    monitor: MonitorParts | None = None
    missed: deque[SupervisorEvent] = field(default_factory=deque)

    def start(self) -> None:
        """Start all programs."""
        self.slots = [
            Slot("worker", name, functools.partial(self._work, name))
            for name in (f"worker-{number + 1}" for number in range(self.workers))
        ]
        self.slots.append(Slot("monitor", "monitor", self._watch))
        if self.with_api:
            self.slots.append(Slot(API, API, self._serve))
        for slot in self.slots:
            self._start(slot)

    def slot(self, name: str) -> Slot:
        """Return a program by its name."""
        return next(slot for slot in self.slots if slot.name == name)

    def stop_worker(self, slot: Slot) -> None:
        """Send SIGTERM to a worker, as supervisord or the guard does."""
        process = slot.process
        if process is None or not process.alive:
            return
        if slot.stop_worker is None:
            self.world.exit(process, 0)  # while it starts: KeyboardInterrupt
            return
        if slot.leave is not None:
            leave, slot.leave = slot.leave, None
            self.world.spawn(process, "drain clock", leave)
        self.world.signal(process, slot.stop_worker)

    def _start(self, slot: Slot) -> None:
        if slot.stopped or slot.alive:
            return
        pid = 100 + len(self.world.processes)
        process = Process(f"{self.machine.name}/{slot.name}", self.machine, pid)
        process.on_end = lambda code: self._ended(slot, process, code)
        slot.process = process
        slot.stop_worker = slot.leave = None
        _slots[pid] = slot
        self.world.start(process, slot.main)

    def _ended(self, slot: Slot, process: Process, code: int | None) -> None:
        self.on_end(process)
        if slot.group == API:
            self.api = None
        if slot.group == "monitor":
            self.monitor = None
        young = self.world.now - process.started_at < START_SECONDS
        fields = {"processname": slot.name, "groupname": slot.group, "expected": str(int(code == 0))}
        if not young:
            fields["pid"] = str(process.pid)
        name = "PROCESS_STATE_BACKOFF" if young else "PROCESS_STATE_EXITED"
        rng = self.world.rng
        self.world.later(rng.uniform(0.001, 0.1), lambda: self._tell(SupervisorEvent(name, fields)))
        self.world.later(RESTART_SECONDS, lambda: self._start(slot))

    def _tell(self, event: SupervisorEvent) -> None:
        if self.monitor is None:
            if self.world.rng.random() < 0.5:
                self.missed.append(event)
        elif report := note_exit(event):
            self.monitor.rescue.worker_exited(report)
            self.monitor.loop.wake()
            self.monitor.supervisor.wake()

    # --- The programs ---

    def _work(self, name: str) -> int:
        self.world.wait(WORKER_START_SECONDS * self.world.rng.uniform(0.5, 1.5))
        try:
            return worker_program._work(self.settings, name)
        except redis.RedisError as fault:  # as services.worker.__main__.main does
            if not is_outage(fault):
                raise
            return 0

    def _watch(self) -> int:
        settings, machine = self.settings, worker_exits.Machine(self.machine.name, 1, alone=self.alone)
        connection = connect(settings, Patience.STEADY, name="monitor")
        store, programs = JobStore(connection, settings), Programs(running_world().task.process.pid)
        exits = WorkerExits(machine, cast("Any", Event()))
        recovery = Recovery(connection, store)
        rescue = Rescue(
            connection, recovery, Counters(connection), programs, exits, settings.batch_timeout_seconds
        )
        sweeper = Sweeper(
            connection,
            store,
            Payloads.open(settings),
            settings.result_ttl_hours,
            settings.local_objects_dir,
            self._api_age if self.alone else lambda: None,
        )
        supervisor = SimulatedLoop("supervisor", POLL_SECONDS, lambda: programs.adopt(self._list()))
        loop = SimulatedLoop("recovery", RESCUE_SECONDS, rescue.step)
        loops = [supervisor, loop]
        if self.with_api:
            loops.append(SimulatedLoop("sweeper", SWEEP_SECONDS, sweeper.step))
        supervisor.turn()
        self.monitor = MonitorParts(rescue, loop, supervisor, sweeper)
        world = self.world
        threads = [world.spawn(world.task.process, one.name, one.run) for one in loops]
        while self.missed:
            self._tell(self.missed.popleft())
        threads[0].ended.wait()
        return 0

    def _serve(self) -> int:
        settings = self.settings
        connection = connect(settings, Patience.IMPATIENT, name="api")
        store, payloads = JobStore(connection, settings), Payloads.open(settings)
        reservations = ResultReservations(settings.local_objects_dir)
        executor = QueuedExecutor(settings, store, payloads, reservations)
        parts = SimpleNamespace(store=store, payloads=payloads)
        self.api = Api(store, payloads, reservations, executor, JobResource(cast("Any", parts)))
        Event().wait()
        return 0

    def _list(self) -> list[Program]:
        return [
            Program(slot.group, slot.name, RUNNING, slot.process.pid)
            for slot in self.slots
            if slot.process is not None and slot.process.alive
        ]

    def _api_age(self) -> float | None:
        slot = self.slot(API)
        return self.world.now - slot.process.started_at if slot.process else None


def is_running(pid: int) -> bool:
    """Return whether a simulated process has not ended."""
    return running_world().processes[pid].alive


def is_stopped(pid: int) -> bool:
    """Return whether a simulated process is stopped by a signal."""
    process = running_world().processes[pid]
    return process.pause_shows and process.paused_until > running_world().now


def send_signal(pid: int, number: int, ancestor: int) -> bool:
    """Kill a simulated process."""
    del number, ancestor
    world = running_world()
    if not world.processes[pid].alive:
        return False
    world.kill(world.processes[pid])
    return True
