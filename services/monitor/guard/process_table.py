"""The machine's processes and their parents, from /proc."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from shared.memory import PROC

#: States of a process that has ended and waits to be reaped.
DEAD_STATES = frozenset("ZXx")
#: States of a process that somebody has stopped, by a signal or in a debugger.
STOPPED_STATES = frozenset("Tt")


def parent_of(pid: int, proc: Path = PROC) -> int | None:
    """Return a living process's parent, or None if the process has ended."""
    fields = _stat(pid, proc)
    return None if fields is None or fields[0] in DEAD_STATES else int(fields[1])


def is_stopped(pid: int, proc: Path = PROC) -> bool:
    """Return whether a process is stopped, by a signal or in a debugger."""
    fields = _stat(pid, proc)
    return fields is not None and fields[0] in STOPPED_STATES


def started_at(pid: int, proc: Path = PROC) -> float | None:
    """Return when a process was started, in seconds since the epoch; None if it has ended."""
    fields = _stat(pid, proc)
    if fields is None:
        return None
    boot = (proc / "stat").read_text(encoding="ascii").partition("btime ")[2].split()[0]
    return int(boot) + int(fields[19]) / os.sysconf("SC_CLK_TCK")


def processor_wait(pid: int, proc: Path = PROC) -> float:
    """Return the seconds that a process's first thread waited for a processor; 0 if unknown."""
    try:
        return int((proc / str(pid) / "schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def read_parents(proc: Path = PROC) -> dict[int, int]:
    """Return every living process's parent."""
    pids = [int(entry.name) for entry in proc.iterdir() if entry.name.isdecimal()]
    parents = {pid: parent_of(pid, proc) for pid in pids}
    return {pid: parent for pid, parent in parents.items() if parent is not None}


def family(root: int, parents: Mapping[int, int]) -> set[int]:
    """Return `root` and all its descendants."""
    children = defaultdict(list)
    for pid, parent in parents.items():
        children[parent].append(pid)
    found, waiting = set(), [root]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children[pid])
    return found


def is_descendant(pid: int, ancestor: int, proc: Path = PROC) -> bool:
    """Return whether a process runs and descends from `ancestor`; others get no signals."""
    seen: set[int] = set()
    parent = parent_of(pid, proc)
    while parent and parent not in seen:
        if parent == ancestor:
            return True
        seen.add(parent)
        parent = parent_of(parent, proc)
    return False


def _stat(pid: int, proc: Path) -> list[str] | None:
    """Return the fields of a process's stat file from its state on; None if it has ended."""
    try:
        stat = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name, in parentheses, may itself hold blanks and parentheses.
    return stat.rpartition(")")[2].split()
