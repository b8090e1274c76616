"""The environment of supervisord's programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ops.run.embedded_redis import redis_config_file, redis_lock_file, redis_program
from ops.run.parent_death import SUPERVISOR_PID
from ops.run.sizing import Sizing
from shared.appliance.program_start import HOST_NAME_NAME, START_SECONDS_NAME
from shared.settings import Role, Settings
from shared.timing import TIMING

#: Tells glibc to give free memory at a heap's end back from so many bytes on. More important: once it is set,
#: glibc no longer lets large blocks (from 128 kB on) into its heaps after the first was freed. Each stays mapped by
#: itself and is gone when it is freed; in a heap, threads keep tens of MB. Two heaps instead of sixteen, and no cache
#: of freed blocks for each thread: the api's 48 threads otherwise scatter and keep small blocks, more of them for
#: hours. docs/benchmarks.md has the figures.
GIVE_BACK = {
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "MALLOC_ARENA_MAX": "2",
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",
}


def program_environment(
    environment: Mapping[str, str],
    settings: Settings,
    key_files: Mapping[str, Path],
    sizing: Sizing,
    host: str,
) -> dict[str, str]:
    """Return supervisord's environment.

    It has the settings that boot decided, and the variables that supervisord.conf reads. Paths are absolute, since
    supervisord runs its programs in the repository's folder. A key that boot made is passed on as the name of its file.
    `host` is the appliance's name.
    """
    decided = {
        "DATA_DIR": str(settings.data_dir.absolute()),
        "MODELS_DIR": str(settings.models_dir.absolute()),
        "WORKERS": str(sizing.workers),
        "MEMORY_LIMIT_MB": str(settings.memory_limit_mb),
        "WORKER_MEMORY_LIMIT_MB": str(sizing.worker_memory_limit_mb),
    }
    # A setting is given once: by its name or by its file. Where boot made a key, its name is there and empty.
    replaced = {*(f"{name}_FILE" for name in decided), *key_files}
    return {
        **GIVE_BACK,  # a person may set it otherwise
        **{name: value for name, value in environment.items() if name not in replaced},
        **{f"{name}_FILE": str(path) for name, path in key_files.items()},
        **decided,
        "TMPDIR": str(settings.tmp_dir),
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",  # a segfault in native code says in the log where Python was
        HOST_NAME_NAME: host,
        SUPERVISOR_PID: str(os.getpid()),
        START_SECONDS_NAME: str(int(TIMING.program_start_seconds)),
        "SHAPBOX_PYTHON": sys.executable,
        "SHAPBOX_RUN_DIR": str(settings.run_dir),
        "SHAPBOX_REDIS": redis_program() if settings.embedded_redis else "redis-server",
        "SHAPBOX_REDIS_CONFIG": str(redis_config_file(settings)),
        "SHAPBOX_REDIS_LOCK": str(redis_lock_file(settings)),
        "SHAPBOX_START_REDIS": str(settings.embedded_redis).lower(),
        "SHAPBOX_START_API": str(settings.role is not Role.WORKER).lower(),
        "SHAPBOX_START_WORKERS": str(settings.role is not Role.API).lower(),
    }
