"""One history: jobs from submission to end, a worker's death, and one call that fails."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import redis

from ops.lab.reference import reference_contributions
from services.monitor.events.listener import ExitReport
from shared.appliance.counters import Counters
from shared.jobs import keys
from shared.models.catalog import ModelCatalog
from shared.settings import Settings
from tests.search.faults.block import Block, Kind
from tests.search.faults.process import BROKEN, Ended, in_process
from tests.search.faults.redis_calls import FailingRedis, RedisFault
from tests.search.faults.roles import WORKER, Api, Seen, Sent, sweep, watch, work

#: Processes of one program that may end before it has done its part.
STARTS = 5
#: Turns of monitor and worker after which every batch must be recorded.
ROUNDS = 8
#: Keys of jobs and batches, none of which may be left.
LEFT_KEYS = re.compile(r"shapbox:(job|todo|deaths|idempotency|running|finished|jobs)\b|rq:(queue|job):")
#: The number of a call that is never made.
NEVER = 2**60


class Role(StrEnum):
    """The program whose calls fail."""

    API, WORKER, MONITOR = "api", "worker", "monitor"


@dataclass(frozen=True, slots=True)
class Place:
    """The calls that fail: those of a role and kind from a number on, and how."""

    role: Role
    kind: Kind
    first: int
    calls: int = 1
    error: int = 0
    fault: RedisFault | None = None
    least: int = 0

    def __str__(self) -> str:
        how = self.fault or (self.error and f"error {self.error}") or f"from {self.least} bytes"
        return f"{self.role} {self.kind.name} {how} {self.first}+{self.calls}"


@dataclass
class Outcome:
    """How a history went on after its fault."""

    struck: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    escaped: list[str] = field(default_factory=list)
    #: Processes that ended other than in order, by role and code.
    ends: Counter[str] = field(default_factory=Counter)

    def add(self, other: Outcome) -> None:
        """Add another one's figures."""
        self.struck += other.struck
        self.refusals += other.refusals
        self.escaped += other.escaped
        self.ends += other.ends

    def figures(self) -> str:
        """Return all but the number of struck calls."""
        return f"refused {dict(self.refusals)}, ended {dict(self.ends)}, not answered {len(self.escaped)}"


