from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any, Protocol

import pytest
import redis

from services.monitor.events.programs import Program, Programs
from services.monitor.guard.memory_decision import Marks
from services.monitor.guard.memory_gauge import MemoryGauge, Source
from services.monitor.metrics.pulse import STALE_SECONDS, Pulse
from services.monitor.metrics.storage_use import StorageUse
from shared import metrics
from shared.appliance.counters import Counters
from shared.appliance.heartbeats import Heartbeat, Heartbeats
from shared.appliance.status import ApplianceStatus
from shared.jobs import keys
from shared.jobs.document import Job
from shared.jobs.queue import Lane
from shared.jobs.store import JobStore
from shared.settings import Settings
from tests.integration.monitor.conftest import report


class Server(Protocol):
    def start(self) -> None: ...
    def kill(self) -> None: ...
    def signal(self, number: signal.Signals) -> None: ...


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Felt:
    """A pulse with a clock of its own, and what it wrote down."""

    def __init__(self, impatient: redis.Redis, settings: Settings) -> None:
        self.settings, self.clock, self.programs = settings, Clock(), Programs()
        self.gauge = MemoryGauge(Source(None, ""), Marks(10**12, None), self.programs, os.getpid())
        self.storage = StorageUse(settings.local_objects_dir)
        self.stopping = threading.Event()
        self.pulse = Pulse(
            impatient, self.programs, self.gauge, self.storage, settings, self.stopping, self.clock
        )

    def after(self, seconds: float) -> ApplianceStatus:
        self.clock.now += seconds
        try:
            self.pulse.step()
        except redis.exceptions.RedisError:
            assert not self.pulse.redis_up
        status = ApplianceStatus.read(self.settings.status_file)
        assert status is not None
        return status


@pytest.fixture
def felt(impatient: redis.Redis, settings: Settings) -> Felt:
    return Felt(impatient, settings)


def test_a_well_appliance_is_written_down_as_well(felt: Felt, beat: Callable[..., Heartbeat]) -> None:
    beat("worker-1")
    beat("worker-1", host="other")
    felt.gauge.measure()
    status = felt.after(1)
    assert status.age() < 5
    assert (status.redis_down_seconds, status.no_worker_seconds) == (0, 0)
    assert (len(felt.pulse.heartbeats), status.fatal_programs, status.draining) == (2, (), False)
    assert felt.pulse.disk is not None
    assert status.memory_working_set_bytes > 0
    assert felt.pulse.local_worker_pids("this-machine") == {"worker-1": os.getpid()}


