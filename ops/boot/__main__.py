"""`python -m ops.boot`: checks everything, prepares DATA_DIR, and becomes supervisord."""

from __future__ import annotations

import argparse
import os
import sys

from ops.boot.start import become, prepare
from shared.errors import ShapboxError
from shared.log import configure_logging
from shared.settings import Settings

#: The exit code of an appliance that cannot start as it is set up: starting it again changes nothing.
CANNOT_START = 2


def main() -> int:
    """Start the appliance; return the exit code if it cannot start or was only to be checked."""
    parser = argparse.ArgumentParser(prog="python -m ops.boot", description=__doc__)
    parser.add_argument("--check", action="store_true", help="check and prepare everything, start nothing")
    options = parser.parse_args()
    try:
        settings = Settings.from_environment(os.environ)
        configure_logging(settings, "boot")
        launch = prepare(os.environ, settings)
    except ShapboxError as error:
        print(f"Shapbox cannot start.\n{error}", file=sys.stderr)
        return CANNOT_START
    if options.check:
        print("Shapbox can start here.")
        return 0
    become(launch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
