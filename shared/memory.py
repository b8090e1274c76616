"""How much memory a process takes, as the kernel counts it.

PSS shares out each page among the processes that map it, so that the sum over processes is what they take
together: libraries that all of them load are not counted twice.
"""

from __future__ import annotations

import os
from pathlib import Path

#: Where the kernel tells of processes.
PROC = Path("/proc")
#: Bytes of the unit that /proc counts in.
KIB = 1024
#: Bytes of a page.
PAGE = os.sysconf("SC_PAGE_SIZE")
#: MB that supervisord, the api, the monitor and Redis hold while idle, and a worker without shap.
BASE_IDLE_MB, IDLE_WORKER_MB = 130, 65
#: The share of a container's limit at which the monitor starts to recycle workers: 475 MB of the 512 MB plan.
SOFT_SHARE = 475 / 512
#: The share at which there is no time left for a batch to finish: the largest worker is killed.
HARD_SHARE = 0.97


def process_pss_bytes(pid: int, proc: Path = PROC) -> int:
    """Return a process's PSS in bytes; 0 if it has ended.

    Where the kernel tells no PSS (another user's process, some sandboxes), its resident set is returned,
    which is never less.
    """
    folder = proc / str(pid)
    return _field(folder / "smaps_rollup", b"Pss:") or _field(folder / "status", b"VmRSS:") or 0


def process_resident_bytes(pid: int, proc: Path = PROC) -> int:
    """Return a process's resident set in bytes, never less than its PSS and quick to read; 0 if it has ended."""
    try:
        return int((proc / str(pid) / "statm").read_bytes().split()[1]) * PAGE
    except OSError:
        return _field(proc / str(pid) / "status", b"VmRSS:") or 0


def _field(file: Path, name: bytes) -> int | None:
    try:
        lines = file.read_bytes().splitlines()
    except OSError:  # gone, a zombie, or not to be looked into
        return None
    return next((int(line.split()[1]) * KIB for line in lines if line.startswith(name)), None)
