"""State that the checks of one visit share."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from ops.verify.jobs import Jobs
from ops.verify.options import VerifyOptions
from ops.verify.served import LocalModels, ServedModel
from ops.verify.target import Target
from ops.verify.watch import Watch


@dataclass(slots=True)
class Visit:
    """One visit to one appliance."""

    options: VerifyOptions
    target: Target
    jobs: Jobs
    local: LocalModels
    watch: Watch
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    #: The models that are served, and those of them that have shown that they answer exactly.
    served: list[ServedModel] = field(default_factory=list)
    sound: list[ServedModel] = field(default_factory=list)

    @classmethod
    def to(cls, options: VerifyOptions) -> Self:
        """Begin a visit."""
        target = Target(options)
        return cls(options, target, Jobs(target), LocalModels(options.models_dir), Watch(target))

    def end(self) -> None:
        """Leave nothing behind, however the visit ends."""
        self.watch.stop()
        self.jobs.clear()