def test_a_ping_takes_as_long_as_redis_and_not_as_all_that_is_asked_after_it(
    felt: Felt, impatient: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask: Any = impatient.execute_command

    def slow(*words: object, **options: object) -> object:
        felt.clock.now += 0.25 if words[0] == "PING" else 5
        return ask(*words, **options)

    monkeypatch.setattr(impatient, "execute_command", slow)
    felt.after(1)
    assert felt.pulse.ping_seconds == 0.25


def test_every_program_is_written_down_with_its_state_and_size(felt: Felt) -> None:
    report(felt.programs, Program("api", "api", "RUNNING", os.getppid()))
    report(felt.programs, Program("worker", "worker-1", "BACKOFF"))
    report(felt.programs, Program("announce", "announce", "EXITED"))
    felt.storage.used = 5
    felt.gauge.measure()
    status = felt.after(1)
    sizes = {program.name: program for program in status.programs}
    assert [(program.name, program.state) for program in status.programs] == [
        ("supervisord", "RUNNING"),
        ("api", "RUNNING"),
        ("worker-1", "BACKOFF"),
    ]
    assert sizes["supervisord"].memory_bytes > 0
    assert sizes["worker-1"].memory_bytes == -1
    assert (status.memory_source, status.memory_container_bytes) == ("processes", 0)
    assert status.storage_used_bytes == 5


def test_the_absence_of_redis_is_counted_from_its_last_answer(felt: Felt, server: Server) -> None:
    felt.after(1)
    server.kill()
    assert felt.after(1).redis_down_seconds == 1
    assert felt.after(30).redis_down_seconds == 31
    server.start()
    assert felt.after(1).redis_down_seconds == 0


def test_a_redis_that_hangs_counts_as_absent(felt: Felt, server: Server) -> None:
    felt.after(1)
    server.signal(signal.SIGSTOP)
    assert felt.after(1).redis_down_seconds >= 1
    server.signal(signal.SIGCONT)
    assert felt.after(1).redis_down_seconds == 0


def test_the_time_without_workers_counts_only_while_redis_could_tell(
    felt: Felt, server: Server, beat: Callable[..., Heartbeat], connection: redis.Redis
) -> None:
    heartbeat = beat("worker-1")
    assert felt.after(1).no_worker_seconds == 0
    Heartbeats(connection).withdraw(heartbeat.name)
    assert felt.after(1).no_worker_seconds == 1
    server.kill()
    assert felt.after(60).no_worker_seconds == 1
    server.start()
    assert felt.after(1).no_worker_seconds == 2
    beat("worker-1")
    assert felt.after(1).no_worker_seconds == 0


def test_programs_given_up_and_the_stopping_of_everything_are_written_down(felt: Felt) -> None:
    report(felt.programs, Program("api", "api", "FATAL"))
    felt.stopping.set()
    felt.pulse.write()
    status = ApplianceStatus.read(felt.settings.status_file)
    assert status is not None
    assert status.draining
    assert status.fatal_programs == ("api",)


def test_a_queue_of_which_living_workers_take_nothing_stands_still(
    felt: Felt,
    beat: Callable[..., Heartbeat],
    accept: Callable[..., Job],
    take: Callable[[Heartbeat, Job, int], None],
    store: JobStore,
) -> None:
    heartbeat = beat("worker-1")
    assert felt.after(1).standstill_seconds == 0  # nothing waits
    job = accept(3)
    assert felt.after(1).standstill_seconds == 0
    assert felt.after(1).standstill_seconds == 1
    assert felt.after(1).standstill_seconds == 2
    take(heartbeat, job, 0)
    assert felt.after(1).standstill_seconds == 0
    assert felt.after(1).standstill_seconds == 0  # one is at work, however long
    store.transitions.complete(job.id, 0, 10, job.model, 0.0)
    felt.after(1)
    assert felt.after(1).standstill_seconds > 0
    Heartbeats(felt.pulse._redis).withdraw(heartbeat.name)
    assert felt.after(1).standstill_seconds == 0  # that there is no worker is another matter


def test_all_that_the_metrics_tell_of_redis_is_read(
    felt: Felt,
    connection: redis.Redis,
    accept: Callable[[int], Job],
    beat: Callable[..., Heartbeat],
) -> None:
    job, heartbeat = accept(3), beat("worker-1")
    counters = Counters(connection)
    counters.add(metrics.MEMORY_UNRELIEVED)
    counters.flush()
    connection.config_set("maxmemory", 2**30)
    felt.after(1)
    state = felt.pulse.redis_state
    assert state is not None
    assert state.sums["memory_unrelieved_total",] == 1
    assert state.waiting == {Lane.INTERACTIVE: 0, Lane.BULK: 3}
    assert state.heads[Lane.INTERACTIVE] is None
    assert (state.heads[Lane.BULK] or "").startswith(f"{job.id}-")
    assert state.heartbeats == {heartbeat.name: heartbeat}
    assert 0 < state.used_bytes < state.limit_bytes == 2**30


def test_nothing_is_told_of_a_redis_that_does_not_answer_until_it_does(felt: Felt, server: Server) -> None:
    felt.after(1)
    server.signal(signal.SIGSTOP)
    felt.after(1)
    assert felt.pulse.redis_state is None
    server.signal(signal.SIGCONT)
    felt.after(1)
    assert felt.pulse.redis_state is not None


def test_a_redis_that_forbids_what_only_the_metrics_need_is_up_for_health(
    felt: Felt, connection: redis.Redis, beat: Callable[..., Heartbeat], logged: Callable[[str], list[str]]
) -> None:
    beat("worker-1")
    felt.after(1)
    read = [felt.pulse.redis_state is not None]
    connection.acl_setuser("default", enabled=True, commands=["-info"], reset=False)
    for _ in range(40):
        felt.after(1)
    beat("worker-1")
    status = felt.after(1)
    assert felt.pulse.redis_up
    assert (status.redis_down_seconds, len(felt.pulse.heartbeats)) == (0, 1)
    read.append(felt.pulse.redis_state is not None)
    assert len(logged("Redis answers, but its metrics cannot be read")) == 1
    connection.acl_setuser("default", enabled=True, commands=["+info"], reset=False)
    felt.after(1)
    read.append(felt.pulse.redis_state is not None)
    assert read == [True, False, True]


def test_a_counter_that_is_no_number_does_not_stop_the_pulse(
    felt: Felt, connection: redis.Redis, accept: Callable[..., Job], beat: Callable[..., Heartbeat]
) -> None:
    connection.hset(keys.COUNTERS, "jobs_total", "many")
    assert [felt.after(1).no_worker_seconds for _ in range(2)] == [1, 2]
    beat("worker-1")
    accept(3)
    assert [felt.after(1).standstill_seconds for _ in range(3)] == [0, 1, 2]
    assert felt.pulse.redis_up
    assert felt.pulse.redis_state is None


def test_a_reading_that_has_had_no_successor_for_long_is_not_told(felt: Felt) -> None:
    felt.after(1)
    felt.clock.now += STALE_SECONDS
    assert felt.pulse.redis_state is not None
    felt.clock.now += 1
    assert felt.pulse.redis_state is None
