"""The ledger of one history: promises to clients, and what Redis does, checked at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from shared.jobs.document import Job, Status
from tests.search.simulator.engine import Ailment, Work
from tests.search.simulator.world import Process, World

#: Blame, in quarters of a death, of a worker's end and of a silence (shared.jobs.recovery.Blame).
DEATH, UNEXPLAINED, LIMIT = 4, 1, 12
#: Deaths that a silence may turn into: the worker is given up, and later killed because it hangs.
SILENCE = DEATH + UNEXPLAINED


@dataclass(eq=False)
class Submission:
    """A body that clients send, and what they know of its job."""

    name: str
    body: int
    rows: int
    batch_rows: int
    key: str | None
    work: Work
    #: The jobs that answers named.
    answered: list[str] = field(default_factory=list)
    #: Whether a client has asked to cancel or delete, and whether that was confirmed.
    unwanted: bool = False
    unwanted_confirmed: bool = False


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a batch."""

    token: str
    process: Process


type Batch = tuple[str, int]


class Ledger:
    """Watches each command that Redis has executed, and what clients see."""

    def __init__(self, world: World, scripts: dict[str, str]) -> None:
        self._world = world
        #: The names of scripts, by digest.
        self._scripts = scripts
        self.submissions: dict[str, Submission] = {}
        #: The submission of each job that became visible, and those that have not ended.
        self.of_job: dict[str, Submission] = {}
        self.active: set[str] = set()
        self.ended: Counter[str] = Counter()
        self.recorded: Counter[Batch] = Counter()
        self.poisoned: set[str] = set()
        self.rows_recorded = 0
        self._holders: dict[Batch, Holder] = {}
        self._blame: Counter[Batch] = Counter()
        self._coming: dict[Process, list[tuple[str, str]]] = {}
        self._seen: dict[str, tuple[Status, int]] = {}
        self._checks: dict[str, Callable[[Process, list[str], Any], None]] = {
            "claim": self._claimed,
            "complete": self._completed,
            "release": self._released,
            "finish": self._finished,
        }

    # --- Changes in Redis ---

    def watch(self, process: Process, command: Sequence[Any], reply: Any) -> None:
        """Check one executed command and its reply."""
        name = command[0]
        if name == "EVALSHA":
            check = self._checks.get(self._scripts.get(_text(command[1]), ""))
            if check is not None and not isinstance(reply, Exception):
                check(process, [_text(word) for word in command[3:]], reply)
        elif name == "MULTI":
            self._coming[process] = []
        elif name == "HSET" and _text(command[1]).startswith("shapbox:job:"):
            words = [_text(word) for word in command[2:]]
            fields = dict(zip(words[::2], words[1::2], strict=True))
            self._coming.setdefault(process, []).append((fields["id"], fields["request"]))
        elif name == "EXEC" and isinstance(reply, list):
            for job_id, request in self._coming.pop(process, []):
                self._accepted(job_id, request)

    def _accepted(self, job_id: str, request: str) -> None:
        if job_id in self.of_job:
            self._world.violate(f"job {job_id} is accepted twice")
        self.of_job[job_id] = self.submissions[request]
        self.active.add(job_id)

    def _claimed(self, process: Process, words: list[str], reply: Any) -> None:
        job_id, batch, _, token = words
        if reply != b"run":
            return
        place = (job_id, int(batch))
        holder = self._holders.get(place)
        if holder is not None and holder.token != token:
            self._world.violate(f"batch {place} is claimed by {process} while {holder.process} holds it")
        if self.recorded[place]:
            self._world.violate(f"batch {place} is claimed although its result is recorded")
        if not process.alive:
            self._world.violate(f"batch {place} is claimed for {process}, which has ended")
        self._holders[place] = Holder(token, process)

    def _completed(self, process: Process, words: list[str], reply: Any) -> None:
        place = (words[0], int(words[1]))
        self._holders.pop(place, None)
        if reply not in {b"recorded", b"completed"}:
            return
        self.recorded[place] += 1
        self.rows_recorded += int(words[2])
        if self.recorded[place] > 1:
            self._world.violate(f"batch {place} is counted twice, now by {process}")
        if reply == b"completed":
            self._end(words[0], Status.COMPLETED)

    def _released(self, process: Process, words: list[str], reply: Any) -> None:
        place = (words[0], int(words[1]))
        if reply == b"changed":
            return
        holder = self._holders.pop(place, None)
        named = orjson.loads(words[2])["token"]
        if holder is None or holder.token != named:
            self._world.violate(f"{process} releases batch {place} from {named}, which does not hold it")
        if reply == b"poisoned":
            self.poisoned.add(words[0])
            submission = self.of_job[words[0]]
            sick = submission.work.ailment in {Ailment.POISON, Ailment.MEMORY}
            if not sick and self._blame[place] < LIMIT:
                self._world.violate(
                    f"batch {place} is taken for poison with {self._blame[place]} of {LIMIT} blame"
                )
            self._end(words[0], Status.FAILED)

    def _finished(self, _process: Process, words: list[str], reply: Any) -> None:
        if reply == 1:
            self._end(words[0], Status(words[1]))

    def _end(self, job_id: str, status: Status) -> None:
        if job_id not in self.active:
            self._world.violate(f"job {job_id} ends as {status}, but it was not active")
        self.active.discard(job_id)
        self.ended[status.value] += 1

    # --- Ends and silences of processes ---

    def process_ended(self, process: Process) -> None:
        """Count the blame that a process's end may give its batches."""
        self._blame_held(process, DEATH)

    def held_up(self, process: Process) -> None:
        """Count the blame that a long silence may give its batches."""
        self._blame_held(process, SILENCE)

    def _blame_held(self, process: Process, blame: int) -> None:
        for place, holder in self._holders.items():
            if holder.process is process:
                self._blame[place] += blame

    def store_failed(self) -> None:
        """Count the blame that a failing store may give to all that run."""
        for place in self._holders:
            self._blame[place] += UNEXPLAINED

    # --- Answers to clients ---

    def answered(self, submission: Submission, job_id: str) -> None:
        """Note that a client was told its job."""
        if job_id not in self.of_job:
            self._world.violate(f"{submission.name} was answered with job {job_id}, which was never accepted")
        elif self.of_job[job_id] is not submission:
            self._world.violate(f"{submission.name} was answered with another body's job {job_id}")
        if submission.answered and job_id not in submission.answered and not submission.unwanted:
            self._world.violate(f"Idempotency-Key {submission.key} has made a second job {job_id}")
        submission.answered.append(job_id)

    def saw(self, job: Job) -> None:
        """Check that a job's document only goes forward."""
        status, todo = self._seen.get(job.id, (job.status, job.todo))
        if job.todo > todo:
            self._world.violate(f"job {job.id} had {todo} batches left, and now {job.todo}")
        if status.ended and job.status is not status:
            self._world.violate(f"job {job.id} was {status}, and now is {job.status}")
        self._seen[job.id] = (job.status, job.todo)


def _text(word: Any) -> str:
    return word.decode(errors="replace") if isinstance(word, bytes) else str(word)
