"""Starts the program that answers at PORT until the api does (starting_answers.py)."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys

from ops.run.model_activation import Step
from ops.run.ports import check_ports
from shared.build import ROOT
from shared.child_environment import child_environment
from shared.network import listen
from shared.settings import Role, Settings


def start_answering(settings: Settings) -> Step:
    """Start the program, which ends with this process; return what tells it of boot's steps.

    Raises BootError if the port is taken.
    """
    path = settings.starting_socket
    path.unlink(missing_ok=True)  # of a start that was killed
    try:
        listeners = listen(settings.host, settings.port)
    except OSError:
        check_ports(settings)  # says which setting to change
        raise
    handover = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    handover.bind(str(path))
    handover.listen()
    steps, writer = os.pipe()
    given = {
        "boot": os.getpid(),
        # An api alone has no data: where it is replaced, the one before serves until this one can.
        "healthy": settings.role is not Role.API,
        "steps": steps,
        "handover": handover.fileno(),
        "listeners": [one.fileno() for one in listeners],
    }
    subprocess.Popen(  # this Python and our module, no shell
        [sys.executable, "-m", "ops.run.starting_answers", json.dumps(given)],
        cwd=ROOT,
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        pass_fds=[steps, handover.fileno(), *(one.fileno() for one in listeners)],
    )
    os.close(steps)
    for one in (handover, *listeners):
        one.close()

    def tell_step(what: str, seconds: float) -> None:
        with contextlib.suppress(BrokenPipeError):  # somebody has killed it: the start goes on
            os.write(writer, json.dumps({"what": what, "seconds": seconds}).encode() + b"\n")

    return tell_step
