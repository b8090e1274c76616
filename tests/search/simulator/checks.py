"""Checks of the state: at any moment, when all has come to rest, and after sweeping."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import orjson

from services.api.capacity.results import ResultReservations
from shared import metrics
from shared.appliance.counters import Counters
from shared.errors import JobNotFoundError
from shared.jobs import keys
from shared.jobs.document import Job, Status
from shared.jobs.queue import Lane
from shared.jobs.store import JobStore
from shared.objects.payloads import Payloads
from shared.redis.connection import Patience, connect
from shared.settings import Settings
from tests.search.simulator.clients import read_result
from tests.search.simulator.engine import MODEL, Ailment
from tests.search.simulator.ledger import Ledger, Submission
from tests.search.simulator.world import ViolationError

#: Entries of one batch in the queues, at most, while a worker holds it. The search for lost batches of each of the two
#: monitors may add one too many; a claim of such an entry is refused.
MOST_ENTRIES = 2
#: Entries of ended jobs that may be left, since the next worker drops them: a worker that stops may queue its batch again
#: although another one has ended it meanwhile.
MOST_LEFT = 2
#: The problems that a job of a body with this ailment may fail with.
PROBLEMS = {
    Ailment.NONE: {"poison-batch"},
    Ailment.POISON: {"poison-batch"},
    Ailment.MEMORY: {"poison-batch"},
    Ailment.FAULT: {"poison-batch", "engine-fault"},
}
#: Keys that stay when all jobs have expired.
LASTING = {keys.COUNTERS, keys.WORKERS}

_LOOK = """
local faults = {}
local function note(words) faults[#faults + 1] = words end
local queued = {}
for _, lane in ipairs({'rq:queue:interactive', 'rq:queue:bulk'}) do
  for _, name in ipairs(redis.call('LRANGE', lane, 0, -1)) do
    local job, batch = string.match(name, '^(%x+)-(%d+)-')
    local field = job .. ':' .. batch
    queued[field] = (queued[field] or 0) + 1
  end
end
local held = redis.call('HGETALL', 'shapbox:running')
for place = 1, #held, 2 do
  if (queued[held[place]] or 0) > tonumber(ARGV[1]) then
    note('batch ' .. held[place] .. ' is held and queued ' .. queued[held[place]] .. ' times')
  end
end
local counters = redis.call('HGETALL', 'shapbox:counters')
for place = 1, #counters, 2 do
  if tonumber(counters[place + 1]) < 0 then note('counter ' .. counters[place] .. ' is negative') end
end
for _, id in ipairs(redis.call('ZRANGE', 'shapbox:jobs', 0, -1)) do
  local status = redis.call('HGET', 'shapbox:job:' .. id, 'status')
  local left = redis.call('SCARD', 'shapbox:todo:' .. id)
  local active = status == 'queued' or status == 'running'
  for _, one in ipairs({'queued', 'running', 'completed', 'failed', 'cancelled'}) do
    local listed = redis.call('ZSCORE', 'shapbox:jobs:' .. one, id)
    if (listed and true or false) ~= (one == status) then note('job ' .. id .. ' is ' .. tostring(status) .. ', wrongly listed as ' .. one) end
  end
  if active and left == 0 then note('job ' .. id .. ' is ' .. status .. ' with nothing left to do') end
  if status == 'completed' and left > 0 then note('job ' .. id .. ' is completed with batches left') end
end
return faults
"""


def check_state(connection: Any) -> list[str]:
    """Return what is wrong with the state in Redis at this moment."""
    return [words.decode() for words in connection.eval(_LOOK, 0, MOST_ENTRIES)]


def check_end(ledger: Ledger, settings: Settings) -> None:
    """Check that each accepted job has ended as it should, and that nothing is held or queued."""
    connection: Any = connect(settings, Patience.STEADY, name="checks")
    store, payloads = JobStore(connection, settings), Payloads.open(settings)
    faults = check_state(connection)
    for job_id, submission in ledger.of_job.items():
        faults += _check_job(job_id, submission, store, payloads)
    by_key = Counter(
        submission.key
        for job_id, submission in ledger.of_job.items()
        if submission.key and _exists(store, job_id)
    )
    faults += [f"key {key} has {count} jobs" for key, count in by_key.items() if count > 1]
    if held := connection.hgetall(keys.RUNNING):
        faults.append(f"these batches are still held: {held}")
    if alive := connection.smembers(keys.WORKERS):
        faults += [
            f"heartbeat of {name!r} is left"
            for name in alive
            if connection.exists(keys.heartbeat(name.decode()))
        ]
    sums = Counters(connection).read()
    rows = sums.get((metrics.ROWS_EXPLAINED.name, MODEL), 0.0)
    if rows != ledger.rows_recorded:
        faults.append(f"{rows:.0f} rows are counted, and {ledger.rows_recorded} were recorded")
    for status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED):
        counted = sums.get((metrics.JOBS.name, status.value), 0.0)
        if counted != ledger.ended[status.value]:
            faults.append(
                f"{counted:.0f} jobs are counted as {status}, and {ledger.ended[status.value]} were"
            )
    reservations = ResultReservations(settings.local_objects_dir)
    reservations.refresh(store)
    if reservations._needs:
        faults.append(f"room is reserved: {reservations._needs}")
    _raise(faults)


def _exists(store: JobStore, job_id: str) -> bool:
    try:
        store.get(job_id)
    except JobNotFoundError:
        return False
    return True


def _check_job(job_id: str, submission: Submission, store: JobStore, payloads: Payloads) -> Iterator[str]:
    try:
        job = store.get(job_id)
    except JobNotFoundError:
        if not submission.unwanted:
            yield f"job {job_id} is gone"
        return
    if job.status is Status.COMPLETED:
        api = SimpleNamespace(store=store, payloads=payloads)
        if not submission.unwanted:
            read_result(cast("Any", api), submission, job_id)
        elif submission.unwanted_confirmed and job_id in submission.answered[:1]:
            yield f"job {job_id} was cancelled or deleted, and is completed"
    elif job.status is Status.CANCELLED:
        if not submission.unwanted:
            yield f"job {job_id} is cancelled, which nobody wanted"
    elif job.status is Status.FAILED:
        yield from _check_failure(job, submission)
    else:
        yield f"job {job_id} is {job.status}"


def _check_failure(job: Job, submission: Submission) -> Iterator[str]:
    problem = (job.error or {}).get("type", "").rpartition("/")[2]
    allowed = PROBLEMS[submission.work.ailment]
    if problem not in allowed and not (submission.unwanted and problem == "payload-missing"):
        yield f"job {job.id} failed: {orjson.dumps(job.error).decode()}"


def check_leaks(connection: Any, payloads: Payloads, ledger: Ledger, *, expired: bool) -> None:
    """Check that only what belongs to jobs is left: keys, queue entries and objects."""
    faults = []
    jobs = {name.decode() for name in connection.zrange(keys.JOBS, 0, -1)}
    if expired and jobs:
        faults.append(f"these jobs have not expired: {sorted(jobs)}")
    for job_id in payloads.job_ids():
        if job_id not in jobs:
            faults.append(f"objects of {job_id} are left, which is {ledger.of_job.get(job_id)}")
        elif connection.hget(keys.job(job_id), "status") == Status.CANCELLED.value.encode():
            faults.append(f"objects of the cancelled job {job_id} are left")
    for name in sorted(key.decode() for key in connection.keys("*")):
        owner = next((job_id for job_id in ledger.of_job if job_id in name), None)
        if owner is not None and owner not in jobs:
            faults.append(f"key {name} is left of a job that is gone")
        if name.startswith("rq:job:") or (expired and owner is None and not _may_last(name)):
            faults.append(f"key {name} is left")
    faults += [
        f"queue {lane} has entries" for lane in Lane if connection.llen(f"rq:queue:{lane.value}") > MOST_LEFT
    ]
    _raise(faults)


def _may_last(name: str) -> bool:
    return name in LASTING or name.startswith("rq:")


def _raise(faults: list[str]) -> None:
    if faults:
        raise ViolationError("; ".join(faults))
