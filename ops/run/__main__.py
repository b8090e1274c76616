"""`python -m ops.run`: checks everything, prepares DATA_DIR, and becomes supervisord."""

from __future__ import annotations

import argparse
import os
import sys

from ops.run.memory_limit import decide_memory_limit
from ops.run.outcome import tell, tell_refusal
from ops.run.plain_user import become_plain_user
from ops.run.start import become, prepare
from shared.cgroup import find_cgroup
from shared.errors import ShapboxError
from shared.log import configure_logging
from shared.settings import Settings

#: The exit code of an appliance that cannot start as it is set up: starting it again changes nothing.
CANNOT_START = 2


def main() -> int:
    """Start the appliance; return the exit code if it cannot start or was only to be checked."""
    parser = argparse.ArgumentParser(prog="python -m ops.run", description=__doc__)
    parser.add_argument("--check", action="store_true", help="check and prepare everything, start nothing")
    options = parser.parse_args()
    try:
        become_plain_user(os.environ)
        memory = decide_memory_limit(os.environ, find_cgroup())
        environment = memory.complete(os.environ)
        settings = Settings.from_environment(environment)
        configure_logging(settings, "boot", sys.stdout)
        launch = prepare(environment, settings, memory)
    except ShapboxError as error:
        tell_refusal(error, os.environ)
        return CANNOT_START
    if options.check:
        tell("Shapbox can start here.", settings)
        return 0
    become(launch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
