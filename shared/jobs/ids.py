"""Job ids: 12 hex digits of milliseconds, then 20 of chance. They sort by the time of their making."""

from __future__ import annotations

import re
import secrets
import time

_PATTERN = re.compile(r"[0-9a-f]{32}")


def new_job_id() -> str:
    """Return a fresh id: unique, and above all ids made in earlier milliseconds."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def is_job_id(text: str) -> bool:
    """Return whether `text` can be a job id. Nothing else ever reaches a Redis key or the object store."""
    return _PATTERN.fullmatch(text) is not None


def made_at(job_id: str) -> float:
    """Return when the id was made, in seconds since the epoch."""
    return int(job_id[:12], 16) / 1000
