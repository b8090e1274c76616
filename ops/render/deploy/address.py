"""The service at its public address: which commit answers there, and how well."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass

from ops.http_call import Answer, call

#: Seconds for one answer.
ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Served:
    """The answers of an address."""

    commit: str | None
    healthy: bool
    ready: bool
    #: Models that a placeholder replaces.
    placeholders: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.commit is None:
            return "nothing of ours answers"
        health = (
            "healthy and ready"
            if self.healthy and self.ready
            else "healthy"
            if self.healthy
            else "not healthy"
        )
        return f"commit {self.commit[:7]} answers, {health}"


def look(url: str) -> Served:
    """Ask /version, /healthz and /readyz once each; never fails."""
    commit = _document(_get(f"{url}/version")).get("commit")
    healthy, ready = _get(f"{url}/healthz"), _get(f"{url}/readyz")
    return Served(
        commit if isinstance(commit, str) else None,
        healthy is not None and healthy.status == 200,
        ready is not None and ready.status == 200,
        _placeholders(_document(ready)),
    )


def await_commit(url: str, commit: str, seconds: float, poll: float) -> Served:
    """Poll until this commit answers and is ready, or the time is over; return the last answer."""
    deadline = time.monotonic() + seconds
    while True:
        served = look(url)
        if (served.commit == commit and served.ready) or time.monotonic() > deadline:
            return served
        time.sleep(poll)


def _get(url: str) -> Answer | None:
    try:
        return call(url, seconds=ANSWER_SECONDS)
    except (OSError, http.client.HTTPException):
        return None


def _document(answer: Answer | None) -> dict[str, object]:
    if answer is None:
        return {}
    try:
        document = answer.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return document if isinstance(document, dict) else {}


def _placeholders(readiness: dict[str, object]) -> tuple[str, ...]:
    probes = readiness.get("probes")
    models = probes.get("models") if isinstance(probes, dict) else None
    found = models.get("fallback") if isinstance(models, dict) else None
    return tuple(str(name) for name in found) if isinstance(found, list) else ()
