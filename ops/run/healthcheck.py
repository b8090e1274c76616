"""`python -m ops.run.healthcheck`: the container's HEALTHCHECK.

It exits with 0 unless only a restart helps. It asks /healthz as any other client does. A container without an api has
no /healthz; there it reads what that would answer from: the monitor's findings.
"""

from __future__ import annotations

import os
import sys

from ops.run.local_api import ask
from ops.run.memory_limit import decide_memory_limit
from ops.run.plain_user import drop_root
from shared.appliance.status import ApplianceStatus
from shared.cgroup import find_cgroup
from shared.errors import BootError, SettingsError
from shared.settings import Role, Settings

#: Seconds that an answer may take: less than the HEALTHCHECK's own time limit, so that it can be told.
ANSWER_SECONDS = 4.0


def fault(settings: Settings) -> str | None:
    """Return what is wrong with the appliance that these settings describe, or None."""
    if settings.role is Role.WORKER:
        status = ApplianceStatus.read(settings.status_file)
        if status is None:
            return "the monitor has not reported yet"
        return "; ".join(detail for _, detail in status.needs_restart(settings.role)) or None
    code, said = ask(settings, "/healthz", ANSWER_SECONDS) or (0, "/healthz does not answer")
    return None if code == 200 else said


def main() -> int:
    """Look once, say what is wrong, and return the exit code."""
    try:
        drop_root(os.environ)
        # As boot did: Docker gives a health check the container's environment without what boot derived.
        limit = decide_memory_limit(os.environ, find_cgroup())
        found = fault(Settings.from_environment(limit.complete(os.environ)))
    except (SettingsError, BootError) as error:
        found = str(error)
    print(found or "well")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
