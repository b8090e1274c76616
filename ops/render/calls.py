"""Calls of Render's API: repeated where that is safe, within Render's rate limits.

A question may be repeated. An order (POST) is repeated only where it certainly was not carried out: no connection was
made, or it was refused for the rate. Otherwise its error is `uncertain`, and the order must be looked up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

#: Errors of a call of which nothing has been sent.
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
#: The longest wait between two attempts, and the longest that a rate limit may ask for, in seconds.
LONGEST_WAIT, LONGEST_LIMIT = 30.0, 120.0
#: Above this a Ratelimit-Reset is a time of day, in seconds since 1970; below it, seconds that are left.
EPOCH_FROM = 1_000_000_000
#: Characters of an error's text that are shown.
SHOWN = 300


class RenderError(Exception):
    """Render did not do what was asked.

    The message says why and what to do, and holds no secret.
    `status` is that of a refusal; 0 if Render is unreachable or broken; None where nothing was asked. `uncertain`: an
    order was sent and not answered, so that it must be looked up whether it is carried out.
    """

    def __init__(self, message: str, status: int | None = None, *, uncertain: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.uncertain = uncertain


def ignore_notice(_line: str) -> None:
    """Say nothing of a wait."""


class Calls:
    """Speaks to `address`. `notice` is told of every wait; `poll` is the first one, in seconds."""

    def __init__(
        self,
        address: str,
        key: str | None,
        poll: float,
        notice: Callable[[str], None] = ignore_notice,
        *,
        attempts: int = 6,
        seconds: float = 30.0,
    ) -> None:
        self.poll = poll
        self._waits = [min(poll * 2**attempt, LONGEST_WAIT) for attempt in range(attempts - 1)]
        self._notice = notice
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._client = httpx.Client(base_url=address, headers=headers, timeout=seconds)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str, **parameters: str | int) -> Any:
        """Ask; returns the answer's JSON."""
        return _json(self._call("GET", path, params=parameters))

    def order(self, path: str, body: Mapping[str, object] | None = None) -> Any:
        """Have something done; returns the answer's JSON, None where there is none."""
        try:
            return self._call("POST", path, order=True, json=dict(body or {})).json()
        except ValueError:
            return None

    def upload(self, path: str, fields: Mapping[str, str], name: str, content: bytes) -> Any:
        """Send a file to be looked at, which changes nothing; returns the answer's JSON."""
        return _json(self._call("POST", path, data=dict(fields), files={"file": (name, content)}))

    def _call(self, method: str, path: str, *, order: bool = False, **what: Any) -> httpx.Response:
        for wait in [*self._waits, None]:
            answer, fault = self._attempt(method, path, what)
            if answer is not None and answer.status_code < 400:
                return answer
            limited = answer is not None and answer.status_code == 429
            if answer is not None and answer.status_code < 500 and not limited:
                raise _refusal(answer)
            trouble = _trouble(answer, fault)
            if order and not limited and not isinstance(fault, NOT_SENT):
                raise RenderError(trouble, 0, uncertain=True)
            if wait is not None:
                self._pause(wait, asked_to_wait(answer.headers) if answer and limited else None, trouble)
        raise RenderError(f"{trouble}, {len(self._waits) + 1} times in a row. Try again later.", 0)

    def _attempt(
        self, method: str, path: str, what: Mapping[str, Any]
    ) -> tuple[httpx.Response | None, Exception | None]:
        """Try once; return the answer, or the fault instead of raising it.

        An error that the caller raises then has no context, which could hold the address and so a secret.
        """
        try:
            return self._client.request(method, path, **what), None
        except httpx.HTTPError as fault:
            return None, fault

    def _pause(self, wait: float, asked: float | None, trouble: str) -> None:
        wait = wait if asked is None else asked
        if wait > LONGEST_LIMIT:
            raise RenderError(f"{trouble}, and asks to wait for {wait:.0f} s. Try again then.", 0)
        self._notice(f"{trouble}; asking again in {wait:.0f} s" if wait >= 1 else trouble)
        time.sleep(wait)


def asked_to_wait(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Return the seconds of Retry-After or Ratelimit-Reset; None without either."""
    for name in ("retry-after", "ratelimit-reset", "x-ratelimit-reset"):
        try:
            seconds = _number_or_date(headers.get(name, ""))
        except ValueError:
            continue
        left = seconds - (time.time() if now is None else now) if seconds >= EPOCH_FROM else seconds
        return max(0.0, left)
    return None


def _number_or_date(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return parsedate_to_datetime(text).timestamp()


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        kind = answer.headers.get("content-type", "nothing")
    raise RenderError(f"This address is not Render's API: it sends {kind}. Is RENDER_HOST right?", 0)


def _trouble(answer: httpx.Response | None, fault: Exception | None) -> str:
    """Say what kept a call from being answered, without its address, which may hold a secret."""
    if answer is None:
        kind = "does not answer in time" if isinstance(fault, httpx.TimeoutException) else "cannot be reached"
        return f"Render {kind} ({type(fault).__name__})"
    if answer.status_code == 429:
        return "Render answers 429, too many calls"
    return f"Render answers {answer.status_code}{_said(answer)}"


def _refusal(answer: httpx.Response) -> RenderError:
    status, said = answer.status_code, _said(answer)
    messages = {
        401: f"Render does not know this RENDER_API_KEY{said}: make one in the dashboard (Account Settings, API Keys).",
        403: f"This RENDER_API_KEY may not do that{said}: take the key of somebody who may change the service.",
        404: f"Render answers 404{said}: it is not there, or this key does not see it.",
    }
    return RenderError(messages.get(status, f"Render refuses with {status}{said}."), status)


def _said(answer: httpx.Response) -> str:
    try:
        document = answer.json()
    except ValueError:
        return ""
    message = document.get("message") if isinstance(document, dict) else None
    return f" ({str(message)[:SHOWN]})" if message else ""
