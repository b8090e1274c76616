"""The environment of supervisord's programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ops.run.parent_death import SUPERVISOR_PID
from ops.run.redis_program import redis_program
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
#: The settings that boot completes. Folders are absolute: supervisord runs its programs in the repository's folder.
DECIDED = ("DATA_DIR", "MODELS_DIR", "WORKERS", "MEMORY_LIMIT_MB", "WORKER_MEMORY_LIMIT_MB")


def program_environment(
    environment: Mapping[str, str], settings: Settings, key_files: Mapping[str, Path], host: str
) -> dict[str, str]:
    """Return supervisord's environment: the completed settings, and its own variables.

    A key that boot made is passed on as the name of its file. `host` is the appliance's name.
    """
    values = {name: getattr(settings, name.lower()) for name in DECIDED}
    decided = {name: str(one.absolute() if isinstance(one, Path) else one) for name, one in values.items()}
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
        **_supervisord_variables(settings),
    }


def _supervisord_variables(settings: Settings) -> dict[str, str]:
    """Return what supervisord.conf reads. Raises BootError without a Redis that is needed."""
    starts = {
        "REDIS": settings.embedded_redis,
        "API": settings.role is not Role.WORKER,
        "WORKERS": settings.role is not Role.API,
    }
    return {
        "SHAPBOX_PYTHON": sys.executable,
        "SHAPBOX_RUN_DIR": str(settings.run_dir),
        "SHAPBOX_REDIS": redis_program() if settings.embedded_redis else "",
        "SHAPBOX_REDIS_LOG_LEVEL": "notice" if settings.log_level == "DEBUG" else "warning",
        **{f"SHAPBOX_START_{name}": str(start).lower() for name, start in starts.items()},
    }
