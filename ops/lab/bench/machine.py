"""The machine that a figure was measured on, in a line."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
from pathlib import Path

from shared.engines.lean_xgboost import import_xgboost


def machine_line() -> str:
    """Return processor, cores, versions, the day, and the load at the beginning."""
    day = dt.datetime.now(tz=dt.UTC).date()
    return (
        f"{day}, {_processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the beginning, "
        f"Python {platform.python_version()}, XGBoost {import_xgboost().__version__}."
    )


def _processor() -> str:
    found = re.search(
        r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE
    )
    return found.group(1) if found else platform.machine()
