"""One appliance per DATA_DIR: a lock that lives exactly as long as supervisord does."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from shared.errors import BootError

#: supervisord closes what it inherits from descriptor 5 on, and closes 3 on in its own children.
LOCK_DESCRIPTOR = 3
#: Seconds that the Redis of a supervisord that was killed is given to end.
ORPHAN_SECONDS = 5.0


def hold_lock(data_dir: Path) -> None:
    """Take DATA_DIR's lock and keep it across exec; raises BootError if it is held."""
    path = data_dir.absolute() / "lock"
    descriptor = _open(path)
    if not try_lock(descriptor):
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise BootError(
            f"Another appliance (process {holder or 'unknown'}) runs on DATA_DIR {path.parent}. "
            "Stop it, or start this one with another DATA_DIR and PORT."
        )
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    if descriptor != LOCK_DESCRIPTOR:
        os.dup2(descriptor, LOCK_DESCRIPTOR)
        os.close(descriptor)
    os.set_inheritable(LOCK_DESCRIPTOR, True)


def await_orphaned_redis(redis_dir: Path) -> None:
    """Wait until no Redis locks its folder; raises BootError if one keeps it.

    A Redis may outlive a supervisord that was killed, and two of them on one append-only file would destroy it.
    """
    path = redis_dir / "lock"
    descriptor = _open(path)
    deadline = time.monotonic() + ORPHAN_SECONDS
    while not try_lock(descriptor):
        if time.monotonic() > deadline:
            raise BootError(
                f"A redis-server of an earlier start still uses {redis_dir}. "
                f"End it (`fuser {path}` names its process) and start again."
            )
        time.sleep(0.1)
    os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:  # an earlier start as root has left it, for one
        raise BootError(
            f"The lock file {path} cannot be opened ({error.strerror}): remove it, as its owner or as root. "
            "Nothing is kept in it."
        ) from error


def try_lock(descriptor: int) -> bool:
    """Take the lock if it is free; False if another process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
