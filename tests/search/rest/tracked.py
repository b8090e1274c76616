"""The facts that must hold of one job after any fault of the appliance."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from ops.lab.rows import PlannedJob
from shared.jobs.document import Status
from shared.jobs.recovery import MAX_DEATHS

#: The order in which a job takes its states.
RANKS = {Status.QUEUED: 0, Status.RUNNING: 1}
#: Fields that never change, and those that change once, from null.
FIXED = ("id", "model", "method", "rows", "created_at", "links")
SET_ONCE = ("started_at", "finished_at", "error")

type Document = dict[str, Any]


class Presence(Enum):
    """Whether the job exists."""

    THERE = auto()
    GONE = auto()
    #: A DELETE found it active, or ended: it was cancelled, or deleted.
    OPEN = auto()


@dataclass(slots=True)
class Tracked:
    """One accepted job: what was sent, and all that its documents have said."""

    planned: PlannedJob
    id: str
    presence: Presence = Presence.THERE
    #: Whether the client has asked to cancel or delete it while it was active.
    may_be_cancelled: bool = False
    #: Whether a DELETE has taken effect: it is not active any more.
    ended_by_client: bool = False
    #: Workers that were killed since it was accepted.
    deaths: int = 0
    last: Document = field(default_factory=dict)

    @property
    def shape(self) -> tuple[str, str, int]:
        """The part of the request that identifies a job of which no answer told the id."""
        return shape_of(self.planned)

    @property
    def status(self) -> Status | None:
        """The last status that was seen."""
        return Status(self.last["status"]) if self.last else None

    @property
    def has_ended(self) -> bool:
        """Whether a document has said so."""
        return self.status is not None and self.status.ended

    def found(self, document: Document) -> None:
        """Check a document of the job against all earlier ones."""
        assert self.presence is not Presence.GONE, f"a deleted job is back: {document}"
        self.presence = Presence.THERE
        status = Status(document["status"])
        before = self.last or document
        assert document["id"] == self.id
        assert (document["model"], document["method"], document["rows"]) == self.shape
        for name in FIXED:
            assert document[name] == before[name], (name, before, document)
        for name in SET_ONCE:
            assert before[name] in {None, document[name]} or before[name] == document[name], (
                before,
                document,
            )
        assert _rank(status) >= _rank(Status(before["status"])), (before, document)
        batches = document["batches"]
        assert before["batches"]["completed"] <= batches["completed"] <= batches["total"], (before, document)
        if self.has_ended:
            assert document == self.last, (self.last, document)
        assert not self.ended_by_client or status.ended, document
        assert (document["finished_at"] is not None) == status.ended, document
        if status is Status.COMPLETED:
            assert batches["completed"] == batches["total"], document
        assert status is not Status.CANCELLED or self.may_be_cancelled, document
        if status is Status.FAILED:
            assert document["error"]["type"] == "/problems/poison-batch", document
            assert self.deaths >= MAX_DEATHS, document
        self.last = document

    def missed(self) -> None:
        """Check that the job may be missing."""
        assert self.presence is not Presence.THERE, f"an accepted job is lost: {self}"
        self.presence = Presence.GONE


def shape_of(planned: PlannedJob) -> tuple[str, str, int]:
    """Return what a job's document says of its request."""
    return planned.model, planned.method.value, planned.rows


def _rank(status: Status) -> int:
    return RANKS.get(status, len(RANKS))
