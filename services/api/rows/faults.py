"""What is wrong with rows, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.errors import MAX_ROW_ERRORS, InvalidRowsError, RowError, TooManyRowsError

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Characters of a client's value that an answer repeats.
_QUOTED_CHARACTERS = 40

#: Characters of a client's column name that an answer repeats.
_NAME_CHARACTERS = 80

#: float64 holds all whole numbers below this one.
_EXACT = 2**53

#: Names that one sentence lists.
_LISTED_NAMES = 5


def quote(value: object) -> str:
    """Show a value of the client's, shortened."""
    if isinstance(value, str) and len(value) > _QUOTED_CHARACTERS:
        return repr(value[:_QUOTED_CHARACTERS] + "…")
    text = repr(value)
    return text if len(text) <= _QUOTED_CHARACTERS + 2 else text[:_QUOTED_CHARACTERS] + "…"


def show_number(number: float) -> str:
    """Show a number of the client's: 5 and 5.0 alike, however it was written."""
    single = float(number)
    return str(int(single)) if single.is_integer() and abs(single) < _EXACT else repr(single)


def shorten_name(name: str) -> str:
    """Make a client's name fit to be repeated: not long, and without halves of characters."""
    return name[:_NAME_CHARACTERS].encode("utf-8", "replace").decode() + "…" * (len(name) > _NAME_CHARACTERS)


def list_names(names: Iterable[str | int], limit: int = _LISTED_NAMES) -> str:
    """Show a few names or labels of many."""
    known = list(names)
    shown = ", ".join(quote(name) for name in known[:limit])
    more = len(known) - limit
    return f"{shown} and {more} more" if more > 0 else shown


def invalid_rows(errors: list[RowError]) -> InvalidRowsError:
    """Make the error that names the first faulty cells."""
    ordered = sorted(errors, key=lambda error: -1 if error.row is None else error.row)
    first = ordered[0]
    where = ", ".join(
        part
        for part in (
            None if first.row is None else f"row {first.row}",
            None if first.column is None else f"column {quote(first.column)}",
        )
        if part
    )
    # Reading stops at 20: there may be more further on.
    count = f"{len(ordered)} faults" if len(ordered) > 1 else "1 fault"
    many = f"At least {MAX_ROW_ERRORS} faults" if len(ordered) >= MAX_ROW_ERRORS else f"{count} found"
    place = f"{where}: " if where else ""
    return InvalidRowsError(
        f"{many} in the rows (counted from 0). The first: {place}{first.detail}.", ordered
    )


def invalid_row(row: int | None, detail: str, column: str | None = None) -> InvalidRowsError:
    """Make the error for one faulty row."""
    return invalid_rows([RowError(row, column, detail)])


def no_rows(remedy: str = "send at least one row") -> InvalidRowsError:
    """Make the error for a body that is readable and holds no row."""
    return InvalidRowsError(f"There are no rows to explain: {remedy}.")


def too_many_rows(limit: int) -> TooManyRowsError:
    """Make the error for a body with more rows than the limit."""
    return TooManyRowsError(
        f"There are more than {limit} rows, the most that one job takes (MAX_ROWS): "
        f"send them as several jobs."
    )


def row_too_long(row: int | None, limit: int) -> InvalidRowsError:
    """Make the error for a row of text that does not end where any row of this model would."""
    return invalid_row(row, f"the row is longer than {limit} bytes, more than a row of this model can need")
