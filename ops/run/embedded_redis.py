"""The embedded Redis: its program and its configuration, written at every boot.

appendfsync is no, and the monitor syncs the append-only file each second (services/monitor/redis_upkeep.py).
Measured against the others: `always` makes a write cost 0.84 ms instead of 0.24 on a fast disk and ends the
server when the disk is full; `everysec` holds back writes that it has answered while an fsync runs, so that
a kill -9 can lose them. With `no` every answer is given after its write has reached the kernel: a killed
process or container loses nothing, a power cut the last second.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from shared.errors import BootError
from shared.settings import Settings

#: Programs that serve; the first one found is used.
PROGRAMS = ("redis-server", "valkey-server")
#: A unix socket only, append-only, never evicting. 64 MB hold thousands of jobs: a document takes about 1 KB, a batch's
#: state some 100 bytes. There are no replicas for a stopping Redis to wait for.
CONFIGURATION = """\
port 0
unixsocket {socket}
unixsocketperm 700
daemonize no
supervised no
logfile ""
always-show-logo no
loglevel {level}
databases 1
dir {folder}
save ""
appendonly yes
appendfsync no
aof-load-truncated yes
aof-use-rdb-preamble yes
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 4mb
maxmemory 64mb
maxmemory-policy noeviction
shutdown-timeout 1
oom-score-adj no
"""


def redis_program() -> str:
    """Find the server's program; raises BootError if there is none."""
    for name in PROGRAMS:
        if path := shutil.which(name):
            return path
    raise BootError(
        "redis-server is missing: install it (Debian, Ubuntu: apt-get install redis-server), "
        "or set REDIS_URL to a remote Redis."
    )


def write_redis_config(settings: Settings) -> Path:
    """Write the configuration file, which supervisord.conf names; return its path."""
    path = settings.run_dir / "redis.conf"
    path.write_text(redis_config(settings), encoding="utf-8")
    return path


def redis_config(settings: Settings) -> str:
    """Return the configuration's text."""
    level = "notice" if settings.log_level == "DEBUG" else "warning"
    socket, folder = _quoted(settings.redis_socket), _quoted(settings.redis_dir)
    return CONFIGURATION.format(socket=socket, folder=folder, level=level)


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
