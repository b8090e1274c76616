"""`python3 -m ops.setup_machine [--dev]`: installs everything that is missing."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from pathlib import Path

from ops.setup_machine.commands import say
from ops.setup_machine.environment import Environment
from ops.setup_machine.failure import SetupError
from ops.setup_machine.font import ensure_font
from ops.setup_machine.kernels import ensure_kernels
from ops.setup_machine.redis_server import ensure_redis_server

#: The repository's folder.
ROOT = Path(__file__).resolve().parent.parent.parent


def main() -> int:
    """Set the machine up; return the exit code."""
    parser = argparse.ArgumentParser(prog="setup_machine", description=__doc__)
    parser.add_argument("--dev", action="store_true", help="what tests and checks need as well")
    parser.add_argument("--no-redis", action="store_true", help="leave redis-server, font and kernels alone")
    options = parser.parse_args()
    needs_redis = not options.no_redis and (options.dev or not os.environ.get("REDIS_URL"))
    try:
        _set_up("dev" if options.dev else "tools", needs_redis)
        if not options.no_redis:
            ensure_font()
            ensure_kernels()
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nset-up: stopped; the next run repairs what was left half made.", file=sys.stderr)
        return 130
    return 0


def _set_up(kind: str, needs_redis: bool) -> None:  # noqa: FBT001  # one caller, one line above
    (ROOT / ".cache").mkdir(exist_ok=True)
    with (ROOT / ".cache" / "setup.lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another set-up of this folder to end …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        Environment(ROOT).ensure(kind)
        if needs_redis:
            ensure_redis_server()


if __name__ == "__main__":
    sys.exit(main())
