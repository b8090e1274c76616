"""The appliance that is visited: calls with the right key, and how it answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.http_call import Answer, call
from ops.verify.options import VerifyOptions
from ops.verify.outcome import FailedError, NotCheckedError
from ops.verify.scrape import Scrape

#: The keys that open each kind of address, the best first.
JOBS_KEYS, METRICS_KEYS, ADMIN_KEYS = (
    ("API_KEY", "ADMIN_API_KEY"),
    ("METRICS_TOKEN", "ADMIN_API_KEY"),
    ("ADMIN_API_KEY",),
)
#: Seconds that a call may take that waits for nothing.
CALL_SECONDS = 15.0
#: Characters of an answer that are quoted.
QUOTED = 200


class Target:
    """Calls raise what ops.verify.outcome.NO_ANSWER lists where there is no answer."""

    def __init__(self, options: VerifyOptions) -> None:
        self.url = options.url
        self._keys = {
            "API_KEY": options.api_key,
            "ADMIN_API_KEY": options.admin_api_key,
            "METRICS_TOKEN": options.metrics_token,
        }

    def key(self, name: str) -> str | None:
        """Return a key by its setting's name; None if it was not given."""
        return self._keys[name]

    def given(self, names: tuple[str, ...]) -> str | None:
        """Return the first of these keys that was given."""
        return next((name for name in names if self._keys[name]), None)

    def take(self, names: tuple[str, ...]) -> str:
        """Return the first of these keys that was given. Raises NotCheckedError if none was."""
        if name := self.given(names):
            return name
        raise NotCheckedError("not checked: it takes a key.", f"Set {' or '.join(names)}.")

    def get(self, path: str, key: str | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Get a path with the key of that name."""
        return self.call("GET", path, key, headers=headers)

    def call(
        self,
        method: str,
        path: str,
        key: str | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = CALL_SECONDS,
    ) -> Answer:
        """Make one call with the key of that name."""
        sent = dict(headers or {})
        if key is not None:
            sent["Authorization"] = f"Bearer {self._keys[key]}"
        return call(self.url + path, method, sent, body, seconds)

    def scrape(self) -> Scrape:
        """Read the metrics. Raises FailedError if they cannot be read or parsed."""
        answer = self.get("/metrics", self.take(METRICS_KEYS))
        if answer.status != 200:
            raise FailedError(
                f"/metrics answers {said(answer)}.",
                "The monitor makes them: see its lines in the appliance's log.",
            )
        return Scrape.of(answer.body)


def said(answer: Answer) -> str:
    """Quote an answer: its status, and a problem's own words or the start of its body."""
    document = json_or_none(answer)
    if isinstance(document, dict) and "detail" in document:
        return f"{answer.status}: {document['detail']}".rstrip(".")
    text = " ".join(answer.body[:QUOTED].decode("utf-8", "replace").split())
    return f"{answer.status}: {text}" if text else str(answer.status)


def json_or_none(answer: Answer) -> Any:
    """Return the body's JSON, or None if it is not JSON."""
    try:
        return answer.json()
    except ValueError:
        return None
