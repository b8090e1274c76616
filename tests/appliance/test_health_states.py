"""/healthz and /readyz in each state. Several appliances go through theirs in parallel."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from ops.lab.trial_appliance import Appliance
from shared.appliance.heartbeats import Heartbeats
from shared.redis.connection import Patience, connect
from shared.timing import TIMING
from tests.support.client import (
    causes,
    check_refusal,
    finish,
    full_redis,
    is_ready,
    offer,
    probes,
    send,
    stopped,
    the_model,
    until,
)
from tests.support.faults.placing import timed
from tests.support.faults.submitted import shaken_examples

#: Seconds of a fault after which these appliances ask for a restart (others wait for half a minute), and those until a
#: silent worker counts as gone.
HOPELESS, LEASE = 12.0, 10.0
#: Seconds within which something that takes time may be seen early: the monitor looks each second.
EARLY = 2.0
#: Seconds that a wait may take on a busy machine. Giving a program up takes supervisord two minutes.
SLOW, GIVING_UP = 120.0, 400.0

type Story = Callable[[Appliance], None]


def redis_is_stopped(box: Appliance) -> None:
    """Redis answers no more, and later does again."""
    version = the_model()
    started = time.monotonic()
    with stopped(*box.pids_of("redis-server")):
        with ThreadPoolExecutor(16) as clients:  # none of them waits for the others
            asked = time.monotonic()
            answers = clients.map(lambda _: offer(box, version, shaken_examples(version, 1)), range(16))
            for answer in answers:
                check_refusal(answer, 503, "redis-unavailable")
            assert time.monotonic() - asked < 15  # one after the other they would take longer
        until("not ready", lambda: not is_ready(box), SLOW, box)
        status, found = probes(box)
        assert status == 503
        assert not found["redis"]["ok"]
        assert causes(box) == set()  # supervisord or Redis may heal it yet
        until("failing", lambda: causes(box), SLOW, box)
        assert time.monotonic() - started > HOPELESS - EARLY
        assert causes(box) == {"redis"}
    until("healthy", lambda: not causes(box), SLOW, box)
    until("ready", lambda: is_ready(box), SLOW, box)


def redis_is_killed(box: Appliance) -> None:
    """Redis dies and is started again."""
    (pid,) = box.pids_of("redis-server")
    os.kill(pid, signal.SIGKILL)
    until("restarted", lambda: set(box.pids_of("redis-server")) - {pid}, SLOW, box)
    until("ready", lambda: is_ready(box), SLOW, box)
    assert causes(box) == set()


def monitor_is_killed(box: Appliance) -> None:
    """The monitor dies and is started again; nothing else notices."""
    (pid,) = box.pids_of("services.monitor")
    os.kill(pid, signal.SIGKILL)
    until("restarted", lambda: set(box.pids_of("services.monitor")) - {pid}, SLOW, box)
    until("reporting", lambda: causes(box) or probes(box)[1]["monitor"]["ok"], SLOW, box)
    assert causes(box) == set()
    assert is_ready(box)


def monitor_is_stopped(box: Appliance) -> None:
    """The monitor says nothing for so long that nobody watches over the appliance."""
    started = time.monotonic()
    with stopped(*box.pids_of("services.monitor")):
        until("noted", lambda: not probes(box)[1]["monitor"]["ok"], SLOW, box)
        assert causes(box) == set()
        assert is_ready(box)  # rows are explained all the same
        until("failing", lambda: causes(box), SLOW, box)
        assert time.monotonic() - started > HOPELESS - EARLY
        assert causes(box) == {"monitor"}
    until("healthy", lambda: not causes(box), SLOW, box)
    until("ready", lambda: is_ready(box), SLOW, box)


def heard_of(box: Appliance) -> set[int]:
    """Return the process ids of the workers that say that they live."""
    connection = connect(box.settings(), Patience.STEADY, name="test")
    try:
        return {heartbeat.pid for heartbeat in Heartbeats(connection).alive().values()}
    finally:
        connection.close()


def workers_are_killed(box: Appliance) -> None:
    """All workers die at once and are started again."""
    before = set(box.worker_pids())
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until("restarted", lambda: heard_of(box).isdisjoint(before) and len(heard_of(box)) == 2, SLOW, box)
    until("both alive", lambda: probes(box)[1]["workers"]["alive"] == 2, SLOW, box)
    assert causes(box) == set()
    until("ready", lambda: is_ready(box), SLOW, box)


def workers_are_stopped(box: Appliance) -> None:
    """All workers hang: rows are taken, and nobody explains them."""
    version = the_model()
    until("both started", lambda: len(heard_of(box)) == 2, SLOW, box)
    started = time.monotonic()
    with stopped(*heard_of(box)):
        sent = send(box, version, shaken_examples(version, 600))
        until("without workers", lambda: probes(box)[1]["workers"].get("alive") == 0, SLOW, box)
        assert time.monotonic() - started > LEASE - 2 * EARLY
        assert not is_ready(box)
        assert causes(box) == set()
        until("failing", lambda: causes(box), SLOW, box)
        assert time.monotonic() - started > LEASE + HOPELESS - 2 * EARLY
        assert causes(box) == {"workers"}
    until("healthy", lambda: not causes(box), SLOW, box)
    until("ready", lambda: is_ready(box), SLOW, box)
    finish(sent)


def everything_is_stopped_in_order(box: Appliance) -> None:
    """A deploy ends it: no new work is taken, and no restart is asked for."""
    version = the_model()
    assert box.process is not None
    with stopped(min(heard_of(box))):  # it holds up the end, as a long batch does
        box.process.send_signal(signal.SIGTERM)
        until("draining", lambda: not probes(box)[1]["draining"]["ok"], SLOW, box)
        assert not is_ready(box)
        assert causes(box) == set()
        check_refusal(offer(box, version, shaken_examples(version, 1)), 503, "draining")
    box.process.wait(SLOW)


def redis_is_full(box: Appliance) -> None:
    """Redis refuses writes for longer than an outage may last: a restart would not help."""
    connection = connect(box.settings(), Patience.STEADY, name="test")
    with full_redis(connection):
        until("not ready", lambda: not is_ready(box), SLOW, box)
        began = time.monotonic()
        while time.monotonic() - began < LEASE + TIMING.hopeless_seconds + 3 * EARLY:
            assert causes(box) == set()
            assert not is_ready(box)
            check_refusal(offer(box, the_model(), shaken_examples(the_model(), 1)), 503)
            time.sleep(0.5)
    connection.close()
    until("ready", lambda: is_ready(box), SLOW, box)
    until("beating", lambda: heard_of(box), SLOW, box)
    assert causes(box) == set()


def the_queue_stands_still(box: Appliance) -> None:
    """The workers live and say so, and take nothing: rq's own switch makes them wait."""
    version = the_model()
    connection = connect(box.settings(), Patience.STEADY, name="test")
    connection.set("rq:suspended", 1)
    try:
        sent = [send(box, version, shaken_examples(version, 2000)) for _ in range(3)]
        until("noticed", lambda: not is_ready(box), SLOW, box)
        status, found = probes(box)
        assert (status, found["queue"]["ok"], found["workers"]["ok"]) == (503, False, True)
        assert causes(box) == set()
        until("failing", lambda: causes(box), SLOW, box)
        assert causes(box) == {"queue"}
    finally:
        connection.delete("rq:suspended")
        connection.close()
    until("healthy", lambda: not causes(box) and is_ready(box), SLOW, box)
    for one in sent:
        finish(one)


