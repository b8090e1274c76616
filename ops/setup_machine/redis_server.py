"""The Redis server that the appliance runs as its own."""

from __future__ import annotations

import shutil

from ops.setup_machine import debian
from ops.setup_machine.commands import succeeds
from ops.setup_machine.failure import SetupError

#: Programs that serve, the first that runs is used.
PROGRAMS = ("redis-server", "valkey-server")


def ensure_redis_server() -> None:
    """Install redis-server unless it or valkey-server runs here; raises SetupError if it fails."""
    if _runs():
        return
    if not debian.can_install():
        raise SetupError(
            "redis-server is missing: install it (Debian, Ubuntu: sudo apt-get install redis-server) and run make "
            "again, or set REDIS_URL to a remote Redis."
        )
    debian.install(["redis-server"])
    if not _runs():
        raise SetupError("redis-server was installed and does not run: try `redis-server --version`.")


def _runs() -> bool:
    return any(succeeds([program, "--version"]) for program in PROGRAMS if shutil.which(program))
