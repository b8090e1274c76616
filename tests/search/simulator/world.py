"""The simulated world: one virtual clock, and processes whose threads take turns.

Every thread of a simulated process is a greenlet. It runs until it waits, for a reply of Redis, an object, a lock or some
seconds; then the one whose time comes next runs. A process can be killed or paused wherever one of its threads waits.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from greenlet import getcurrent, greenlet

#: The wall clock when a history begins, in seconds since the epoch, and the monotonic clock: machines have run for a while.
EPOCH, UPTIME = 1_800_000_000.0, 10_000.0
#: Steps after which a history is taken for endless.
MOST_STEPS = 60_000


class Killed(BaseException):  # nothing may catch it
    """Unwinds the threads of a killed process, whose calls have no effect any more."""


class ViolationError(AssertionError):
    """The product has broken a promise."""


class Event:
    """threading.Event on the virtual clock."""

    def __init__(self) -> None:
        self._set = False
        self.waiters: list[Task] = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        world = _World.running()
        for task in self.waiters:
            world.wake(task)
        self.waiters.clear()

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            world = _World.running()
            self.waiters.append(world.task)
            world.wait(timeout)
            if world.task in self.waiters:
                self.waiters.remove(world.task)
        return self._set


class Lock:
    """threading.Lock on the virtual clock."""

    def __init__(self) -> None:
        self._held = False
        self._waiting: deque[Task] = deque()

    def acquire(self) -> bool:
        world = _World.running()
        while self._held:
            self._waiting.append(world.task)
            world.wait(None)
        self._held = True
        return True

    def release(self) -> None:
        self._held = False
        if self._waiting:
            _World.running().wake(self._waiting.popleft())

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_exc: object) -> None:
        self.release()


class Machine:
    """A machine with a wall clock of its own."""

    def __init__(self, name: str, skew: float = 0.0) -> None:
        self.name = name
        self.skew = skew


class Process:
    """A simulated process. `on_end` hears of its exit code; None if it was killed."""

    def __init__(self, name: str, machine: Machine, pid: int) -> None:
        self.name = name
        self.machine = machine
        self.pid = pid
        self.alive = True
        self.started_at = 0.0
        self.paused_until = 0.0
        #: Whether a pause shows as the state "stopped".
        self.pause_shows = False
        #: Until when the main thread holds the GIL.
        self.native_until = 0.0
        #: Until when Redis is out of its reach.
        self.cut_off_until = 0.0
        self.tasks: list[Task] = []
        self.on_end: Callable[[int | None], None] = lambda _code: None
        #: Signal handlers that the main thread runs when it goes on.
        self.signals: deque[Callable[[], None]] = deque()

    def __repr__(self) -> str:
        return self.name


@dataclass(eq=False)
class Task:
    """A thread of a process."""

    process: Process
    name: str
    greenlet: greenlet
    main: bool = False
    #: Counts its waits: what is scheduled for an earlier one is void.
    wait: int = 0
    #: Whether it waits so that a signal ends the wait.
    interruptible: bool = False
    ended: Event = field(default_factory=Event)


class _World:
    current: World | None = None

    @classmethod
    def running(cls) -> World:
        assert cls.current is not None, "no history is running"
        return cls.current


class World:
    """Runs tasks in the order of the virtual clock; equal seeds give equal orders."""

    def __init__(self, seed: int, trace: Callable[[str], None] | None = None) -> None:
        self.rng = random.Random(seed)
        self.now = UPTIME
        self.trace = trace
        self.processes: dict[int, Process] = {}
        self.steps = 0
        self.violation: Exception | None = None
        self._queue: list[tuple[float, int, Task | Callable[[], None], int]] = []
        self._numbers = itertools.count()
        self._doomed: list[Process] = []
        self._task: Task | None = None
        self._hub = getcurrent()

    @property
    def task(self) -> Task:
        """The task that runs."""
        assert self._task is not None, "no task is running"
        return self._task

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Make this world the one that the patched modules see; end all tasks afterwards."""
        _World.current = self
        try:
            yield
        finally:
            self.trace = None
            for process in self.processes.values():
                self.kill(process, quietly=True)
            self._bury()
            _World.current = None

    def say(self, words: str) -> None:
        """Add a line to the trace."""
        if self.trace is not None:
            who = "" if self._task is None else f"{self._task.process}/{self._task.name}"
            self.trace(f"{self.now - UPTIME:10.4f}  {who:<28} {words}")

    def violate(self, words: str) -> None:
        """Note that a promise is broken; the history ends here."""
        if self.violation is None:
            self.violation = ViolationError(words)
            self.say(f"VIOLATION: {words}")

    # --- Processes ---

    def start(self, process: Process, main: Callable[[], int | None] | Callable[[], None]) -> Task:
        """Start a process; its main thread's return value is the exit code."""
        self.processes[process.pid] = process
        process.started_at = self.now

        def run() -> None:
            code = main()
            self.exit(process, code or 0)

        return self.spawn(process, "main", run, main=True)

    def spawn(self, process: Process, name: str, run: Callable[[], object], *, main: bool = False) -> Task:
        """Start a thread of a process."""

        def body() -> None:
            try:
                if process.alive:
                    run()
            except Killed:
                pass
            except Exception as fault:  # noqa: BLE001  # reported as this history's result
                self.violation = self.violation or fault
                self.say(f"FAILS: {fault!r}")
            finally:
                process.tasks.remove(task)
                task.ended.set()

        task = Task(process, name, greenlet(body, self._hub), main)
        process.tasks.append(task)
        self._push(self.now, task, task.wait)
        return task

    def exit(self, process: Process, code: int | None) -> None:
        """End the running task's process with an exit code, or as killed."""
        self._end(process, code)
        if self._task is not None and self._task.process is process:
            raise Killed

    def kill(self, process: Process, *, quietly: bool = False) -> None:
        """Kill a process as SIGKILL does; the running task of it ends at its next wait."""
        if quietly:
            process.on_end = lambda _code: None
        self._end(process, None)

    def _end(self, process: Process, code: int | None) -> None:
        if process.alive:
            process.alive = False
            self._doomed.append(process)
            self.say(f"{process} {'is killed' if code is None else f'exits with {code}'}")
            process.on_end(code)

    def _bury(self) -> None:
        while self._doomed:
            for task in list(self._doomed.pop().tasks):
                if task.greenlet:  # it has begun
                    self._task = task
                    task.greenlet.throw(Killed)
                else:
                    task.process.tasks.remove(task)
        self._task = None

    def signal(self, process: Process, handler: Callable[[], None]) -> None:
        """Have the main thread of a process run a signal's handler as soon as it can."""
        process.signals.append(handler)
        for task in process.tasks:
            if task.main and task.interruptible:
                self.wake(task)

    # --- Waiting ---

    def wait(self, seconds: float | None, *, interruptible: bool = False) -> None:
        """Let others run until so many seconds have passed, or the task is woken."""
        task = self.task
        if not task.process.alive:
            raise Killed
        task.wait += 1
        task.interruptible = interruptible
        if seconds is not None:
            self._push(self.now + max(0.0, seconds), task, task.wait)
        self._hub.switch()
        task.interruptible = False
        if not task.process.alive:
            raise Killed
        while task.main and task.process.signals:
            task.process.signals.popleft()()

    def wake(self, task: Task, delay: float = 0.0) -> None:
        """End a task's present wait."""
        task.wait += 1
        self._push(self.now + delay, task, task.wait)

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something outside all processes."""
        self._push(self.now + seconds, act, 0)

    def run(self, done: Callable[[], bool], until: float) -> None:
        """Run tasks until `done`, the time is over, or a promise is broken."""
        while self._queue and self.violation is None and not done() and self._queue[0][0] <= until:
            when, _, due, wait = heapq.heappop(self._queue)
            self.now = max(self.now, when)
            if not isinstance(due, Task):
                due()
            elif due.process.alive and due.wait == wait:
                held_up = max(due.process.paused_until, 0.0 if due.main else due.process.native_until)
                if held_up > self.now:
                    self._push(held_up, due, wait)
                else:
                    self._step(due)
            self._bury()
        if self.violation is not None:
            raise self.violation

    def _step(self, task: Task) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            self.violate(f"nothing has come to rest after {MOST_STEPS} steps")
        self._task = task
        task.greenlet.switch()
        self._task = None

    def _push(self, when: float, due: Task | Callable[[], None], wait: int) -> None:
        heapq.heappush(self._queue, (when, next(self._numbers), due, wait))


def running_world() -> World:
    """Return the world of the history that runs."""
    return _World.running()
