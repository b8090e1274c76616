"""Calls of Render's API: with a deadline, repeated where that is safe, at its rate limits.

A question may be repeated. An order (POST) is repeated only where it certainly was not carried out: no connection was
made, or it was refused for the rate. Otherwise its error is `uncertain`, and the order must be looked up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from shared.deadline import within

#: Errors of a call of which nothing has been sent.
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
#: The longest wait between two attempts, and the longest that a rate limit may ask for, in seconds.
LONGEST_WAIT, LONGEST_LIMIT = 30.0, 120.0
#: Above this a Ratelimit-Reset is a time, in seconds since 1970; below it, seconds that are left.
EPOCH_FROM = 1_000_000_000
#: Characters of an error's text that are shown.
SHOWN = 300
REFUSALS = {
    401: "Render does not know this key{said}: make one in the dashboard (Account Settings, API Keys).",
    403: "This key may not do that{said}: take the key of somebody who may change the service.",
    404: "Render answers 404{said}: it does not exist, or this key does not see it.",
}


class RenderError(Exception):
    """Render did not do what was asked: why and what to do. The message holds no secret.

    `status` is that of a refusal; 0 if Render is unreachable or broken; None where nothing was asked. `uncertain`: an
    order was sent and not answered, so it must be looked up whether it is carried out.
    """

    def __init__(self, message: str, status: int | None = None, *, uncertain: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.uncertain = uncertain


class Calls:
    """Speaks to `address`. `notice` is told of every wait; `poll` is the first one, in seconds.

    Each attempt has `seconds` for all of it, from the name server's answer to the last byte.
    """

    def __init__(
        self,
        address: str,
        key: str | None,
        poll: float,
        notice: Callable[[str], object],
        *,
        attempts: int = 6,
        seconds: float = 30.0,
    ) -> None:
        self._waits = [min(poll * 2**attempt, LONGEST_WAIT) for attempt in range(attempts - 1)]
        self._notice, self._seconds = notice, seconds
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._client = httpx.Client(
            base_url=address, headers=headers, timeout=httpx.Timeout(seconds, connect=seconds / 3)
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, method: str, path: str, **what: Any) -> Any:
        """Ask something that changes nothing; returns the answer's JSON."""
        answer = self._call(method, path, **what)
        try:
            return answer.json()
        except ValueError:
            kind = answer.headers.get("content-type", "nothing")
        raise RenderError(f"This address is not Render's API: it sends {kind}. Is RENDER_HOST right?", 0)

    def order(self, path: str, body: Mapping[str, object] | None = None) -> Any:
        """Have something done; returns the answer's JSON, None where there is none."""
        try:
            return self._call("POST", path, order=True, json=dict(body or {})).json()
        except ValueError:
            return None

    def _call(self, method: str, path: str, *, order: bool = False, **what: Any) -> httpx.Response:
        for wait in [*self._waits, None]:
            asked: float | None = None
            try:
                answer = within(self._seconds, lambda: self._client.request(method, path, **what))
            except (TimeoutError, httpx.HTTPError) as fault:
                # Its text is not shown: the address may hold a secret.
                is_late = isinstance(fault, TimeoutError | httpx.TimeoutException)
                kind = (
                    f"does not answer in time, {self._seconds:g} s at most"
                    if is_late
                    else "cannot be reached"
                )
                trouble, unheard = f"Render {kind} ({type(fault).__name__})", isinstance(fault, NOT_SENT)
            else:
                status, said = answer.status_code, _said(answer)
                if status < 400:
                    return answer
                trouble, unheard, asked = (
                    f"Render answers {status}{said}",
                    status == 429,
                    asked_to_wait(answer.headers),
                )
                if status < 500 and not unheard:
                    refusal = REFUSALS.get(status, "Render refuses with {status}{said}.")
                    raise RenderError(refusal.format(status=status, said=said), status)
            if order and not unheard:
                raise RenderError(trouble, 0, uncertain=True)
            if wait is not None:
                self._pause(wait if asked is None else asked, trouble)
        raise RenderError(f"{trouble}, {len(self._waits) + 1} times in a row. Try again later.", 0)

    def _pause(self, wait: float, trouble: str) -> None:
        if wait > LONGEST_LIMIT:
            raise RenderError(f"{trouble}, and asks to wait for {wait:.0f} s. Try again then.", 0)
        self._notice(f"{trouble}; asking again in {wait:.0f} s" if wait >= 1 else trouble)
        time.sleep(wait)


def asked_to_wait(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Return the seconds of Retry-After or Ratelimit-Reset; None without either."""
    for name in ("retry-after", "ratelimit-reset"):
        try:
            seconds = float(headers.get(name, ""))
        except ValueError:
            continue
        return max(0.0, seconds - (now or time.time()) if seconds >= EPOCH_FROM else seconds)
    return None


def _said(answer: httpx.Response) -> str:
    try:
        document = answer.json()
    except ValueError:
        return ""
    message = document.get("message") if isinstance(document, dict) else None
    return f" ({str(message)[:SHOWN]})" if message else ""
