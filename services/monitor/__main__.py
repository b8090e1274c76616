"""`python -m services.monitor`: started by supervisord as its event listener."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys

from services.monitor.events.listener import read_events
from services.monitor.monitor import Monitor
from services.monitor.recovery.worker_exits import Machine
from shared.appliance.program_start import host_name
from shared.build import git_commit
from shared.errors import ShapboxError
from shared.log import configure_logging
from shared.settings import Settings

logger = logging.getLogger("services.monitor")


def main() -> int:
    """Run the monitor until supervisord ends or stops it; returns the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # interrupts reading standard input
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # supervisord handles Ctrl-C
    environment = dict(os.environ)
    try:
        settings = Settings.from_environment(environment)
        configure_logging(settings, "monitor")
        machine = Machine(host_name(environment), os.getppid(), alone=settings.embedded_redis)
        monitor = Monitor(settings, machine, git_commit(environment))
        monitor.start()
    except ShapboxError as fault:
        logger.critical("the monitor cannot start: %s", fault)
        return 1
    try:
        with contextlib.suppress(BrokenPipeError):
            for event in read_events(sys.stdin.buffer, sys.stdout.buffer):
                monitor.handle(event)
        logger.warning("supervisord has ended")
    except SystemExit:
        logger.info("monitor stops")
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        monitor.stop()
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # Daemon threads may wait for a dead network: do not let the interpreter's shutdown meet them.
    os._exit(code)
