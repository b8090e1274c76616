"""How long to wait before asking again, and how often."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: Seconds between two looks, unless it is said otherwise.
POLL_SECONDS = 3.0
#: Above this a Ratelimit-Reset is a time of day, in seconds since 1970; below it, seconds that are left.
EPOCH_FROM = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds between two looks at a deploy, and the limits for a silent or slow Render."""

    poll: float = POLL_SECONDS
    #: Attempts of one call, and the longest wait between two of them.
    attempts: int = 6
    longest: float = 30.0
    #: The longest wait that a rate limit may ask for.
    longest_limit: float = 120.0
    #: Seconds that one call may take.
    call: float = 30.0
    #: Looks for an order of which no answer came.
    looks: int = 10

    def waits(self) -> Iterator[float]:
        """Give the wait after each attempt but the last: each twice the one before."""
        for attempt in range(self.attempts - 1):
            yield min(self.poll * 2**attempt, self.longest)


def asked_to_wait(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Return the seconds of Retry-After or Ratelimit-Reset; None without either."""
    now = time.time() if now is None else now
    for name in ("retry-after", "ratelimit-reset", "x-ratelimit-reset"):
        text = headers.get(name, "").strip()
        if text and (seconds := _seconds(text, now)) is not None:
            return max(0.0, seconds)
    return None


def _seconds(text: str, now: float) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return _until(text, now)
    return number - now if number >= EPOCH_FROM else number


def _until(date: str, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - datetime.fromtimestamp(
        now, UTC
    ).timestamp()
