"""Query parameters, which are read strictly, and the Prefer header."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shared.errors import BadParameterError

#: Seconds that one request may wait for a job, at most.
MAX_WAIT = 50

_WAIT_PREFERENCE = re.compile(r'wait\s*=\s*"?(\d{1,9})"?\s*')
_WHOLE = re.compile(r"\d{1,15}", re.ASCII)


class Query:
    """The query of one request. Raises BadParameterError for unknown and repeated parameters."""

    def __init__(self, req: Any, *known: str) -> None:
        self._values: dict[str, Any] = req.params
        for name, value in self._values.items():
            if name not in known:
                allowed = f"Allowed here: {', '.join(known)}" if known else "None is allowed here"
                raise BadParameterError(f"Unknown query parameter {name[:40]!r}. {allowed}.")
            if isinstance(value, list):
                raise BadParameterError(f"The parameter {name} appears {len(value)} times. Send it once.")

    def text(self, name: str) -> str | None:
        """Return a parameter's value; None if it is not given."""
        value: str | None = self._values.get(name)
        if value == "":
            raise BadParameterError(f"The parameter {name} is empty. Give it a value, or leave it out.")
        return value

    def flag(self, name: str) -> bool | None:
        """Return whether a parameter is true or false; None if it is not given."""
        text = self.text(name)
        if text not in {None, "true", "false"}:
            raise BadParameterError(f"{name}={text[:40]!r} is neither true nor false.")
        return None if text is None else text == "true"

    def choice[Word: StrEnum](self, name: str, words: type[Word]) -> Word | None:
        """Return one of several words; None if it is not given."""
        text = self.text(name)
        if text is None:
            return None
        if text not in {*words}:
            raise BadParameterError(f"Unknown {name} {text[:40]!r}. Use one of: {', '.join(words)}.")
        return words(text)

    def whole(self, name: str, default: int, least: int, most: int | None = None) -> int:
        """Return a whole number within bounds."""
        text = self.text(name)
        if text is None:
            return default
        if not _WHOLE.fullmatch(text) or int(text) < least or (most is not None and int(text) > most):
            bounds = f"from {least} to {most}" if most is not None else f"of at least {least}"
            raise BadParameterError(f"{name}={text[:40]!r} is not a whole number {bounds}.")
        return int(text)


@dataclass(frozen=True, slots=True)
class Wait:
    """How long a request may wait, in seconds, and whether its Prefer header said so."""

    seconds: float
    preferred: bool = False

    def acknowledge(self, resp: Any) -> None:
        """Confirm that the preference was applied (RFC 7240)."""
        if self.preferred:
            resp.set_header("Preference-Applied", f"wait={self.seconds:g}")


def read_wait(query: Query, prefer: str | None, default: float = 0) -> Wait:
    """Return what `?wait=` or else `Prefer: wait=` asks for, at most MAX_WAIT.

    Raises BadParameterError for a bad `?wait=`; a malformed Prefer header is ignored.
    """
    text = query.text("wait")
    if text is not None:
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not seconds >= 0:
            raise BadParameterError(f"wait={text[:40]!r} is not a number of seconds from 0 to {MAX_WAIT}.")
        return Wait(min(seconds, MAX_WAIT))
    for preference in (prefer or "").lower().split(","):
        if match := _WAIT_PREFERENCE.fullmatch(preference.partition(";")[0].strip()):
            return Wait(min(int(match[1]), MAX_WAIT), preferred=True)
    return Wait(default)


@dataclass(frozen=True, slots=True)
class RowRange:
    """The rows of a result that are requested."""

    offset: int = 0
    limit: int | None = None

    def of(self, rows: int) -> range:
        """Return the row numbers. Raises BadParameterError if the offset is beyond the last row."""
        if self.offset > rows:
            raise BadParameterError(f"offset={self.offset} is beyond the result, which has {rows} rows.")
        return range(self.offset, rows if self.limit is None else min(rows, self.offset + self.limit))


def read_row_range(query: Query) -> RowRange:
    """Return what `?offset=` and `?limit=` request."""
    limit = query.whole("limit", 0, 1) if query.text("limit") is not None else None
    return RowRange(query.whole("offset", 0, 0), limit)
