"""The reasons for a worker to exit, and its memory limits. supervisord starts a fresh one.

- start_drain_clock: a batch outlasts the time after a stop signal.
- OwnSize: the process has outgrown its own limit.
- limit_growth: the kernel refuses allocations that would take the container over its limit.
- ShapReturn: shap has not been used for a while, and takes 105 MB.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import redis

from shared.jobs import keys
from shared.memory import (
    BASE_IDLE_MB,
    HARD_SHARE,
    IDLE_WORKER_MB,
    PROC,
    SOFT_SHARE,
    process_data_bytes,
    process_pss_bytes,
    process_resident_bytes,
)
from shared.redis.connection import RedisClient
from shared.settings import Settings
from shared.timing import TIMING, Timing

logger = logging.getLogger(__name__)

#: The signals that ask a worker to exit.
STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
#: Seconds between two readings of the PSS, unless the process seems to have outgrown its limit.
PSS_SECONDS = 1.0
#: The least MB that a worker may grow beyond the size at which it exits by itself.
LEAST_ROOM_MB = 64
#: The memory guard's hard limit, in times MEMORY_LIMIT_MB: 496 MB where that is 475.
HARD_OVER_SOFT = HARD_SHARE / SOFT_SHARE
#: The package that takes the memory, with everything that it imports.
SHAP = "shap"


def start_drain_clock(seconds: float, leave: Callable[[], None]) -> None:
    """Call `leave` so many seconds after the first stop signal that has a Python handler.

    Python runs a signal's handler in the main thread between two instructions: never while a batch is in native code. The
    signal's number is also written to a file descriptor at once (signal.set_wakeup_fd), and a thread reads it there.

    Raises ValueError outside the main thread.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # A full pipe does not matter: it is read up to the first stop signal.
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def wait() -> None:
        while os.read(reader, 1)[0] not in STOP_SIGNALS:
            pass
        time.sleep(seconds)
        leave()

    threading.Thread(target=wait, name="drain clock", daemon=True).start()


class OwnSize:
    """The size of this process and its limit, in bytes, asked after each batch.

    Reading the PSS takes milliseconds. The memory shared with others changes slowly, so between two readings the resident
    set, less the shared memory at the last reading, replaces it. Asking less often would let a fast worker outgrow its
    limit by a lot.
    """

    def __init__(self, limit: int, proc: Path = PROC) -> None:
        self.limit = limit
        self._proc = proc
        self._shared = 0
        self._read_at = float("-inf")

    def outgrown(self) -> int | None:
        """Return the PSS if it is over the limit, else None."""
        pid = os.getpid()
        resident = process_resident_bytes(pid, self._proc)
        recent = time.monotonic() - self._read_at < PSS_SECONDS
        if resident <= self.limit or (recent and resident - self._shared <= self.limit):
            return None
        pss = process_pss_bytes(pid, self._proc)
        self._read_at = time.monotonic()
        self._shared = resident - pss
        return pss if pss > self.limit else None


def cap_bytes(settings: Settings) -> int:
    """Return the bytes that one worker may use while all other programs are idle."""
    hard_mb = int(settings.memory_limit_mb * HARD_OVER_SOFT)
    room_mb = hard_mb - BASE_IDLE_MB - IDLE_WORKER_MB * ((settings.workers or 1) - 1)
    own_limit_mb = settings.worker_memory_limit_mb or settings.memory_limit_mb
    return max(room_mb, own_limit_mb + LEAST_ROOM_MB) * 2**20


def limit_growth(cap: int) -> None:
    """Let this process, with its models warm, grow to `cap` bytes and no further.

    The monitor checks sizes ten times a second, and a batch can allocate faster. So the kernel refuses allocations of
    private writable memory beyond the cap (RLIMIT_DATA); the batch then fails with MemoryError, alone.
    """
    room = cap - process_pss_bytes(os.getpid())
    data = process_data_bytes(os.getpid())
    if data is None or room <= 0:
        logger.warning("the kernel does not limit this worker's memory")
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (data + room, hard))


class ShapReturn:
    """Decides when a worker that no longer uses shap exits. For its main thread only.

    Python cannot unload a package with its native libraries. A fresh process needs some two seconds, in which the other
    workers go on: one at a time exits for this reason, by a turn taken in Redis.
    """

    def __init__(self, connection: RedisClient, token: str, timing: Timing = TIMING) -> None:
        self._redis = connection
        self._token = token
        self._timing = timing
        self._used: float | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether this process has loaded shap."""
        return SHAP in sys.modules

    def used(self) -> None:
        """Note that a batch for shap has just ended."""
        self._used = time.monotonic()

    def is_due(self) -> bool:
        """Return whether to exit now. True takes the turn, so the caller must exit."""
        if self._used is None:
            if self.is_loaded:
                self.used()  # by a batch that failed
            return False
        if time.monotonic() < self._used + self._timing.shap_idle_seconds:
            return False
        turn_ms = int(self._timing.shap_turn_seconds * 1000)
        try:
            return bool(self._redis.set(keys.SHAP_TURN, self._token, nx=True, px=turn_ms))
        except redis.RedisError as fault:  # Redis is away or full: keeping shap is the lesser problem
            logger.debug("shap is not returned", extra={"cause": str(fault)})
            return False
