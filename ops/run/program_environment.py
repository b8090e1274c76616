"""The environment of supervisord's programs, without keys that a program does not read."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from ops.run.parent_death import SUPERVISOR_PID
from ops.run.redis_program import redis_program
from shared.appliance.program_start import HOST_NAME_NAME, START_SECONDS_NAME
from shared.child_environment import COMMON
from shared.settings import KEY_NAMES, SETTING_NAMES, Role, Settings
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
#: Names the descriptor of the file with the programs' environment.
PASSED_ON = "SHAPBOX_ENVIRONMENT"
#: The settings that boot completes. Folders are absolute: supervisord runs its programs in the repository's folder.
DECIDED = ("DATA_DIR", "MODELS_DIR", "WORKERS", "MEMORY_LIMIT_MB", "WORKER_MEMORY_LIMIT_MB")
#: The beginnings of variables that every program gets: of the system and its libraries, and our own.
EVERYWHERE = (*COMMON, "MALLOC_", "OMP_", "MKL_", "RENDER_GIT_COMMIT", "SHAPBOX_", "SUPERVISOR_")
#: The key of the client, which a person's shell may hold.
CLIENT_KEY = "SHAPBOX_API_KEY"
#: The beginnings of variables that lead to an object store: keys, proxies (in capitals or not) and certificates.
STORE = ("AWS_", "AZURE_", "GOOGLE_", "SERVICE_ACCOUNT", "IDENTITY_", "SSL_CERT_")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
#: Settings that are secrets, or addresses that may hold one.
SECRETS = frozenset({*KEY_NAMES, "REDIS_URL", "STORAGE_URL"})
#: The settings that a program reads, by its name in supervisord.conf. The others read none.
SETTINGS_READ = {
    "supervisord": frozenset({"WORKERS"}),
    "api": frozenset(SETTING_NAMES),
    "monitor": frozenset(SETTING_NAMES) - {*KEY_NAMES},
    "worker": frozenset(SETTING_NAMES) - {*KEY_NAMES},
    "announce": frozenset(SETTING_NAMES) - SECRETS - {"ROLE"},  # which would ask for the addresses
}
#: The programs that use the object store.
STORING = frozenset({"api", "monitor", "worker"})


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


def needed_by(program: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for a program of supervisord.conf, or for supervisord itself."""
    read = SETTINGS_READ.get(program, frozenset())
    names = {*read, *(f"{name}_FILE" for name in read)}
    if program == "announce":
        names.add("API_KEY_FILE")  # it prints the file's name

    def is_needed(name: str) -> bool:
        stored = program in STORING and (name.startswith(STORE) or name.upper() in PROXIES)
        return name in names or stored or (name.startswith(EVERYWHERE) and name != CLIENT_KEY)

    return {name: value for name, value in environment.items() if is_needed(name)}


def supervisord_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return supervisord's own environment, which leads it to that of its programs.

    supervisord's own can be read in /proc, and the programs would inherit it. Theirs is in a file in memory, which the
    process that becomes supervisord passes on.
    """
    descriptor = os.memfd_create("environment", 0)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(json.dumps(dict(environment)).encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return {**needed_by("supervisord", environment), PASSED_ON: str(descriptor)}


def passed_on() -> dict[str, str]:
    """Read that file, which is gone afterwards; the environment is empty without one."""
    descriptor = os.environ.pop(PASSED_ON, None)
    if descriptor is None:
        return {}
    with os.fdopen(int(descriptor), "rb") as file:
        return dict(json.load(file))


def _supervisord_variables(settings: Settings) -> dict[str, str]:
    """Return what supervisord.conf reads. Raises BootError without a Redis that is needed."""
    starts = {
        "REDIS": settings.embedded_redis,
        "API": settings.role is not Role.WORKER,
        "WORKERS": settings.role is not Role.API,
    }
    return {
        "SHAPBOX_PYTHON": shlex.quote(sys.executable),  # supervisord takes commands apart as a shell does
        "SHAPBOX_RUN_DIR": str(settings.run_dir),
        "SHAPBOX_REDIS": shlex.quote(redis_program()) if settings.embedded_redis else "",
        "SHAPBOX_REDIS_LOG_LEVEL": "notice" if settings.log_level == "DEBUG" else "warning",
        **{f"SHAPBOX_START_{name}": str(start).lower() for name, start in starts.items()},
    }
