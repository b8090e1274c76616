"""A service as Render tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ops.render.errors import RenderError


@dataclass(frozen=True, slots=True)
class Service:
    """The facts about a service that deploying needs."""

    id: str
    name: str
    owner_id: str
    kind: str
    #: Where it answers, without a slash at its end; empty where it does not answer the public.
    url: str
    branch: str
    dashboard_url: str
    suspended: bool
    has_disk: bool

    @classmethod
    def read(cls, document: object) -> Service:
        """Read a service's record; raises RenderError if it is something else."""
        if not isinstance(document, Mapping) or not isinstance(document.get("id"), str):
            raise RenderError(
                "Render's answer holds no service. Its API has changed: look into the dashboard."
            )
        details = document.get("serviceDetails")
        details = details if isinstance(details, Mapping) else {}
        return cls(
            document["id"],
            str(document.get("name") or document["id"]),
            str(document.get("ownerId") or ""),
            str(document.get("type") or ""),
            str(details.get("url") or "").rstrip("/"),
            str(document.get("branch") or ""),
            str(document.get("dashboardUrl") or ""),
            document.get("suspended") == "suspended",
            bool(details.get("disk")),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.id})"
