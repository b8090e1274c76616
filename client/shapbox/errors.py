"""Errors of the client: no answer, an answer that refuses, and rows that cannot be sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shapbox.exchange import Response

#: Characters of a response that is no problem document, such as a proxy's page, that a message repeats.
_SHOWN = 300


class ShapboxError(Exception):
    """The base class of all errors of this package."""


class NoAnswerError(ShapboxError, ConnectionError):
    """The appliance did not answer, or the connection broke before the answer was complete."""


class CertificateError(NoAnswerError):
    """The certificate of the address is not trusted here. Repeating does not help."""


class LinkError(ShapboxError):
    """A link of the appliance leads to another address, where the key is not sent."""


class RowsError(ShapboxError, ValueError):
    """Rows that cannot be sent, such as an array of dates."""


@dataclass(frozen=True)
class RowError:
    """A faulty row or cell.

    Rows are counted from 0. `column` is None if the whole row is at fault.
    """

    row: int | None
    column: str | None
    detail: str

    @classmethod
    def of(cls, error: Mapping[str, Any]) -> RowError:
        """Read an error of a problem document, which may have further members."""
        return cls(error.get("row"), error.get("column"), str(error.get("detail", "")))

    @property
    def remedy(self) -> str:
        """The advice: the part of `detail` after the cause, or all of it."""
        return self.detail.rpartition("; ")[2]

    def __str__(self) -> str:
        place = [] if self.row is None else [f"row {self.row}"]
        if self.column is not None:
            place.append(f"column {self.column!r}")
        return f"{', '.join(place) or 'rows'}: {self.detail}"


class RefusedError(ShapboxError):
    """The appliance refused a request.

    `code` is the end of the problem's type, such as `invalid-rows`.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("type", "")).rpartition("/")[2] or f"http-{status}"
        self.detail = str(problem.get("detail") or problem.get("title") or "no reason was given")
        # A gateway's errors may have another form.
        self.errors = [RowError.of(error) for error in problem.get("errors") or [] if isinstance(error, dict)]
        #: The job that has no result, if the request was for one.
        self.job: Mapping[str, Any] | None = problem.get("job")
        #: Search the appliance's log for it.
        self.request_id: str | None = problem.get("request_id")
        super().__init__(self._message())

    @classmethod
    def of(cls, answer: Response) -> RefusedError:
        """Read a response with an error status."""
        try:
            problem = answer.json()
        except ValueError:
            problem = None
        if 300 <= answer.status < 400:
            problem = {
                "detail": f"The address is redirected to {answer.headers.get('location')}. Use that one."
            }
        elif not isinstance(problem, dict):
            problem = {"detail": answer.body.decode("utf-8", "replace")[:_SHOWN]}
        return cls(answer.status, problem)

    def _message(self) -> str:
        lines = [f"{self.detail} ({self.status}, {self.code})"]
        lines += [f"  {error}" for error in self.errors if len(self.errors) > 1]  # `detail` has the first one
        if self.status == 401:
            lines.append("  Set SHAPBOX_API_KEY, or give the key as the argument `key`.")
        return "\n".join(lines)
