"""`python3 -m ops.setup_machine [--dev]`: installs everything that is missing."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys

from ops.setup_machine.commands import SetupError
from ops.setup_machine.environment import ensure_environment
from ops.setup_machine.machine import ensure_font, ensure_kernels, ensure_redis_server
from ops.setup_machine.uv import ROOT


def main() -> int:
    """Set the machine up; return the exit code."""
    parser = argparse.ArgumentParser(prog="setup_machine", description=__doc__)
    parser.add_argument("--dev", action="store_true", help="what tests and checks need as well")
    parser.add_argument("--no-redis", action="store_true", help="leave redis-server, font and kernels alone")
    options = parser.parse_args()
    (ROOT / ".cache").mkdir(exist_ok=True)
    try:
        with (ROOT / ".cache" / "setup.lock").open("w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another set-up of this folder may run
            ensure_environment(ROOT, "dev" if options.dev else "tools")
            if options.no_redis:
                return 0
            if options.dev or not os.environ.get("REDIS_URL"):
                ensure_redis_server()
            ensure_font()
            ensure_kernels()
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nset-up: stopped; the next run repairs what was left half made.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
