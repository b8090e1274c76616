"""A real redis-server on the simulator's clock: expiry and TIME in scripts follow it."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

import redis

#: Replies list the fields of hashes and the members of sets in the order of insertion while these are small.
IN_ORDER = "99999999"
SMALL = ("hash-max-listpack", "zset-max-listpack")


class ClockedRedis:
    """One server for all histories of this process."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        (folder / "clock").write_bytes(bytes(8))
        with (folder / "clock").open("r+b") as file:
            self._clock = mmap.mmap(file.fileno(), 8)
        shim = folder / "redis_clock.so"
        source = Path(__file__).with_name("redis_clock.c")
        subprocess.run([_compiler(), "-shared", "-fPIC", "-O1", "-o", str(shim), str(source)], check=True)
        self.set_clock(1.0)
        command = ["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--save", ""]
        command += [
            word for name in SMALL for word in (f"--{name}-value", IN_ORDER, f"--{name}-entries", IN_ORDER)
        ]
        clock = {"LD_PRELOAD": str(shim), "SIMULATOR_CLOCK": str(folder / "clock")}
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | clock
        )
        self.admin = redis.Redis(unix_socket_path=str(self.socket))
        self._await()

    def set_clock(self, seconds: float) -> None:
        """Set the time, in seconds since the epoch."""
        struct.pack_into("q", self._clock, 0, int(seconds * 1e6))

    def clear(self) -> None:
        """Forget all keys."""
        self.admin.flushall()

    def stop(self) -> None:
        """End the server."""
        self._process.kill()
        self._process.wait()
        self._clock.close()

    def _await(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                self.admin.ping()
            except redis.exceptions.ConnectionError:
                assert self._process.poll() is None, "redis-server ends at its start"
                assert time.monotonic() < deadline, "redis-server does not answer"
                time.sleep(0.01)
            else:
                return


def can_run() -> bool:
    """Return whether this machine can build and run the server."""
    return shutil.which("redis-server") is not None and _find_compiler() is not None


def _find_compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc")


def _compiler() -> str:
    found = _find_compiler()
    if found is None:
        raise FileNotFoundError("no C compiler for Redis's clock: apt-get install gcc libc6-dev")
    return found
