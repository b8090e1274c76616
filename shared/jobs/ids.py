"""Job ids: 12 hex digits of milliseconds and 20 random ones. They sort by time."""

from __future__ import annotations

import re
import secrets
import time

_PATTERN = re.compile(r"[0-9a-f]{32}")


def new_job_id() -> str:
    """Return a unique id, greater than those of earlier milliseconds."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def is_job_id(text: str) -> bool:
    """Return whether `text` can be a job id. No other text reaches Redis or the store."""
    return _PATTERN.fullmatch(text) is not None


def made_at(job_id: str) -> float:
    """Return when an id was made (Unix time). Other text may follow the id."""
    return int(job_id[:12], 16) / 1000
