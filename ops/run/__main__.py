"""`python -m ops.run`: checks everything, prepares DATA_DIR, and becomes supervisord."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import replace

from ops.run.append_only_file import mend_append_only_file
from ops.run.data_dir import empty_folder, ensure_host_name, ensure_keys, make_folders
from ops.run.file_limit import raise_file_limit
from ops.run.lock import await_orphaned_redis, hold_lock
from ops.run.memory_limit import decide_memory_limit
from ops.run.model_activation import activate_models, tell_nobody
from ops.run.model_check import check_models, require_ready_models
from ops.run.plain_user import become_plain_user
from ops.run.ports import check_ports
from ops.run.process_limit import check_process_limit
from ops.run.program_environment import program_environment, supervisord_environment
from ops.run.sizing import shortcomings, size, usable_cpus
from ops.run.starting import start_answering
from shared.build import ROOT
from shared.cgroup import find_cgroup
from shared.errors import ShapboxError
from shared.log import configure_logging
from shared.redis.url import public_address
from shared.settings import LogFormat, Role, Settings

#: The exit code of an appliance that cannot start as it is set up: starting it again changes nothing.
CANNOT_START = 2

_log = logging.getLogger("boot")


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
        memory.check(settings)
        programs = prepare(environment, settings, memory.why, answers=not options.check)
    except ShapboxError as error:
        _tell_refusal(error)
        return CANNOT_START
    if not options.check:
        become_supervisord(settings, programs)
    _log.info("Shapbox can start here.")
    return 0


def prepare(
    environment: Mapping[str, str], settings: Settings, memory_why: str, *, answers: bool
) -> dict[str, str]:
    """Check and prepare everything that the programs rely on; return their environment.

    The steps are in the order in which they can fail. `answers`: clients get an answer while models are activated, but not
    earlier, so that no platform takes a start for well that is about to be refused. Raises ShapboxError with what to do.
    """
    make_folders(settings)
    hold_lock(settings.data_dir)
    if settings.embedded_redis:
        await_orphaned_redis(settings.redis_dir)
        mend_append_only_file(settings.redis_dir)
    raise_file_limit(settings)
    check_ports(settings)
    check_process_limit(settings, size(settings, usable_cpus(environment)).workers)
    if settings.redis_url is not None:
        from ops.run.remote_redis import check_redis  # noqa: PLC0415  # loads a client that no other start needs

        check_redis(settings, settings.redis_url)
    faults = check_models(settings)
    tell_step = start_answering(settings) if answers and settings.role is not Role.WORKER else tell_nobody
    activations = activate_models(settings, faults, tell_step)
    models = require_ready_models(settings, activations)
    empty_folder(settings.tmp_dir)
    settings.status_file.unlink(missing_ok=True)  # it is from the previous run
    about = {"memory_limit_because": memory_why, "models": models, "engine": activations.engine}
    return _complete(environment, settings, about)


def _complete(environment: Mapping[str, str], settings: Settings, about: dict[str, object]) -> dict[str, str]:
    """Decide what the settings leave open and log it; return the programs' environment."""
    cpus = usable_cpus(environment)
    workers, limit, why = size(settings, cpus)
    settings = replace(settings, workers=workers, worker_memory_limit_mb=limit)
    key_files, host = ensure_keys(settings), ensure_host_name(settings)
    programs = program_environment(environment, settings, key_files, host)
    Settings.from_environment(programs)  # what the programs will read must be as good as what we read
    for shortcoming in shortcomings(settings, cpus):
        _log.warning("%s", shortcoming)
    decided = {
        "role": settings.role.value,
        "host": host,
        "workers": workers,
        "workers_because": why,
        "cpus": f"{cpus.number:g}",
        "cpus_because": cpus.source,
        "memory_limit_mb": settings.memory_limit_mb,
        "worker_memory_limit_mb": limit,
        "redis": "embedded" if settings.redis_url is None else public_address(settings.redis_url),
        "storage": "local" if settings.storage_url is None else "STORAGE_URL",
        "data_dir": str(settings.data_dir.absolute()),
        "keys": " ".join(map(str, key_files.values())) or "all set",
    }
    _log.info("starting", extra={**decided, **about})
    return programs


def become_supervisord(settings: Settings, environment: Mapping[str, str]) -> None:
    """Turn this process into supervisord, which keeps the process id and the lock.

    The programs get their variables from `environment`.
    """
    words = [sys.executable, "-m", "ops.run.supervision", settings.log_format.value, settings.log_level]
    words += ["--nodaemon", "--configuration", str(ROOT / "supervisord.conf")]
    if os.geteuid() == 0:
        words += ["--user", "root"]  # said aloud, or supervisord warns
    sys.stdout.flush()
    os.chdir(ROOT)
    os.execve(words[0], words, supervisord_environment(environment))  # noqa: S606  # no shell in between


def _tell_refusal(error: ShapboxError) -> None:
    """Print on standard error why there is no start.

    The settings may be at fault, so it reads LOG_FORMAT only.
    """
    if os.environ.get("LOG_FORMAT", "").strip() == LogFormat.JSON:
        configure_logging(Settings(log_format=LogFormat.JSON), "boot", sys.stderr)
        _log.critical("Shapbox cannot start", extra={"cause": str(error)})
    else:
        print(f"Shapbox cannot start.\n{error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