def a_worker_cannot_start(box: Appliance) -> None:
    """One worker exits at every start until supervisord gives it up; the other one works."""
    version = the_model()
    assert causes(box) == set()
    finish(send(box, version, shaken_examples(version, 600)))
    until("failing", lambda: causes(box), GIVING_UP, box)
    [cause] = box.get("/healthz").json()["causes"]
    assert cause["cause"] == "programs"
    assert "worker-2" in cause["detail"]
    assert is_ready(box)  # rows are explained until the restart
    finish(send(box, version, shaken_examples(version, 600)))


#: The states of each appliance, one after the other.
LIVES: dict[str, tuple[Story, ...]] = {
    "one": (redis_is_stopped, monitor_is_stopped),
    "two": (workers_are_stopped, the_queue_stands_still, everything_is_stopped_in_order),
    "three": (workers_are_killed, redis_is_killed, monitor_is_killed, redis_is_full),
    "four": (a_worker_cannot_start,),
}


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Story, Future[None]]]:
    """Start the appliances and their stories; a failed story does not stop the next one."""
    folder = tmp_path_factory.mktemp("boxes")
    boxes = {name: Appliance(folder / name, timed(hopeless_seconds=HOPELESS)) for name in LIVES}
    # A busy machine takes some seconds to start programs again, and a full Redis lets some writes through.
    boxes["three"] = Appliance(folder / "three")
    boxes["four"].environment["SHAPBOX_TEST_NO_WORKER"] = "worker-2"
    told: dict[Story, Future[None]] = {story: Future() for stories in LIVES.values() for story in stories}
    with ThreadPoolExecutor(len(LIVES)) as threads:
        lives = [threads.submit(_live, boxes[name], LIVES[name], told) for name in LIVES]
        yield told
    for life in lives:
        life.result()


def _live(box: Appliance, stories: tuple[Story, ...], told: dict[Story, Future[None]]) -> None:
    try:
        box.start()
        for story in stories:
            try:
                story(box)
            except BaseException as fault:  # noqa: BLE001  # its own test raises it
                told[story].set_exception(fault)
            else:
                told[story].set_result(None)
    except BaseException as fault:
        for story in stories:
            if not told[story].done():
                told[story].set_exception(fault)
        raise
    finally:
        box.stop()


@pytest.mark.parametrize("story", [story for stories in LIVES.values() for story in stories])
def test_health_and_readiness_tell_the_truth_when(stories: dict[Story, Future[None]], story: Story) -> None:
    stories[story].result(GIVING_UP)
