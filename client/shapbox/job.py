"""What is known of a job, without any I/O."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from shapbox.flows import ENDED, Document, Flows

#: Jobs on a page of the list.
_PAGE = 100


class JobState:
    """A job's document and what follows from it; `rows` are those that were sent, if they are known."""

    def __init__(self, flows: Flows, document: Document, rows: Any) -> None:
        self.document = document
        self._flows = flows
        self._rows = rows

    @property
    def id(self) -> str:
        """The job's id."""
        return str(self.document["id"])

    @property
    def status(self) -> str:
        """One of queued, running, completed, failed and cancelled, as last heard."""
        return str(self.document["status"])

    @property
    def ended(self) -> bool:
        """Whether the job is completed, failed or cancelled, as last heard."""
        return self.status in ENDED

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, {self.status}, {self.document['model']})"


def jobs_path(status: str | None) -> str:
    """Return the address of the first page of jobs."""
    query: dict[str, str | int] = {"limit": _PAGE}
    return "/v1/jobs?" + urlencode(query | ({"status": status} if status else {}))
