"""Checks before the start that there can be as many processes and threads as are needed.

They are started on trial: a limit may belong to the cgroup, to the user, who may run other things, or to the machine.
"""

from __future__ import annotations

import resource
import threading

from services.api.http.concurrency_limits import WORKING_THREADS
from shared.cgroup import find_task_limit, usable_processors
from shared.errors import BootError
from shared.settings import Role, Settings

#: Processes and threads, without those of the object store's client, which has one per processor in each program: of
#: supervisord and what is started now and then, of Redis, of the monitor, of a worker, and of the api beside those that
#: answer requests.
OTHERS, REDIS, MONITOR, WORKER, API = 12, 6, 9, 4, 10
#: Bytes of a trial thread's stack.
STACK_BYTES = 64 * 1024


def needed_tasks(settings: Settings, workers: int) -> int:
    """Return how many processes and threads there may be at a time; `workers` is decided."""
    workers = 0 if settings.role is Role.API else workers
    api = 0 if settings.role is Role.WORKER else API + WORKING_THREADS + settings.max_waiting_requests
    programs = 1 + workers + bool(api)
    own = OTHERS + REDIS * settings.embedded_redis + MONITOR + WORKER * workers + api
    return own + programs * usable_processors()


def check_process_limit(settings: Settings, workers: int) -> None:
    """Raise BootError that names the limit and the remedy if too few can be started."""
    needed = needed_tasks(settings, workers)
    started = _start_threads(needed)
    if started < needed:
        raise BootError(
            f"The programs need {needed} processes and threads, and only {started} could be started. {_remedy(needed)}"
        )


def _remedy(needed: int) -> str:
    """Name the limit that is likely to be reached, and how to raise it."""
    found = find_task_limit()
    if found is not None and found.most - found.present < needed:
        return (
            f"The container may have {found.most} (pids.max of cgroup v{found.version}): allow {2 * needed} or more "
            f"(docker run --pids-limit, systemd's TasksMax, Kubernetes' podPidsLimit), or set fewer WORKERS."
        )
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft != resource.RLIM_INFINITY:
        return (
            f"The user may have {soft} (ulimit -u): allow {2 * needed} or more (docker run --ulimit nproc, systemd's "
            "LimitNPROC, /etc/security/limits.conf), or set fewer WORKERS."
        )
    return "The machine allows no more (kernel.threads-max, kernel.pid_max, or memory)."


def _start_threads(number: int) -> int:
    """Start threads, as many as there can be; end them, and return how many there were."""
    over, threads = threading.Event(), list[threading.Thread]()
    usual = threading.stack_size(STACK_BYTES)
    try:
        for _ in range(number):
            thread = threading.Thread(target=over.wait, daemon=True)
            thread.start()
            threads.append(thread)
    except RuntimeError:  # can't start new thread
        pass
    finally:
        threading.stack_size(usual)
        over.set()
    for thread in threads:
        thread.join()
    return len(threads)
