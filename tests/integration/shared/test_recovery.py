import pytest
import redis

from shared.appliance.counters import Counters
from shared.appliance.heartbeats import Heartbeat, Heartbeats
from shared.errors import JobNotFoundError, PayloadMissingError
from shared.jobs.document import Job, Status
from shared.jobs.queue import Lane
from shared.jobs.recovery import MAX_DEATHS, Blame, Recovery
from shared.jobs.store import JobStore
from shared.jobs.transitions import Claim, Completion, Release
from tests.integration.conftest import Logged
from tests.support.jobs import a_job


@pytest.fixture
def heartbeats(connection: redis.Redis) -> Heartbeats:
    return Heartbeats(connection)


@pytest.fixture
def recovery(connection: redis.Redis, store: JobStore) -> Recovery:
    return Recovery(connection, store)


@pytest.fixture
def job(store: JobStore) -> Job:
    return store.accept(a_job(request="r-1")).job


def take(store: JobStore, connection: redis.Redis, job: Job) -> None:
    """Empty the queues, as RQ does when workers take all batches."""
    connection.delete("rq:queue:bulk", "rq:queue:interactive")
    assert store.queues.waiting_batches() == set()
    assert store.get(job.id).todo == 3


def release_all(recovery: Recovery, heartbeats: Heartbeats, blame: Blame = Blame.DEATH) -> list[Release]:
    """Release every orphan, as the monitor does with those whose holders have died."""
    return [recovery.release(orphan, blame) for orphan in recovery.orphans(heartbeats.alive())]


def test_a_batch_is_queued_again_before_all_others_once_its_workers_life_has_ended(
    recovery: Recovery, store: JobStore, job: Job, heartbeats: Heartbeats
) -> None:
    heartbeats.beat(Heartbeat("w", "host", 1, "life-1"))
    store.transitions.claim(job.id, 2, "w", "life-1")
    assert release_all(recovery, heartbeats) == []
    # A new life does not take what its last one held before that end is counted.
    assert store.transitions.claim(job.id, 2, "w", "life-2") is Claim.TAKEN
    assert store.transitions.claim(job.id, 2, "w", "life-1") is Claim.RUN

    heartbeats.withdraw("w", "life-0")  # of a dead one before it
    assert heartbeats.alive()["w"].token == "life-1"
    heartbeats.withdraw("w")
    assert heartbeats.alive() == {}
    assert release_all(recovery, heartbeats) == [Release.REQUEUE]
    assert recovery.running() == []
    assert (store.queues.heads()[Lane.BULK] or "").startswith(f"{job.id}-")
    assert store.transitions.claim(job.id, 2, "w2", "life-9") is Claim.RUN

    store.transitions.claim(job.id, 0, "w", "life-1")
    heartbeats.beat(Heartbeat("w2", "host", 3, "life-9"))
    heartbeats.beat(Heartbeat("w", "host", 2, "life-2"))  # another process of the same name
    assert release_all(recovery, heartbeats) == [Release.REQUEUE]


@pytest.mark.parametrize(
    ("blame", "deaths"), [(Blame.DEATH, MAX_DEATHS), (Blame.UNEXPLAINED, 4 * MAX_DEATHS)]
)
def test_a_batch_that_ends_too_many_workers_fails_its_job_and_names_the_rows(
    recovery: Recovery,
    store: JobStore,
    job: Job,
    heartbeats: Heartbeats,
    connection: redis.Redis,
    logged: Logged,
    blame: Blame,
    deaths: int,
) -> None:
    outcomes = []
    for life in range(deaths):
        assert store.transitions.claim(job.id, 1, f"w{life}", "t") is Claim.RUN
        outcomes += release_all(recovery, heartbeats, blame)
    assert outcomes == [Release.REQUEUE] * (deaths - 1) + [Release.POISONED]
    failed = store.get(job.id)
    assert failed.status is Status.FAILED
    assert failed.error is not None
    assert failed.error["type"] == "/problems/poison-batch"
    assert "Rows 10 to 19" in failed.error["detail"]
    assert Counters(connection).read()["batches_poisoned_total",] == 1
    [line] = logged("job failed")
    assert line.endswith(f" request=r-1 job={job.id} batch=1 problem=poison-batch")


def test_a_worker_hands_back_only_what_it_holds_and_without_blame_it_is_never_poison(
    recovery: Recovery, store: JobStore, job: Job
) -> None:
    for _ in range(5 * MAX_DEATHS):
        store.transitions.claim(job.id, 1, "w", "t")
        handed = recovery.hand_back(job.id, 1, Heartbeat("w", "host", 1, "t"), Blame.NONE)
        assert handed is Release.REQUEUE
    assert store.get(job.id).status is Status.RUNNING

    store.transitions.claim(job.id, 0, "w", "life-2")
    assert recovery.hand_back(job.id, 0, Heartbeat("w", "host", 1, "life-1"), Blame.DEATH) is Release.CHANGED
    assert [held.token for held in recovery.running()] == ["life-2"]


