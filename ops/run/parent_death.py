"""`python -m ops.run.parent_death [--lock FILE] PROGRAM …`: ends PROGRAM with supervisord.

A supervisord that is killed cannot stop its children; left alone, a Redis and some workers would go on,
and the next start would put a second Redis on the same file. With --lock, FILE is locked for as long as
the program lives.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from ops.run.lock import try_lock
from shared.appliance.program_start import started_now

#: prctl's number for "send me this signal when my parent dies" (linux/prctl.h). It stays across exec.
PR_SET_PDEATHSIG = 1
#: The name under which boot passes on its process id, which is supervisord's after exec.
SUPERVISOR_PID = "SHAPBOX_SUPERVISOR_PID"


def main(words: list[str], supervisor: str | None) -> None:
    """Ask the kernel for a signal at supervisord's death and become the program."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if supervisor and os.getppid() != int(supervisor):
        raise SystemExit("parent_death: supervisord has ended already")
    if words[0] == "--lock":
        descriptor = os.open(words[1], os.O_RDWR | os.O_CREAT, 0o600)
        if not try_lock(descriptor):
            raise SystemExit(f"parent_death: another process holds {words[1]}; trying again")
        os.set_inheritable(descriptor, True)
        words = words[2:]
    os.environ.update(started_now())
    os.execvp(words[0], words)  # noqa: S606  # a shell would stand between supervisord and the program


if __name__ == "__main__":
    main(sys.argv[1:], os.environ.get(SUPERVISOR_PID))
