"""Records an appliance at work, and checks what a power cut would have left of it."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import redis

from ops.lab.load import accepted_id
from ops.lab.reference import EXACT, bare_explainer, distance
from ops.lab.trial_appliance import Appliance
from ops.run.append_only_file import mend_append_only_file
from shared.build import ROOT
from shared.errors import BootError, ShapboxError
from shared.jobs.document import Job, Status
from shared.jobs.store import JobStore
from shared.objects.payloads import Payloads
from shared.redis.connection import Patience, connect
from shared.settings import Settings
from tests.search.power.power_cut import Disk, Kept
from tests.search.power.write_log import Kind, Record, WriteLog
from tests.support.client import the_model
from tests.support.faults.submitted import Matrix, Submitted, as_request, shaken_examples
from tests.support.redis_server import answers, until

#: Rows of the jobs that are accepted one after the other, in each round: small ones of one file, and some of several batches.
JOBS = (1, 1, 1200, 3, 1, 700)
#: Writes to Redis after each job, and bytes of each: together some pages.
BURST, BURST_BYTES = 30, 1000
SETTINGS = {"BATCH_ROWS": "500", "DURABILITY": "power"}


@dataclass(slots=True)
class Recording:
    """An appliance's log, and the rows and values of the jobs of which its clients were told."""

    folder: Path
    log: WriteLog
    rows: dict[str, Matrix] = field(default_factory=dict)
    values: dict[str, Matrix] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    #: The key that clients know.
    key: str = ""

    def known_before(self, cut: int) -> list[str]:
        """Return the jobs that clients had been told of."""
        return [record.name for record in self.records[:cut] if record.kind is Kind.MARK]

    def submit(self, box: Appliance, count: int, seed: int, *, at_once: bool) -> None:
        """Send rows as a job, or have them explained at once and kept as a job."""
        version = the_model()
        matrix = shaken_examples(version, count, seed)
        path, body, _, headers = as_request(version, matrix, "/v1/explain" if at_once else "/v1/jobs")
        answer = box.call("POST", path, body, headers={**headers, "Idempotency-Key": str(seed)})
        job_id = accepted_id(answer)
        assert job_id is not None, answer
        self.log.mark(job_id)
        self.rows[job_id] = matrix
        self.values[job_id] = bare_explainer(version.model_path)(matrix)


def record(folder: Path, library: Path, runs: int) -> Recording:
    """Let an appliance accept jobs and be killed, several times; Redis rewrites its file."""
    data = folder / "recorded"
    data.mkdir(mode=0o700)
    made = Recording(folder, WriteLog(folder / "log", data, library))
    box = Appliance(data, {**SETTINGS, **made.log.environment})
    try:
        for run in range(runs):
            box.start()
            made.key = box.api_key
            for place, count in enumerate(JOBS):
                made.submit(box, count, 100 * run + place, at_once=place % 3 == 1)
                _write_much(box, rewrite=place == len(JOBS) // 2)
            for job_id, matrix in made.rows.items():
                Submitted(box, job_id, the_model(), matrix).finish()
            box.kill()
    finally:
        box.kill()
    made.records = made.log.read()
    return made


def _write_much(box: Appliance, *, rewrite: bool) -> None:
    """Write to Redis without a sync, as busy workers do, and have its file rewritten."""
    with redis.Redis(unix_socket_path=str(box.settings().redis_socket)) as client:
        if rewrite:
            client.bgrewriteaof()
        for number in range(BURST):
            client.set(f"test:{number % 3}", b"x" * BURST_BYTES)


@dataclass(frozen=True, slots=True)
class Cut:
    """A moment, and what the disk made of it; by a seed."""

    at: int
    journal: bool
    kept: Kept
    seed: int

    @classmethod
    def by_seed(cls, seed: int, records: Sequence[Record]) -> Cut:
        """Return a cut: half of them come just after a client was told of a job."""
        chance = random.Random(seed)
        marks = [number + 1 for number, one in enumerate(records) if one.kind is Kind.MARK]
        at = chance.choice(marks) if chance.random() < 0.5 else chance.randint(0, len(records))
        return cls(at, chance.random() < 0.5, chance.choice(list(Kept)), seed)

    def make(self, recording: Recording, folder: Path) -> None:
        """Write what the disk holds then."""
        disk = Disk(recording.records[: self.at], recording.log.root, journal=self.journal)
        disk.write(folder, self.kept, random.Random(self.seed))


def violations(recording: Recording, cut: Cut) -> list[str]:
    """Return what is wrong after a cut, as far as it shows without a whole appliance."""
    data = recording.folder / "after"
    shutil.rmtree(data, ignore_errors=True)
    cut.make(recording, data)
    settings = Settings(data_dir=data, batch_rows=500)
    known = recording.known_before(cut.at)
    key = data / "keys" / "API_KEY"
    found = []
    if known and not (key.exists() and key.read_text(encoding="ascii").strip() == recording.key):
        found.append("the clients' key is gone")
    try:
        with _started_redis(settings):
            connection = connect(settings, Patience.STEADY, name="power")
            store, payloads = JobStore(connection, settings), Payloads.open(settings)
            for job_id in known:
                found += [f"job {job_id}: {fault}" for fault in _faults(recording, job_id, store, payloads)]
            connection.close()
    except BootError as refusal:
        found.append(f"no start: {refusal}")
    return found


@contextlib.contextmanager
def _started_redis(settings: Settings) -> Iterator[None]:
    """Start Redis as boot does."""
    settings.redis_dir.mkdir(mode=0o700, exist_ok=True)
    settings.run_dir.mkdir(mode=0o700, exist_ok=True)
    mend_append_only_file(settings.redis_dir)
    words = ["redis-server", str(ROOT / "ops" / "run" / "redis.conf")]
    words += ["--unixsocket", str(settings.redis_socket), "--dir", str(settings.redis_dir)]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(unix_socket_path=str(settings.redis_socket)) as client:
            until(lambda: server.poll() is not None or answers(client))
        if server.poll() is not None:
            raise BootError("Redis does not start")
        yield
    finally:
        server.kill()
        server.wait()


def _faults(recording: Recording, job_id: str, store: JobStore, payloads: Payloads) -> Iterator[str]:
    """Yield what is wrong with a job that must be there."""
    try:
        job = store.get(job_id)
        if job.status not in {Status.QUEUED, Status.RUNNING, Status.COMPLETED}:
            yield f"is {job.status}"
        todo = store.todo(job_id)
        for batch in range(job.batches):
            place = job.rows_of(batch)
            chosen = slice(place.start, place.stop)
            if not np.array_equal(payloads.rows(job, batch), recording.rows[job_id][chosen]):
                yield f"batch {batch} has other rows"
            if batch not in todo and not _is_right(payloads, job, batch, recording.values[job_id][chosen]):
                yield f"batch {batch} has wrong values"
    except ShapboxError as fault:
        yield str(fault)


def _is_right(payloads: Payloads, job: Job, batch: int, wanted: Matrix) -> bool:
    return distance(payloads.result(job, batch).contributions.reshape(wanted.shape), wanted) <= EXACT