def test_a_batch_counts_once_whether_its_worker_died_or_was_only_slow(
    recovery: Recovery, store: JobStore, job: Job, heartbeats: Heartbeats
) -> None:
    store.transitions.claim(job.id, 0, "w", "t")
    store.transitions.complete(job.id, 0, 10, job.model, 0.0)
    assert release_all(recovery, heartbeats) == []  # its result was recorded before
    assert store.transitions.claim(job.id, 0, "w2", "t") is Claim.DONE

    store.transitions.claim(job.id, 1, "slow", "t")
    release_all(recovery, heartbeats)
    store.transitions.claim(job.id, 1, "next", "t")
    assert store.transitions.complete(job.id, 1, 10, job.model, 0.0) is Completion.RECORDED
    assert store.transitions.complete(job.id, 1, 10, job.model, 0.0) is Completion.REPEATED
    assert store.get(job.id).todo == 1


def test_batches_that_rq_took_for_a_worker_that_died_before_its_claim_are_found(
    recovery: Recovery, store: JobStore, job: Job, connection: redis.Redis
) -> None:
    take(store, connection, job)
    assert recovery.requeue_lost() == []  # without a known death a batch must be missing twice
    assert len(recovery.requeue_lost()) == 3

    take(store, connection, job)
    lost = [(lost.id, lost.request, batch) for lost, batch in recovery.requeue_lost(at_once=True)]
    assert lost == [(job.id, "r-1", batch) for batch in (0, 1, 2)]
    assert len(store.queues.waiting_batches()) == 3
    assert recovery.requeue_lost(at_once=True) == []

    take(store, connection, job)
    store.transitions.claim(job.id, 0, "w", "t")
    store.queues.enqueue(job, [1])  # neither held nor queued batches are lost
    assert [(lost.id, batch) for lost, batch in recovery.requeue_lost(at_once=True)] == [(job.id, 2)]


def test_a_batch_that_a_living_worker_claims_meanwhile_or_of_an_ended_job_is_not_lost(
    recovery: Recovery,
    store: JobStore,
    job: Job,
    connection: redis.Redis,
    heartbeats: Heartbeats,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take(store, connection, job)
    look = recovery._missing

    def look_and_let_the_living_one_claim() -> set[tuple[str, int]]:
        missing = look()
        store.transitions.claim(job.id, 1, "living", "t")
        return missing

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(recovery, "_missing", look_and_let_the_living_one_claim)
        assert [batch for _, batch in recovery.requeue_lost(at_once=True)] == [0, 2]

    take(store, connection, job)
    store.cancel(job.id)
    assert release_all(recovery, heartbeats) == [Release.ENDED]
    assert recovery.requeue_lost(at_once=True) == []


def test_a_job_whose_record_is_damaged_fails_and_neither_it_nor_a_damaged_claim_hides_others(
    recovery: Recovery, store: JobStore, connection: redis.Redis, logged: Logged
) -> None:
    """Redis's file has no checksums: a bit may flip there."""
    changed: list[tuple[bytes, bytes]] = [(b"model", b"wine@3"), (b"rows", b"70"), (b"status", b"quetfd")]
    changed += [
        (b"created_at", b"x"),
        (b"interactions", b"4"),
        (b"checksum", b"01234567"),
        (b"batch_rows", b""),
    ]
    damaged = [store.accept(a_job()).job for _ in changed]
    for job, (name, value) in zip(damaged, changed, strict=True):
        connection.hset(f"shapbox:job:{job.id}", name.decode(), value)
    undone = store.accept(a_job()).job
    connection.srem(f"shapbox:todo:{undone.id}", 1)
    connection.sadd(f"shapbox:todo:{undone.id}", "q")
    sound = store.accept(a_job()).job
    take(store, connection, sound)
    connection.lpush("rq:queue:bulk", b"\xffthis is no entry")
    connection.hset("shapbox:running", f"{sound.id}:1", '{"owner": "w", "token"')

    assert [job.id for job in store.page(None, 99, None).jobs] == [sound.id, undone.id]
    assert recovery.running() == []
    assert logged("record of a running batch was damaged")
    recovery.requeue_lost()
    assert recovery.requeue_lost() == [(store.get(sound.id), batch) for batch in range(3)]
    assert store.active() == [store.get(sound.id)]
    assert store.get(undone.id).status is Status.FAILED
    for job in damaged:
        with pytest.raises(PayloadMissingError, match="Delete the job"):
            store.get(job.id)
        assert store.transitions.forget(job.id)
    with pytest.raises(JobNotFoundError):
        store.get(damaged[0].id)
