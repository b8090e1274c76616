"""Repeats requests that got no response, or one that says "not now"."""

from __future__ import annotations

import contextlib
import logging
import math
import random
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from shapbox.errors import CertificateError, NoAnswerError, RefusedError
from shapbox.exchange import Request, Response

T = TypeVar("T")

#: Responses that say "not now" and changed nothing, those of a proxy that cannot reach the appliance, and that a broken
#: download cannot be continued.
NOT_NOW = frozenset({416, 429, 502, 503, 504, 507})
#: Seconds until a request is sent again, if the response does not say: at first, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0

_log = logging.getLogger("shapbox")


@dataclass(frozen=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


#: A generator that yields requests and pauses, is sent responses, and returns a value.
Flow = Generator["Request | Pause", Any, T]


def retry_after(answer: Response, default: float) -> float:
    """Return the seconds after which an appliance wants to be asked again."""
    with contextlib.suppress(ValueError):  # a proxy may send a date
        return max(0.0, float(answer.headers.get("retry-after", default)))
    return default


class Repeats:
    """Repetitions for `patience` seconds, but not after `until` on the monotonic clock."""

    def __init__(self, patience: float, until: float = math.inf) -> None:
        self._end = time.monotonic() + patience
        self._until = until
        self._delay = _FIRST_PAUSE

    def ask(self, request: Request) -> Flow[Response]:
        """Send a request until there is a response that counts."""
        while True:
            answer: Response | NoAnswerError = yield request
            if isinstance(answer, Response) and 200 <= answer.status < 300:
                return answer
            yield self.pause(answer)

    def pause(self, answer: Response | NoAnswerError) -> Pause:
        """Return the pause after a failed request.

        Raises RefusedError or NoAnswerError if it is final, and TimeoutError after `until`.
        """
        fault: NoAnswerError | RefusedError
        delay, final = self._delay, False
        if isinstance(answer, NoAnswerError):
            fault, final = answer, isinstance(answer, CertificateError)
        else:
            fault, final = RefusedError.of(answer), answer.status not in NOT_NOW
            delay = retry_after(answer, delay)
        now = time.monotonic()
        if final or now + delay > self._end:
            raise fault
        if now >= self._until:
            raise TimeoutError(str(fault)) from fault
        _log.warning("%s; trying again in %.1f s", fault, delay)
        self._delay = min(2 * self._delay, _LONGEST_PAUSE)
        spread = random.uniform(1, 1.2)  # noqa: S311  # so that clients do not come all at once
        return Pause(min(delay * spread, self._until - now))
