"""The header of a CSV body: which column holds which feature."""

from __future__ import annotations

import csv
from collections import Counter

from services.api.rows.cells import parse_cell
from services.api.rows.faults import list_names, shorten_name
from shared.errors import InvalidRowsError, RowError

#: Separators that others write where CSV has a comma.
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}

#: Features that one message lists.
_LISTED_FEATURES = 10


def order_columns(header: list[str], features: tuple[str, ...]) -> list[int]:
    """Find the column of each feature: by its name verbatim, or else without the space around it.

    Raises InvalidRowsError, naming them all, for doubled, unknown and missing columns.
    """
    known = set(features)
    stripped = Counter(map(str.strip, features))
    unpadded = {name.strip(): name for name in features if stripped[name.strip()] == 1}
    names = [name if name in known else unpadded.get(name.strip(), name.strip()) for name in header]
    doubled = [name for name, count in Counter(names).items() if count > 1]
    unknown = [name for name in dict.fromkeys(names) if name not in known]
    missing = sorted(known.difference(names), key=features.index)
    if not (doubled or unknown or missing):
        place = {name: column for column, name in enumerate(names)}
        return [place[name] for name in features]
    faults = {"doubled": doubled, "unknown": unknown, "missing": missing}
    parts = [f"{what}: {list_names(which)}" for what, which in faults.items() if which]
    errors = [
        *(
            RowError(None, shorten_name(name), "the header has this column more than once")
            for name in doubled
        ),
        *(RowError(None, shorten_name(name), "the model has no such feature") for name in unknown),
        *(RowError(None, name, "the header lacks this feature") for name in missing),
    ]
    raise InvalidRowsError(
        f"{_hint(names, features)}The CSV header must name each of the model's {len(features)} features once, in any "
        f"order. It has {len(header)} columns; {'; '.join(parts)}.",
        errors,
    )


def refuse_other_separator(header: str) -> InvalidRowsError | None:
    """Make the error for the text of a header whose quoted names are not separated by commas; None if they are."""
    commas = _count_cells(header, ",")
    for separator in _OTHER_SEPARATORS:
        if _count_cells(header, separator) > commas:
            return InvalidRowsError(_say_separator(separator).strip())
    return None


def _count_cells(line: str, separator: str) -> int:
    try:
        return len(next(csv.reader([line], delimiter=separator), []))
    except csv.Error:  # a cell that is too long
        return 0


def _hint(names: list[str], features: tuple[str, ...]) -> str:
    if len(names) == 1:
        for separator in _OTHER_SEPARATORS:
            if separator in names[0]:
                return _say_separator(separator)
    if all(_is_number(name) for name in names):
        known = list_names(features, _LISTED_FEATURES)
        if names == [str(place) for place in range(len(names))]:
            return f"The header numbers the columns: replace it by one with the model's features, {known}. "
        return f"The first line holds numbers, not names: put a header before it, with the model's features, {known}. "
    if names[0] in {"", "Unnamed: 0"} and names[0] not in features:
        return (
            "The first column has no name, like an index that pandas wrote: "
            "write the file with to_csv(..., index=False). "
        )
    if not names[-1]:
        return "The last column has no name: remove the comma at the end of each line. "
    return ""


def _say_separator(separator: str) -> str:
    return (
        f"The cells are separated by {_OTHER_SEPARATORS[separator]}, not by commas: write the file with commas and "
        'decimal points, in pandas with to_csv(..., sep=",", decimal=".", index=False). '
    )


def _is_number(name: str) -> bool:
    try:
        parse_cell(name)
    except ValueError:
        return False
    return bool(name)
