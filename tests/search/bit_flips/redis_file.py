"""Redis's append-only file: damaged, mended as at boot, loaded by Redis, and read."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis

from ops.run.append_only_file import mend_append_only_file
from ops.run.redis_program import redis_program
from shared.errors import BootError, JobNotFoundError, PayloadMissingError
from shared.jobs.document import Job
from shared.jobs.recovery import Recovery
from shared.jobs.store import JobStore
from shared.redis.aof_sync import FOLDER
from shared.settings import Settings
from tests.search.bit_flips.damage import Kind
from tests.support.jobs import a_job

#: The fields of a job that change while it runs, and have no checksum: times, the residual, the error and its progress.
_UNCHECKED: dict[str, Any] = {
    "started_at": None,
    "finished_at": None,
    "largest_residual": None,
    "error": None,
}
_UNCHECKED |= {"status": "queued", "todo": 0}


class LostError(Exception):
    """A start is refused with a reason, or a job is missing or damaged, and says so."""


class RedisFile(Kind):
    """The part of the file that grows. Each job must read as it was accepted, or as damaged."""

    def __init__(self, folder: Path) -> None:
        # A short path: a socket's may have 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="aof-", dir=folder))
        settings = Settings(data_dir=self._folder / "sound")
        self._jobs: dict[str, Job] = {}
        with _redis(settings) as connection:
            store = JobStore(connection, settings)
            for number in range(3):
                job = store.accept(a_job(30, request=f"r{number}")).job
                self._jobs[job.id] = job
            store.transitions.claim(job.id, 0, "worker", "token")
            store.transitions.complete(job.id, 0, 10, job.model, 1e-7)
        self._folder_of_sound = settings.redis_socket.parent / FOLDER
        content = (self._folder_of_sound / _PART).read_bytes()
        super().__init__("Redis's file", content, content, [self._read], (LostError,))

    def _read(self, content: bytes) -> object:
        if content == self.content:
            return [True] * len(self._jobs)
        settings = Settings(data_dir=self._folder / "x")
        shutil.rmtree(settings.data_dir, ignore_errors=True)
        redis_dir = settings.redis_socket.parent
        shutil.copytree(self._folder_of_sound, redis_dir / FOLDER)
        (redis_dir / FOLDER / _PART).write_bytes(content)
        try:
            mend_append_only_file(redis_dir)
        except BootError as refusal:
            raise LostError from refusal
        with _redis(settings) as connection:
            store = JobStore(connection, settings)
            recovery = Recovery(connection, store)
            for _ in range(2):  # as the monitor does
                recovery.requeue_lost()
            recovery.running()
            store.page(None, 20, None)
            return [self._is_sound(store, job) for job in self._jobs.values()]

    def _is_sound(self, store: JobStore, job: Job) -> bool:
        try:
            found = store.get(job.id)
        except (JobNotFoundError, PayloadMissingError) as fault:
            raise LostError from fault
        assert replace(found, **_UNCHECKED) == replace(job, **_UNCHECKED), (found, job)
        return True


_PART = "appendonly.aof.1.incr.aof"


@contextlib.contextmanager
def _redis(settings: Settings) -> Iterator[redis.Redis]:
    """Run a Redis on the settings' folder. Raises LostError if it says why it cannot."""
    folder = settings.redis_socket.parent
    folder.mkdir(parents=True, exist_ok=True)
    command = [redis_program(), "--port", "0", "--unixsocket", str(settings.redis_socket), "--save", ""]
    command += ["--dir", str(folder), "--appendonly", "yes", "--appendfsync", "no"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            connection = redis.Redis(unix_socket_path=str(settings.redis_socket))
            while not _answers(connection):
                if process.poll() is not None and process.stdout is not None:
                    said = process.stdout.read().decode(errors="replace")
                    assert "reading the append only file" in said, said[-600:]
                    raise LostError(said.strip().splitlines()[-1])
                time.sleep(0.005)
            yield connection
            connection.close()
        finally:
            process.kill()


def _answers(connection: redis.Redis) -> bool:
    try:
        return bool(connection.ping())
    except (redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError):
        return False
