"""The options of a visit: where to go, with which keys, and what to expect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ops.verify.report import CheckResult


class Progress(Protocol):
    """Is told how a visit goes, while it goes."""

    def begin(self, name: str) -> None:
        """Take note that a check begins."""

    def note(self, text: str) -> None:
        """Take note of how far the check is that runs."""

    def end(self, result: CheckResult) -> None:
        """Take note that the check has ended."""


class Silent:
    """Passes nothing on."""

    def begin(self, name: str) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def end(self, result: CheckResult) -> None:
        """Say nothing."""


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """`url` has no slash at its end. Without a key, checks that need it are skipped."""

    url: str
    api_key: str | None = field(default=None, repr=False)
    admin_api_key: str | None = field(default=None, repr=False)
    metrics_token: str | None = field(default=None, repr=False)
    #: The commit that should run there, whole or at least its first seven digits.
    expect_commit: str | None = None
    #: Minutes for which a light load is kept up and everything watched.
    soak_minutes: float = 0.0
    #: Where the models lie whose values are compared with XGBoost's own in this process.
    models_dir: Path | None = None
    #: Tells the platform's reports of failures since a time (UTC), such as Render's `server_failed` events: a sentence each.
    failed_events: Callable[[datetime], list[str]] | None = None
    progress: Progress = field(default_factory=Silent, repr=False)
    #: Seconds until /readyz must say yes and every worker be heard of: a deploy that has just gone live is settling.
    ready_seconds: float = 15.0
    #: Seconds that a small job may take. Longer than a dead worker goes unnoticed.
    answer_seconds: float = 30.0
    #: Seconds that a recycled worker may take to be followed: it finishes its batch first.
    recycle_seconds: float = 60.0

    def secrets(self) -> tuple[str, ...]:
        """Return what no report may hold."""
        return tuple(key for key in (self.api_key, self.admin_api_key, self.metrics_token) if key)
