"""Runs parts of a history in processes of their own, which may be killed, abort, or hang."""

from __future__ import annotations

import faulthandler
import os
import pickle
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Seconds after which a process hangs, and says where.
HANGS = 40.0
#: The exit code of a process in which the history's own code failed.
BROKEN = 97


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a process: its code (negative: a signal), and its findings if it got so far."""

    pid: int
    code: int
    found: Any


def in_process(act: Callable[[], Any], log: Path) -> Ended:
    """Run a function in a fork of this process, which has one thread.

    Its stderr is added to `log`.

    The process ends with the code that the function returns, if it is a number; anything else is what it has found.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        _be_the_child(act, log, writer)
    os.close(writer)
    said = b""
    deadline = time.monotonic() + HANGS + 10
    while select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
        if not (part := os.read(reader, 1 << 20)):
            break
        said += part
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(reader)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return Ended(pid, code, pickle.loads(said) if said else None)


def _be_the_child(act: Callable[[], Any], log: Path, writer: int) -> None:
    code = BROKEN
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 2)
        os.close(descriptor)
        faulthandler.enable()
        faulthandler.dump_traceback_later(HANGS, exit=True)
        found = act()
        code = found if isinstance(found, int) else 0
        with os.fdopen(writer, "wb") as file:
            pickle.dump(found, file)
    except BaseException:  # noqa: BLE001  # nothing may run in a second copy of the driver
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
