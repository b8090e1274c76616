"""A deploy as Render tells of it: which commit, how far, and what its end means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ops.render.errors import RenderError


class Status(StrEnum):
    """Render's states of a deploy. Another state is unknown to us, and does not end it."""

    CREATED = "created"
    QUEUED = "queued"
    BUILDING = "build_in_progress"
    PRE_DEPLOYING = "pre_deploy_in_progress"
    UPDATING = "update_in_progress"
    LIVE = "live"
    DEACTIVATED = "deactivated"
    BUILD_FAILED = "build_failed"
    PRE_DEPLOY_FAILED = "pre_deploy_failed"
    UPDATE_FAILED = "update_failed"
    CANCELED = "canceled"


#: States that wait for something else to end.
WAITING = frozenset({Status.CREATED, Status.QUEUED})
#: States in which a deploy has failed, and whose log says why: Render keeps the build's and the program's apart.
FAILED = {
    Status.BUILD_FAILED: "build",
    Status.PRE_DEPLOY_FAILED: "app",
    Status.UPDATE_FAILED: "app",
}
#: States that a deploy does not leave by itself. A live one is deactivated when another takes its place.
FINAL = frozenset({Status.LIVE, Status.DEACTIVATED, Status.CANCELED, *FAILED})
#: The meaning of each state, for people.
MEANING = {
    Status.CREATED: "is about to begin",
    Status.QUEUED: "waits for another deploy to end",
    Status.BUILDING: "is being built",
    Status.PRE_DEPLOYING: "runs its pre-deploy command",
    Status.UPDATING: "is starting; Render waits for /healthz",
    Status.LIVE: "is live",
    Status.DEACTIVATED: "was live, and another one has taken its place",
    Status.BUILD_FAILED: "could not be built",
    Status.PRE_DEPLOY_FAILED: "failed in its pre-deploy command",
    Status.UPDATE_FAILED: "was built, and did not become healthy",
    Status.CANCELED: "was canceled",
}


@dataclass(frozen=True, slots=True)
class Deploy:
    """One deploy, as it was told last."""

    id: str
    status: str
    commit: str
    trigger: str = ""

    @classmethod
    def read(cls, document: object) -> Deploy:
        """Read a deploy's record; raises RenderError if it is something else."""
        if not isinstance(document, Mapping) or not isinstance(document.get("id"), str):
            raise RenderError(
                "Render's answer holds no deploy. Its API has changed: look into the dashboard."
            )
        commit = document.get("commit")
        return cls(
            document["id"],
            str(document.get("status") or "unknown"),
            str(commit.get("id") or "") if isinstance(commit, Mapping) else "",
            str(document.get("trigger") or ""),
        )

    @property
    def is_final(self) -> bool:
        """Whether it stays as it is, unless another one takes its place."""
        return self.status in FINAL

    @property
    def is_live(self) -> bool:
        """Whether it is what serves."""
        return self.status == Status.LIVE

    @property
    def has_failed(self) -> bool:
        """Whether it failed by itself, and nobody stopped it."""
        return self.status in FAILED

    @property
    def meaning(self) -> str:
        """Say how far it is."""
        return (
            MEANING.get(Status(self.status), self.status)
            if self.status in list(Status)
            else (f"is {self.status}, a state that this version does not know")
        )

    def __str__(self) -> str:
        return f"{self.id} ({self.commit[:7] or 'unknown commit'})"


def read_deploys(listing: Any) -> list[Deploy]:
    """Read a page of deploys, the newest first."""
    if not isinstance(listing, list):
        raise RenderError(
            "Render's answer is no list of deploys. Its API has changed: look into the dashboard."
        )
    return [Deploy.read(item.get("deploy") if isinstance(item, Mapping) else None) for item in listing]
