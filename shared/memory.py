"""The memory of processes, as the kernel counts it.

PSS divides every page among the processes that map it. The sum over processes thus counts shared libraries once.
"""

from __future__ import annotations

import ctypes
import errno
from pathlib import Path

#: The kernel's files about processes.
PROC = Path("/proc")
#: Bytes of the unit in /proc.
KIB = 1024
#: MB that supervisord, the api, the monitor and Redis hold while idle, and a worker without shap.
BASE_IDLE_MB, IDLE_WORKER_MB = 130, 65
#: The share of a container's limit at which the monitor recycles workers: 475 MB of the 512 MB plan.
SOFT_SHARE = 475 / 512
#: The share at which the largest worker is killed, since there is no time for its batch to finish.
HARD_SHARE = 0.97
#: The share of MEMORY_LIMIT_MB that the compiled models which the api maps may take.
MAPPED_SHARE = 0.25


#: Parts of the messages by which Python and native libraries report that memory ran out (XGBoost, the system, orjson).
OUT_OF_MEMORY = ("MemoryError", "bad_alloc", "annot allocate memory", "ot enough memory")


def ran_out_of_memory(fault: BaseException | str) -> bool:
    """Return whether an exception, or the last words of a process, say that memory ran out."""
    if isinstance(fault, OSError) and fault.errno == errno.ENOMEM:
        return True
    return isinstance(fault, MemoryError) or any(words in str(fault) for words in OUT_OF_MEMORY)


def process_pss_bytes(pid: int, proc: Path = PROC) -> int:
    """Return a process's PSS in bytes, or its resident set if that is hidden; 0 if ended."""
    return _field(proc / str(pid) / "smaps_rollup", b"Pss:") or process_resident_bytes(pid, proc)


def process_resident_bytes(pid: int, proc: Path = PROC) -> int:
    """Return a process's resident set in bytes: at least its PSS, quick to read; 0 if ended."""
    return _field(proc / str(pid) / "status", b"VmRSS:") or 0


def process_data_bytes(pid: int) -> int | None:
    """Return a process's private writable memory, touched or not; None if unknown."""
    return _field(PROC / str(pid) / "status", b"VmData:")


def return_free_memory() -> None:
    """Return what this process has freed to the system, where the C library can do so (glibc)."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def _field(file: Path, name: bytes) -> int | None:
    try:
        lines = file.read_bytes().splitlines()
    except OSError:  # ended, a zombie, or not readable
        return None
    return next((int(line.split()[1]) * KIB for line in lines if line.startswith(name)), None)
