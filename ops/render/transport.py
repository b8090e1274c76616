"""Calls of Render's API: repeated where that is safe, within Render's rate limits.

A question may be repeated. An order (POST) is repeated only where it certainly was not carried out: no connection was
made, or it was refused for the rate. Otherwise UncertainError says that it must be looked up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from ops.render.errors import (
    KeyRefusedError,
    NoAnswerError,
    NotThereError,
    RefusedError,
    RenderError,
    UncertainError,
)
from ops.render.patience import Patience, asked_to_wait

#: Where Render's API is. RENDER_HOST overrides it, as it does for Render's own command line.
API_ADDRESS = "https://api.render.com/v1"
#: Errors of a call of which nothing has been sent.
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
#: Characters of an error's text that are shown.
SHOWN = 300


class Transport:
    """Speaks to `address` with a key. `notice` is told of every wait that is worth telling."""

    def __init__(
        self, address: str, key: str, patience: Patience, notice: Callable[[str], None] = lambda _line: None
    ) -> None:
        self.patience = patience
        self._notice = notice
        self._client = httpx.Client(
            base_url=address.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}", "Accept": "application/json"},
            timeout=patience.call,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str, parameters: Mapping[str, str | int] | None = None) -> Any:
        """Ask; returns the answer's JSON."""
        return _json(self._call("GET", path, order=False, params=dict(parameters or {})))

    def order(self, path: str, body: Mapping[str, object] | None = None) -> tuple[int, Any]:
        """Have something done; returns the status and the answer's JSON, None where there is none.

        Raises UncertainError if it may have been done without our having been told.
        """
        answer = self._call("POST", path, order=True, json=dict(body or {}))
        try:
            return answer.status_code, answer.json()
        except ValueError:
            return answer.status_code, None

    def upload(self, path: str, fields: Mapping[str, str], name: str, content: bytes) -> Any:
        """Send a file to be looked at, which changes nothing; returns the answer's JSON."""
        sent = {"data": dict(fields), "files": {"file": (name, content)}}
        return _json(self._call("POST", path, order=False, **sent))

    def _call(self, method: str, path: str, *, order: bool, **what: Any) -> httpx.Response:
        waits = self.patience.waits()
        while True:
            answer, fault = self._attempt(method, path, what)
            if answer is not None and answer.status_code < 400:
                return answer
            if answer is not None and answer.status_code < 500 and answer.status_code != 429:
                raise _refusal(answer)
            limited = answer is not None and answer.status_code == 429
            trouble = _trouble(answer, fault)
            if order and not limited and not isinstance(fault, NOT_SENT):
                raise UncertainError(trouble)
            wait = next(waits, None)
            if wait is None:
                raise NoAnswerError(f"{trouble}, {self.patience.attempts} times in a row. Try again later.")
            self._pause(wait, answer if limited else None, trouble)

    def _attempt(
        self, method: str, path: str, what: Mapping[str, Any]
    ) -> tuple[httpx.Response | None, Exception | None]:
        try:
            return self._client.request(method, path.lstrip("/"), **what), None
        except httpx.HTTPError as fault:
            return None, fault

    def _pause(self, wait: float, limited: httpx.Response | None, trouble: str) -> None:
        asked = asked_to_wait(limited.headers) if limited is not None else None
        wait = wait if asked is None else asked
        if wait > self.patience.longest_limit:
            raise NoAnswerError(f"{trouble}, and asks to wait for {wait:.0f} s. Try again then.")
        self._notice(f"{trouble}; asking again in {wait:.0f} s" if wait >= 1 else trouble)
        time.sleep(wait)


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        kind = answer.headers.get("content-type", "nothing")
        raise NoAnswerError(
            f"This address is not Render's API: it sends {kind}. Is RENDER_HOST right?"
        ) from None


def _trouble(answer: httpx.Response | None, fault: Exception | None) -> str:
    """Say what kept a call from being answered, without its address, which may hold a secret."""
    if answer is None:
        kind = "does not answer in time" if isinstance(fault, httpx.TimeoutException) else "cannot be reached"
        return f"Render {kind} ({type(fault).__name__})"
    if answer.status_code == 429:
        return "Render answers 429, too many calls"
    return f"Render answers {answer.status_code}{_said(answer)}"


def _refusal(answer: httpx.Response) -> RenderError:
    """Return the error that a refusal is."""
    said = _said(answer)
    if answer.status_code == 401:
        return KeyRefusedError(
            f"Render does not know this RENDER_API_KEY{said}: make one in the dashboard (Account Settings, API Keys)."
        )
    if answer.status_code == 403:
        return KeyRefusedError(
            f"This RENDER_API_KEY may not do that{said}: take the key of somebody who may change the service."
        )
    if answer.status_code == 404:
        return NotThereError(f"Render answers 404{said}: it is not there, or this key does not see it.")
    return RefusedError(f"Render refuses with {answer.status_code}{said}.")


def _said(answer: httpx.Response) -> str:
    try:
        document = answer.json()
    except ValueError:
        return ""
    message = document.get("message") if isinstance(document, dict) else None
    return f" ({str(message)[:SHOWN]})" if message else ""
