"""The steps of a start, in the order in which they can fail."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from ops.run.folders import empty_folder, make_folders
from ops.run.host_name import ensure_host_name
from ops.run.keys import ensure_keys
from ops.run.lock import await_orphaned_redis, hold_lock
from ops.run.memory_limit import MemoryLimit
from ops.run.model_activation import activate_models
from ops.run.model_check import check_models, require_ready_models
from ops.run.ports import check_ports
from ops.run.program_environment import program_environment
from ops.run.redis_check import check_redis
from ops.run.redis_config import redis_lock_file, write_redis_config
from ops.run.sizing import Cpus, Sizing, shortcomings, size, usable_cpus
from shared.build import ROOT
from shared.redis.url import public_address
from shared.settings import Settings

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Launch:
    """Arguments of exec: the command's words and the programs' environment."""

    command: tuple[str, ...]
    environment: dict[str, str]


def prepare(environment: Mapping[str, str], settings: Settings, memory: MemoryLimit) -> Launch:
    """Check and prepare everything that supervisord's programs rely on.

    Raises ShapboxError (BootError, SettingsError, ModelFaultError, …) with what to do.
    """
    memory.check(settings)
    make_folders(settings)
    hold_lock(settings.data_dir)
    if settings.embedded_redis:
        await_orphaned_redis(redis_lock_file(settings))
        write_redis_config(settings)
    check_ports(settings)
    check_redis(settings, environment)
    activations = activate_models(settings, check_models(settings))
    models = require_ready_models(settings, activations)
    empty_folder(settings.tmp_dir)
    settings.status_file.unlink(missing_ok=True)  # it is from the previous run
    key_files = ensure_keys(settings)
    cpus = usable_cpus(environment)
    sizing = size(settings, cpus)
    host = ensure_host_name(settings)
    for_programs = program_environment(environment, settings, key_files, sizing, host)
    Settings.from_environment(for_programs)  # what the programs will read must be as good as what we read
    for shortcoming in shortcomings(settings, cpus, sizing):
        _log.warning("%s", shortcoming)
    what = {
        "role": settings.role.value,
        "host": host,
        **_decided(settings, sizing, cpus, memory),
        "models": models,
        "engine": activations.engine,
    }
    where = {
        "data_dir": str(settings.data_dir.absolute()),
        "keys": " ".join(str(path) for path in key_files.values()) or "all set",
    }
    _log.info("starting", extra={**what, **where})
    return Launch(_command(settings), for_programs)


def _decided(settings: Settings, sizing: Sizing, cpus: Cpus, memory: MemoryLimit) -> dict[str, object]:
    """Return what boot decided, each with its reason, for its one log line."""
    return {
        "workers": sizing.workers,
        "workers_because": sizing.why,
        "cpus": f"{cpus.count:g}",
        "cpus_because": cpus.source,
        "memory_limit_mb": settings.memory_limit_mb,
        "memory_limit_because": memory.why,
        "worker_memory_limit_mb": sizing.worker_memory_limit_mb,
        "redis": "embedded" if settings.redis_url is None else public_address(settings.redis_url),
        "storage": "local" if settings.storage_url is None else "STORAGE_URL",
    }


def become(launch: Launch) -> None:
    """Turn this process into supervisord: it keeps the process id and the lock."""
    sys.stdout.flush()
    os.chdir(ROOT)
    os.execve(launch.command[0], launch.command, launch.environment)  # noqa: S606  # no shell in between


def _command(settings: Settings) -> tuple[str, ...]:
    words = [sys.executable, "-m", "ops.run.supervision", settings.log_format.value, settings.log_level]
    words += ["--nodaemon", "--configuration", str(ROOT / "supervisord.conf")]
    if os.geteuid() == 0:
        words += ["--user", "root"]  # said aloud, or supervisord warns
    return tuple(words)
