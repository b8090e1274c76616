"""A ceiling on what one worker can allocate, so that no batch can take the container over its limit.

The monitor looks ten times a second, and a batch can allocate faster. So the kernel refuses a worker's
allocations (RLIMIT_DATA: its private writable memory) beyond what the other programs leave to it; the batch
then fails with MemoryError, alone.
"""

from __future__ import annotations

import logging
import os
import resource
from pathlib import Path

from shared.memory import BASE_IDLE_MB, HARD_SHARE, IDLE_WORKER_MB, SOFT_SHARE, process_pss_bytes
from shared.settings import Settings

logger = logging.getLogger(__name__)

#: MB that a worker may grow by at least, beyond the size at which it leaves by itself.
LEAST_ROOM_MB = 64
#: The hard mark, in times MEMORY_LIMIT_MB: 496 MB where that is 475.
HARD_OVER_SOFT = HARD_SHARE / SOFT_SHARE
#: What the kernel calls a process's private writable memory in /proc/self/status.
FIELD = "VmData:"


def cap_bytes(settings: Settings) -> int:
    """Return the bytes that one worker may take while all other programs are idle."""
    hard_mb = int(settings.memory_limit_mb * HARD_OVER_SOFT)
    room_mb = hard_mb - BASE_IDLE_MB - IDLE_WORKER_MB * ((settings.workers or 1) - 1)
    own_limit_mb = settings.worker_memory_limit_mb or settings.memory_limit_mb
    return max(room_mb, own_limit_mb + LEAST_ROOM_MB) * 2**20


def limit_growth(cap: int) -> None:
    """Let this process, with its models warm, grow to `cap` bytes and no further."""
    room = cap - process_pss_bytes(os.getpid())
    data = _private_bytes()
    if data is None or room <= 0:
        logger.warning("this worker's memory is not limited by the kernel")
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (data + room, hard))


def _private_bytes() -> int | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(FIELD)), None)
