"""The causes of alerts: done to a real appliance, and undone afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from ops.lab.trial_appliance import Appliance
from shapbox import NoAnswerError

#: Takes memory in its cgroup until the working set is as large as it is told, and holds it.
EATER = """
import pathlib, sys, time
folder, target = pathlib.Path(sys.argv[1]), int(sys.argv[2])
(folder / "cgroup.procs").write_text("0")
def working_set():
    stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    return int((folder / "memory.usage_in_bytes").read_text()) - int(stat["total_inactive_file"])
held = []
while True:
    if working_set() < target:
        held.append(bytearray(b"x") * 2**20)
    else:
        time.sleep(0.2)
"""


@contextmanager
def filled_disk(folder: Path, leave: int) -> Iterator[None]:
    """Fill a disk until so many bytes are left."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        while (left := shutil.disk_usage(folder).free - leave) > 0:
            file.write(bytes(min(left, 2**20)))
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def eaten_memory(cgroup: Path, working_set: int) -> Iterator[None]:
    """Have a stranger in the cgroup take memory until its working set is so large."""
    eater = subprocess.Popen([sys.executable, "-c", EATER, str(cgroup), str(working_set)])
    try:
        yield
    finally:
        eater.kill()
        eater.wait()


@contextmanager
def replicating(appliance: Appliance) -> Iterator[None]:
    """Make the appliance's Redis a replica of nothing, which refuses writes."""
    with redis.Redis(unix_socket_path=str(appliance.settings().redis_socket)) as client:
        client.replicaof("127.0.0.1", 1)
        try:
            yield
        finally:
            client.replicaof("NO", "ONE")


@contextmanager
def without_objects(appliance: Appliance) -> Iterator[None]:
    """Put a file where the object store's folder is."""
    objects = appliance.data_dir / "objects"
    kept = objects.rename(objects.with_name("kept"))
    objects.touch()
    try:
        yield
    finally:
        objects.unlink()
        kept.rename(objects)


def kill(appliance: Appliance, program: str) -> None:
    """Kill all processes of a program; of workers, whether or not they have a batch."""
    for pid in appliance.pids_of(program):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextmanager
def pulsed(pid: int, stopped: float, going: float) -> Iterator[None]:
    """Stop a process for some time, and let it go on for some time, again and again."""

    def pulse() -> None:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(stopped)
        os.kill(pid, signal.SIGCONT)

    with repeatedly(pulse, going):
        yield


@contextmanager
def repeatedly(call: Callable[[], object], pause: float, clients: int = 1) -> Iterator[None]:
    """Have clients repeat something during the block; without an answer it is tried again."""
    ended = threading.Event()

    def loop() -> None:
        while not ended.wait(pause):
            with contextlib.suppress(NoAnswerError):
                call()

    threads = [threading.Thread(target=loop) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