class Histories:
    """Runs histories one after the other on one Redis and folder."""

    def __init__(self, settings: Settings, block: Block, client: redis.Redis) -> None:
        self._settings = settings
        self._block = block
        self._redis = client
        self._log = settings.data_dir / "log"
        self._place = Place(Role.API, Kind.NOTHING, 0)
        self._outcome = Outcome()
        #: Whether calls of all roles are counted, and how many they were.
        self._counts_all = False
        self._calls: Counter[Role] = Counter()
        self._version = ModelCatalog.load(settings.models_dir).versions()[0]
        self._sent = self._plan()

    def run(self, place: Place) -> Outcome:
        """Run one history. Raises AssertionError where something is not as it must be."""
        self._clear()
        self._place, self._outcome = place, Outcome()
        self._block.aim(place.first, place.calls, place.error, place.least)
        try:
            self._run()
        except AssertionError as fault:
            fault.add_note(f"{place}\n{self.log()[-6000:]}")
            raise
        self._outcome.struck = self._block.struck
        return self._outcome

    def count(self, kind: Kind, least: int) -> Counter[Role]:
        """Return how many calls each role makes if none fails."""
        self._calls, self._counts_all = Counter(), True
        try:
            self.run(Place(Role.API, kind, NEVER, least=least, fault=RedisFault.UNSENT))
        finally:
            self._counts_all = False
        return self._calls

    def log(self) -> str:
        """Return what the processes have printed."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def _run(self) -> None:
        jobs = [replace(job) for job in self._sent]
        self._api(lambda api: api.submit(jobs), jobs)
        reports = [self._work(killed=True)]
        for turn in range(ROUNDS):
            told = tuple(reports)
            self._watch(lambda counting: watch(self._settings, told, counting))  # noqa: B023  # within this turn
            reports = [self._work(killed=False)]
            if self._redis.zcard(keys.with_status("completed")) == len(jobs):
                break
            assert turn < ROUNDS - 1, "a job does not end"
        self._api(lambda api: api.read(jobs), jobs)
        self._check_counts(jobs)
        self._api(lambda api: api.delete(jobs[:-1]), jobs)
        for turn in range(ROUNDS):
            self._watch(lambda counting: sweep(self._settings, counting))
            if not (left := self._left()):
                break
            assert turn < ROUNDS - 1, f"left behind: {left}"

    def _plan(self) -> list[Sent]:
        """Return jobs of two batches and of one, and one that is explained at once and kept."""
        name, examples = self._version.name, np.load(self._version.examples_path or "").astype(np.float32)
        rows = {"two": (examples[:14], "/v1/jobs"), "one": (examples[14:17], "/v1/jobs")}
        rows["kept"] = (examples[17:18], "/v1/explain")
        return [
            Sent(key, f"{path}?model={name}", some, reference_contributions(self._version.model_path, some))
            for key, (some, path) in rows.items()
        ]

    def _api(self, act: Callable[[Api], Seen], jobs: list[Sent]) -> None:
        """Have an api serve its client, in several processes if one dies."""
        in_start = self._place.kind is not Kind.MEMORY

        def serve() -> Seen:
            api = Api(self._settings, self._counting(Role.API), start_counts=in_start)
            return act(api)

        seen = self._until_done(Role.API, serve).found
        self._outcome.refusals += seen.refusals
        self._outcome.escaped += seen.escaped
        for job in jobs:
            job.id = seen.ids.get(job.key, job.id)

    def _work(self, *, killed: bool) -> ExitReport:
        """Run a worker; return supervisord's report of its end."""
        ended = self._process(Role.WORKER, lambda: work(self._counting(Role.WORKER), killed=killed))
        return ExitReport(WORKER, ended.pid, in_order=ended.code == 0)

    def _watch(self, act: Callable[[Callable[[], AbstractContextManager[None]]], None]) -> None:
        """Run a monitor, and a new one if that ends."""
        self._until_done(Role.MONITOR, lambda: act(self._counting(Role.MONITOR)))

    def _until_done(self, role: Role, act: Callable[[], Any]) -> Ended:
        for _ in range(STARTS):
            ended = self._process(role, act)
            if ended.code == 0:
                return ended
        raise AssertionError(f"the {role} ends {STARTS} times with {ended.code}")

    def _process(self, role: Role, act: Callable[[], Any]) -> Ended:
        place = self._place

        def child() -> Any:
            if self._counts(role) and place.kind is Kind.REDIS and place.fault is not None:
                FailingRedis(self._block, self._settings.redis_socket, place.fault).install()
            return act()

        before = self._block.count
        ended = in_process(child, self._log)
        self._calls[role] += self._block.count - before
        self._block.kind = Kind.NOTHING
        if place.kind is Kind.REDIS:
            self._heal_redis()
        if ended.code not in {0, -9}:
            self._outcome.ends[f"{role} {ended.code}"] += 1
        assert ended.code != BROKEN or self._may_break(), "the history's own code failed"
        return ended

    def _heal_redis(self) -> None:
        """Undo a change of Redis, which a process that was killed meanwhile has left behind."""
        for _ in range(100):
            with contextlib.suppress(redis.ResponseError):  # there is no script to kill
                self._redis.script_kill()
            with contextlib.suppress(redis.ResponseError):  # a script is about to end
                self._redis.replicaof("no", "one")
                self._redis.config_set("maxmemory", 0)
                return

    def _may_break(self) -> bool:
        """Return whether an error may end a program as it starts: then supervisord starts it again."""
        return self._block.struck > 0 and "AssertionError" not in self.log()

    def _counting(self, role: Role) -> Callable[[], AbstractContextManager[None]]:
        kind = self._place.kind
        return (lambda: self._block.counting(kind)) if self._counts(role) else nullcontext

    def _counts(self, role: Role) -> bool:
        return self._counts_all or role is self._place.role

    def _check_counts(self, jobs: list[Sent]) -> None:
        counted = Counters(self._redis).read()
        assert counted["rows_explained_total", self._version.id] == sum(len(job.rows) for job in jobs)
        assert counted["jobs_total", "completed"] == len(jobs)
        assert ("jobs_total", "failed") not in counted

    def _left(self) -> list[str]:
        """Return what should be gone: keys in Redis, and files."""
        names = [name.decode() for name in self._redis.scan_iter()]
        folders = (self._settings.objects_dir / "jobs", self._settings.tmp_dir)
        files = [str(path) for folder in folders if folder.exists() for path in folder.rglob("*")]
        return [name for name in names if LEFT_KEYS.match(name)] + files

    def _clear(self) -> None:
        self._redis.flushall()
        self._redis.script_flush()
        self._log.unlink(missing_ok=True)
        for folder in (self._settings.objects_dir, self._settings.tmp_dir):
            shutil.rmtree(folder, ignore_errors=True)
        Path(self._settings.tmp_dir).mkdir()
