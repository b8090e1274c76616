"""One visit to one appliance: its options, and the state that its checks share."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ops.verify.appliance import Appliance
from ops.verify.jobs import Jobs
from ops.verify.report import NotCheckedError
from ops.verify.values import Expectation, local_versions
from ops.verify.watch import Seen, watched
from shared.models.contract import Contract

#: Seconds between two looks at what should be over soon.
LOOK_SECONDS = 0.5


def ignore_progress(_text: str) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class VerifyOptions:
    """`url` has no slash at its end. Without a key, checks that need it are skipped."""

    url: str
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: The commit that should run there, whole or at least its first seven digits.
    expect_commit: str | None = None
    #: Minutes for which a light load is kept up and everything watched.
    soak_minutes: float = 0.0
    #: Where the models lie whose values are compared with XGBoost's own in this process.
    models_dir: Path | None = None
    #: Tells the platform's reports of failures since a time (UTC), such as Render's `server_failed` events: a sentence each.
    failed_events: Callable[[datetime], list[str]] | None = None
    #: Is told how far the visit is.
    progress: Callable[[str], None] = field(default=ignore_progress, repr=False)
    #: Seconds until /readyz must say yes and every worker be heard of: a deploy that has just gone live is settling.
    ready_seconds: float = 15.0
    #: Seconds that a small job may take. Longer than a dead worker goes unnoticed.
    answer_seconds: float = 30.0
    #: Seconds that a recycled worker may take to be followed: it finishes its batch first.
    recycle_seconds: float = 60.0


class Visit:
    """A visit."""

    def __init__(self, options: VerifyOptions) -> None:
        self.options = options
        self.started_at = datetime.now(UTC)
        self.appliance = Appliance(options.url, options.keys)
        self.jobs = Jobs(self.appliance, options.answer_seconds)
        self.seen = Seen()
        self.watching = ExitStack()
        #: The models that are served, and those of them that have shown that they answer exactly.
        self.served: list[Contract] = []
        self.sound: list[Contract] = []
        self._copies = local_versions(options.models_dir)

    def watch(self) -> None:
        """Watch the metrics until `watching` is closed."""
        self.watching.enter_context(watched(self.appliance, self.seen))

    def until_none[T](self, find: Callable[[], list[T]]) -> list[T]:
        """Look for faults until there are none; return those that are left after `ready_seconds`."""
        deadline = time.monotonic() + self.options.ready_seconds
        while (found := find()) and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        return found

    def expect(self, model: Contract, rows: int) -> Expectation:
        """Make rows for a model, and say what their values must be."""
        return Expectation.of(model, self._copies, rows)

    def expect_of_sound(self, rows: int) -> list[Expectation]:
        """Make rows for each model that has answered exactly. Raises NotCheckedError if none has."""
        if not self.sound:
            raise NotCheckedError("not checked because no model answers exactly.")
        return [self.expect(model, rows) for model in self.sound]

    def end(self) -> None:
        """Leave nothing behind, however the visit ends."""
        self.watching.close()
        self.jobs.clear()
