"""Too much work is refused with clear messages, and accepted once there is space again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import redis

from ops.lab.trial_appliance import Appliance
from shared.redis.capacity import READING_SECONDS
from shared.redis.connection import Patience, connect
from tests.support.client import (
    causes,
    check_refusal,
    finish,
    full_redis,
    is_ready,
    offer,
    probes,
    send,
    send_obeying,
    stopped,
    the_model,
    until,
)
from tests.support.faults.submitted import Submitted, shaken_examples

#: Batches that may wait, and rows of one batch.
LIMIT, BATCH_ROWS = 40, 20
#: Batches of one job.
BATCHES = 10


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    settings = {"MAX_QUEUED_BATCHES": str(LIMIT), "BATCH_ROWS": str(BATCH_ROWS)}
    running = Appliance(tmp_path_factory.mktemp("box") / "data", settings)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def connection(appliance: Appliance) -> Iterator[redis.Redis]:
    made = connect(appliance.settings(), Patience.STEADY, name="test")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def empty_queue(appliance: Appliance) -> None:
    until("empty", lambda: waiting(appliance) == 0 and is_ready(appliance), appliance=appliance)


def waiting(appliance: Appliance) -> int:
    return int(probes(appliance)[1]["queue"].get("waiting", LIMIT))


def test_a_full_queue_refuses_and_a_client_that_obeys_gets_in_when_it_has_drained(
    appliance: Appliance,
) -> None:
    version = the_model()
    rows = shaken_examples(version, BATCHES * BATCH_ROWS)
    sent: list[Submitted] = []
    with stopped(*appliance.worker_pids()):
        while (answer := offer(appliance, version, rows)).status == 202:
            sent.append(Submitted(appliance, answer.json()["id"], version, rows))
            assert len(sent) <= LIMIT // BATCHES + 1  # the stopped workers may hold a batch each
        check_refusal(answer, 429, "queue-full")
        while (answer := offer(appliance, version, rows[:1])).status == 202:  # small ones fit in for a while
            sent.append(Submitted(appliance, answer.json()["id"], version, rows[:1]))
        check_refusal(answer, 429, "queue-full")
        assert offer(appliance, version, rows[:1], "/v1/explain").status == 200  # it needs no place
        status, found = probes(appliance)
        assert status == 503
        assert not found["queue"]["ok"]
        assert str(LIMIT) in found["queue"]["detail"]
        assert causes(appliance) == set()  # a restart would not empty it

        client = threading.Thread(target=lambda: sent.append(send_obeying(appliance, version, rows)[0]))
        accepted = len(sent)
        client.start()
    client.join(300)
    assert len(sent) == accepted + 1
    for one in sent:
        finish(one)
    assert is_ready(appliance)


def test_requests_at_the_same_time_do_not_overfill_the_queue(appliance: Appliance) -> None:
    version = the_model()
    rows = shaken_examples(version, BATCHES * BATCH_ROWS)
    with stopped(*appliance.worker_pids()):
        with ThreadPoolExecutor(16) as clients:
            answers = list(clients.map(lambda _: offer(appliance, version, rows), range(16)))
        accepted = [answer.json()["id"] for answer in answers if answer.status == 202]
        for answer in answers:
            if answer.status != 202:
                check_refusal(answer, 429, "queue-full")
    assert len(accepted) * BATCHES <= LIMIT + len(appliance.worker_pids())
    for job_id in accepted:
        finish(Submitted(appliance, job_id, version, rows))


def test_a_job_that_could_never_fit_the_queue_is_not_told_to_try_again_for_ever(appliance: Appliance) -> None:
    version = the_model()
    answer = offer(appliance, version, shaken_examples(version, (LIMIT + 1) * BATCH_ROWS))
    assert answer.status == 413, answer
    assert "retry-after" not in answer.headers


def test_a_filling_redis_refuses_new_jobs_and_the_accepted_ones_complete(
    appliance: Appliance, connection: redis.Redis
) -> None:
    version = the_model()
    rows = shaken_examples(version, BATCHES * BATCH_ROWS)
    with ExitStack() as fullness:
        with stopped(*appliance.worker_pids()):
            sent = [send(appliance, version, rows) for _ in range(2)]
            fullness.enter_context(full_redis(connection, 0.9))
            time.sleep(READING_SECONDS)  # what Redis holds is read now and then
            check_refusal(offer(appliance, version, rows), 503, "redis-full")
            assert offer(appliance, version, rows[:1], "/v1/explain").status == 200  # it needs no Redis
            status, found = probes(appliance)
            assert status == 503
            assert not all(probe["ok"] for probe in found.values()), found
            assert causes(appliance) == set()
        for one in sent:  # what was accepted goes on while Redis is that full
            finish(one)
    until("ready", lambda: is_ready(appliance), appliance=appliance)
    finish(send(appliance, version, rows))


def test_a_redis_that_is_full_to_the_brim_loses_nothing(
    appliance: Appliance, connection: redis.Redis
) -> None:
    version = the_model()
    rows = shaken_examples(version, BATCHES * BATCH_ROWS)
    sent = [send(appliance, version, rows) for _ in range(3)]
    with full_redis(connection):
        for some in (rows, rows[:1]):
            check_refusal(offer(appliance, version, some), 503)
        assert offer(appliance, version, rows[:1], "/v1/explain").status == 200  # it needs no Redis
        # A reading of Redis's memory is good for READING_SECONDS.
        until("not ready", lambda: not is_ready(appliance), appliance=appliance)
    until("ready", lambda: is_ready(appliance), appliance=appliance)
    sent.append(send_obeying(appliance, version, rows)[0])
    for one in sent:
        finish(one)
    assert causes(appliance) == set()
