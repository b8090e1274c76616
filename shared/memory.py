"""How much memory a process takes, as the kernel counts it.

PSS shares out each page among the processes that map it, so that the sum over processes is what they take
together: libraries that all of them load are not counted twice.
"""

from __future__ import annotations

from pathlib import Path

#: Bytes of the unit that /proc counts in.
KIB = 1024


def process_pss_bytes(pid: int, proc: Path = Path("/proc")) -> int:
    """Return a process's PSS in bytes; 0 if it has ended.

    Where the kernel tells no PSS (another user's process, some sandboxes), its resident set is returned,
    which is never less.
    """
    folder = proc / str(pid)
    return _field(folder / "smaps_rollup", b"Pss:") or _field(folder / "status", b"VmRSS:") or 0


def _field(file: Path, name: bytes) -> int | None:
    try:
        lines = file.read_bytes().splitlines()
    except OSError:  # gone, a zombie, or not to be looked into
        return None
    return next((int(line.split()[1]) * KIB for line in lines if line.startswith(name)), None)
