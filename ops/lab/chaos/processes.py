"""The appliance's processes, by the names that supervisord has for them."""

from __future__ import annotations

import psutil

from ops.lab.chaos.plan import Target
from ops.lab.trial_appliance import Appliance

#: A word of the command line of each program that can be struck, besides the workers.
WORDS = {
    "redis-server": Target.REDIS.value,
    "services.api": Target.API.value,
    "services.monitor": Target.MONITOR.value,
}


def programs(appliance: Appliance) -> dict[str, psutil.Process]:
    """Return the running programs by name: redis, api, monitor, worker-1 and so on."""
    supervisord = appliance.process
    if supervisord is None or supervisord.poll() is not None:
        return {}
    found = {}
    try:
        for child in psutil.Process(supervisord.pid).children():
            if name := _name(child):
                found[name] = child
    except psutil.NoSuchProcess:
        return {}
    return found


def _name(process: psutil.Process) -> str | None:
    try:
        line = process.cmdline()
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
    except psutil.NoSuchProcess:
        return None
    if "ops.run.parent_death" in line:  # it is about to become the program
        return None
    if "services.worker" in line:
        return line[-1]
    return next((name for word, name in WORDS.items() if any(word in part for part in line)), None)
