"""The monitor writes a report for health each second, and reads numbers for a scrape."""

from __future__ import annotations

import os
import signal
import threading

import pytest
import redis

from services.monitor.events.programs import Program, Programs
from services.monitor.guard.memory_decision import Marks
from services.monitor.guard.memory_gauge import MemoryGauge, Source
from services.monitor.metrics.pulse import STALE_SECONDS, Pulse
from services.monitor.metrics.storage_use import StorageUse
from shared import metrics
from shared.appliance.counters import Counters
from shared.appliance.status import ApplianceStatus
from shared.jobs import keys
from shared.settings import Settings
from shared.timing import TIMING
from tests.integration.conftest import Logged
from tests.integration.monitor.conftest import HOST, Scene, report
from tests.support.redis_server import RedisServer


class Felt:
    """A pulse with a clock of its own, and what it wrote down."""

    def __init__(self, impatient: redis.Redis, settings: Settings) -> None:
        self.now, self.settings, self.programs = 100.0, settings, Programs()
        self.gauge = MemoryGauge(Source(None, ""), Marks(10**12, None), self.programs, os.getpid())
        self.storage = StorageUse(settings.local_objects_dir)
        self.stopping = threading.Event()
        self.pulse = Pulse(
            impatient, self.programs, self.gauge, self.storage, settings, self.stopping, lambda: self.now
        )

    def after(self, seconds: float = 1) -> ApplianceStatus:
        self.now += seconds
        try:
            self.pulse.step()
        except redis.exceptions.RedisError:
            assert not self.pulse.redis_up
        return self.written()

    def tells_of_redis(self) -> bool:
        return self.pulse.redis_state is not None

    def written(self) -> ApplianceStatus:
        status = ApplianceStatus.read(self.settings.status_file)
        assert status is not None
        return status


@pytest.fixture
def felt(impatient: redis.Redis, settings: Settings) -> Felt:
    return Felt(impatient, settings)


def test_a_well_appliance_is_reported_with_every_programs_state_and_size(felt: Felt, scene: Scene) -> None:
    scene.beat()
    scene.beat(host="other")
    report(felt.programs, Program("api", "api", "RUNNING", os.getppid()))
    report(felt.programs, Program("worker", "worker-1", "BACKOFF"))
    report(felt.programs, Program("announce", "announce", "EXITED"))
    felt.storage.used = 5
    felt.gauge.measure()
    status = felt.after()
    assert status.age() < 60
    assert (status.redis_down_seconds, status.no_worker_seconds) == (0, 0)
    assert (len(felt.pulse.heartbeats), status.fatal_programs, status.draining) == (2, (), False)
    assert felt.pulse.disk is not None
    assert felt.pulse.local_worker_pids(HOST) == {"worker-1": os.getpid()}
    states = {"supervisord": "RUNNING", "api": "RUNNING", "worker-1": "BACKOFF"}
    assert {program.name: program.state for program in status.programs} == states
    sizes = {program.name: program.memory_bytes for program in status.programs}
    assert status.memory_working_set_bytes >= sizes["supervisord"] > 0
    assert sizes["worker-1"] == -1
    assert (status.memory_source, status.memory_container_bytes) == ("processes", 0)
    assert status.storage_used_bytes == 5
    report(felt.programs, Program("api", "api", "FATAL"))
    felt.stopping.set()
    felt.pulse.write()
    assert (felt.written().draining, felt.written().fatal_programs) == (True, ("api",))


def test_the_absence_of_redis_is_counted_from_its_last_answer_and_nothing_is_told_of_it(
    felt: Felt, server: RedisServer, scene: Scene
) -> None:
    felt.after()
    server.kill()
    absent = [felt.after(seconds) for seconds in (1, 30)]
    assert [status.redis_down_seconds for status in absent] == [1, 31]
    assert [status.no_worker_seconds for status in absent] == [1, 1]  # Redis could not tell of one
    server.start()
    status = felt.after()
    assert (status.redis_down_seconds, status.no_worker_seconds) == (0, 2)
    assert felt.tells_of_redis()
    server.signal(signal.SIGSTOP)  # one that hangs is absent as well
    assert felt.after().redis_down_seconds == 1
    assert not felt.tells_of_redis()
    server.signal(signal.SIGCONT)
    scene.beat()
    status = felt.after()
    assert (status.redis_down_seconds, status.no_worker_seconds) == (0, 0)
    felt.now += STALE_SECONDS
    assert felt.tells_of_redis()
    felt.now += 1  # a reading without a successor for so long is not told
    assert not felt.tells_of_redis()


def test_a_queue_of_which_living_workers_take_nothing_stands_still(felt: Felt, scene: Scene) -> None:
    heartbeat = scene.beat()
    assert felt.after().standstill_seconds == 0  # nothing waits
    job = scene.accept(3)
    assert [felt.after().standstill_seconds for _ in range(3)] == [0, 1, 2]
    scene.take(heartbeat, job)
    assert [felt.after().standstill_seconds for _ in range(2)] == [0, 0]  # one is at work, however long
    scene.store.transitions.complete(job.id, 0, 10, job.model, 0.0)
    felt.after()
    assert felt.after().standstill_seconds > 0
    scene.heartbeats.withdraw(heartbeat.name)
    assert felt.after().standstill_seconds == 0  # that there is no worker is another matter


def test_work_of_which_no_batch_ends_is_stalled_until_one_does(felt: Felt, scene: Scene) -> None:
    assert felt.after().stalled_seconds == 0
    heartbeat, job = scene.beat(), scene.accept(3)
    limit = TIMING.stalled_batches * felt.settings.batch_timeout_seconds
    scene.take(heartbeat, job)
    felt.after()
    for _ in range(int(limit / 2) - 1):
        assert felt.after(2).stalled_seconds == 0
    assert felt.after(2).stalled_seconds > limit
    assert not felt.pulse.progresses
    counters = Counters(scene.connection)
    counters.observe(metrics.BATCH_SECONDS, 1.0)
    counters.flush()
    assert felt.after(2).stalled_seconds == 0
    assert felt.pulse.progresses


@pytest.mark.parametrize("counter", ["1", "many"], ids=["INFO is forbidden", "a counter is no number"])
def test_a_redis_that_keeps_back_what_only_the_metrics_need_is_up_for_health(
    felt: Felt, scene: Scene, logged: Logged, counter: str
) -> None:
    scene.accept(3)
    felt.after()
    read = [felt.tells_of_redis()]
    commands = [] if counter == "many" else ["-info"]
    scene.connection.acl_setuser("default", enabled=True, commands=commands, reset=False)
    scene.connection.hset(keys.COUNTERS, "jobs_total", counter)
    assert [felt.after().no_worker_seconds for _ in range(2)] == [2, 3]
    scene.beat()
    assert [felt.after().standstill_seconds for _ in range(3)] == [1, 2, 3]
    assert felt.pulse.redis_up
    read.append(felt.tells_of_redis())
    assert len(logged("Redis answers, but its metrics cannot be read")) == 1
    scene.connection.acl_setuser("default", enabled=True, commands=["+info"], reset=False)
    scene.connection.delete(keys.COUNTERS)
    felt.after()
    read.append(felt.tells_of_redis())
    assert read == [True, False, True]
