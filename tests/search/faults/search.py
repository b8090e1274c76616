"""Finds out how many calls there are, and makes each of them fail, or every so many."""

from __future__ import annotations

import errno
import itertools
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import redis

from shared.appliance.program_start import HOST_NAME_NAME
from shared.build import ROOT
from shared.models.activation.activate import activate_version
from shared.models.activation.records import Activations
from shared.models.catalog import ModelCatalog
from shared.redis import connection
from shared.settings import Settings
from tests.integration.api.api_client import ADMIN_API_KEY, API_KEY
from tests.search.faults.block import Block, Kind
from tests.search.faults.history import Histories, Outcome, Place, Role
from tests.search.faults.redis_calls import RedisFault
from tests.search.faults.roles import HOST
from tests.support.activated import AMPLE
from tests.support.redis_server import RedisServer

#: Calls that fail in an outage: more than all attempts of one request make.
OUTAGE = 25
#: Errors of a change of a file. The last one means half a write.
FILE_ERRORS = (errno.ENOSPC, errno.EIO, -1)
#: Bytes of allocations of which each fails; smaller ones, mostly Python's objects, fail every so many.
BUFFER = 2048
#: The model that is explained.
MODEL = "diabetes"


def ways(roles: Sequence[Role], kinds: Sequence[Kind]) -> Iterator[Place]:
    """Yield the first place of each way to fail."""
    for role in roles:
        if Kind.REDIS in kinds:
            for fault, calls in itertools.product(RedisFault, (1, OUTAGE)):
                yield Place(role, Kind.REDIS, 0, calls, fault=fault)
        if Kind.FILES in kinds:
            for error in FILE_ERRORS:
                yield Place(role, Kind.FILES, 0, error=error)
        if Kind.MEMORY in kinds:
            for least in (BUFFER, 0):
                yield Place(role, Kind.MEMORY, 0, least=least)


class Search:
    """Runs histories and adds up how they went."""

    def __init__(self, histories: Histories, small_every: int) -> None:
        self._histories = histories
        self._small_every = small_every
        #: The calls of a history of which none fails, by role, for each kind and size.
        self._calls: dict[tuple[Kind, int], Counter[Role]] = {}
        self.found = 0

    def places(self, way: Place) -> list[Place]:
        """Return all places of a way to fail; of small allocations every so many."""
        measured = way.kind, way.least
        if measured not in self._calls:
            self._calls[measured] = self._histories.count(*measured)
        small = way.kind is Kind.MEMORY and not way.least
        calls = range(0, self._calls[measured][way.role], self._small_every if small else 1)
        return [replace(way, first=first) for first in calls]

    def run(self, places: Sequence[Place]) -> None:
        """Run a history for each place, and say what came of them."""
        total = Outcome()
        ran = struck = 0
        for place in places:
            try:
                outcome = self._histories.run(place)
            except AssertionError as fault:
                self.found += 1
                say("\n".join([f"--- {fault!r}", *fault.__notes__]))
                continue
            ran, struck = ran + 1, struck + outcome.struck
            total.add(outcome)
        way = replace(places[0], first=0) if len(places) > 1 else places[0]
        say(f"{way}: {ran} histories, {struck} struck; {total.figures()}")


def run(ways: Sequence[Place], some: int | None, seed: int, small_every: int) -> int:
    """Search on a Redis and a folder of its own; return how many faults it found.

    `some` places are drawn from all.
    """
    connection.BACKOFF_BASE, connection.BACKOFF_CAP = 0.0002, 0.001
    with tempfile.TemporaryDirectory(prefix="shapbox-") as folder:
        settings = _settings(Path(folder))
        server = RedisServer(settings)
        preloaded = os.environ.pop("LD_PRELOAD")  # not Redis
        server.start()
        os.environ["LD_PRELOAD"] = preloaded
        try:
            client = redis.Redis(unix_socket_path=str(settings.redis_socket))
            search = Search(Histories(settings, Block.shared(Path(folder)), client), small_every)
            started = time.monotonic()
            places = [search.places(way) for way in ways]
            if some is not None:
                every = list(itertools.chain.from_iterable(places))
                drawn = random.Random(seed).sample(every, min(some, len(every)))
                places = [[place] for place in drawn]
            for group in places:
                search.run(group)
            say(
                f"{sum(map(len, places))} histories in {time.monotonic() - started:.0f} s, {search.found} faults found"
            )
        finally:
            Block.let_go()
            server.kill()
    return search.found


def say(line: str) -> None:
    """Show a line at once: a run takes long."""
    print(line, flush=True)  # noqa: T201


def _settings(folder: Path) -> Settings:
    """Set the environment of all programs; activate one model, as boot would."""
    models = folder / "models"
    models.mkdir()
    (models / MODEL).symlink_to(ROOT / "models" / MODEL)
    given = {
        "DATA_DIR": str(folder),
        "MODELS_DIR": str(models),
        "BATCH_ROWS": "10",
        "DURABILITY": "power",
        "API_KEY": API_KEY,
        "ADMIN_API_KEY": ADMIN_API_KEY,
        HOST_NAME_NAME: HOST,
    }
    os.environ.update(given)
    settings = Settings.from_environment(os.environ)
    settings.run_dir.mkdir()
    settings.redis_dir.symlink_to(settings.run_dir)  # where the server of the tests puts its file
    settings.compiled_dir.mkdir()
    (version,) = ModelCatalog.load(models).versions()
    record = activate_version(version, settings.compiled_dir, AMPLE, "key")
    Activations("compiled", {version.id: record}).write(settings.activations_file)
    return settings
