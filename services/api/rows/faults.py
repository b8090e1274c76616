"""Error messages about rows."""

from __future__ import annotations

from collections.abc import Iterable

from shared.errors import MAX_ROW_ERRORS, InvalidRowsError, RowError, TooManyRowsError

#: Characters of a client's value, and of a column's name, that an answer repeats.
_QUOTED_CHARACTERS = 40
_NAME_CHARACTERS = 80

#: float64 holds all whole numbers below this one.
_EXACT = 2**53


def quote(value: object) -> str:
    """Show a client's value, shortened."""
    if isinstance(value, str) and len(value) > _QUOTED_CHARACTERS:
        return repr(value[:_QUOTED_CHARACTERS] + "…")
    text = repr(value)
    return text if len(text) <= _QUOTED_CHARACTERS + 2 else text[:_QUOTED_CHARACTERS] + "…"


def show_number(number: float) -> str:
    """Show a client's number: 5 and 5.0 alike."""
    single = float(number)
    return str(int(single)) if single.is_integer() and abs(single) < _EXACT else repr(single)


def shorten_name(name: str) -> str:
    """Shorten a client's name for an answer, and replace halves of surrogate pairs."""
    return name[:_NAME_CHARACTERS].encode("utf-8", "replace").decode() + "…" * (len(name) > _NAME_CHARACTERS)


def list_names(names: Iterable[str | int], limit: int = 5) -> str:
    """List the first names or labels, and count the others."""
    known = list(names)
    shown = ", ".join(quote(name) for name in known[:limit])
    more = len(known) - limit
    return f"{shown} and {more} more" if more > 0 else shown


def invalid_rows(errors: list[RowError]) -> InvalidRowsError:
    """Make the error that lists faulty cells and rows: those found before reading stopped."""
    ordered = sorted(errors, key=lambda error: error.row or 0)
    first = ordered[0]
    count = "1 error" if len(ordered) == 1 else f"{len(ordered)} errors"
    many = f"At least {MAX_ROW_ERRORS} errors" if len(ordered) >= MAX_ROW_ERRORS else count
    column = "" if first.column is None else f", column {quote(first.column)}"
    return InvalidRowsError(
        f"{many} in the rows (numbered from 0). First: row {first.row}{column}: {first.detail}.", ordered
    )


def invalid_row(row: int, detail: str) -> InvalidRowsError:
    """Make the error for one faulty row."""
    return invalid_rows([RowError(row, None, detail)])


def no_rows(remedy: str = "send at least one row") -> InvalidRowsError:
    """Make the error for a readable body without rows."""
    return InvalidRowsError(f"There are no rows to explain: {remedy}.")


def too_many_rows(limit: int) -> TooManyRowsError:
    """Make the error for a body with more rows than the limit."""
    return TooManyRowsError(
        f"The body has more than {limit} rows, the limit of one job (MAX_ROWS): split it into several jobs."
    )


def row_too_long(row: int, limit: int) -> InvalidRowsError:
    """Make the error for a row of text that is longer than any row of this model."""
    return invalid_row(row, f"the row is longer than {limit} bytes, more than a row of this model can need")
