"""The header of a CSV body: which column holds which feature."""

from __future__ import annotations

from collections import Counter

from services.api.readers.faults import list_names, quote, shorten_name
from shared.errors import InvalidRowsError, RowError

#: Separators that others write where CSV has a comma.
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def order_columns(header: list[str], features: tuple[str, ...]) -> list[int]:
    """Find the column of each feature.

    Raises InvalidRowsError, naming them all, for doubled, unknown and missing columns.
    """
    known = set(features)
    names = [name if name in known else name.strip() for name in header]
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
            RowError(None, shorten_name(name), "the header names this column twice or more")
            for name in doubled
        ),
        *(RowError(None, shorten_name(name), "the model has no such feature") for name in unknown),
        *(RowError(None, name, "the header lacks this feature") for name in missing),
    ]
    raise InvalidRowsError(
        f"The CSV header must name each of the model's {len(features)} features once, in any order. "
        f"It has {len(header)} columns; {'; '.join(parts)}.{_hint(header)}",
        errors,
    )


def _hint(header: list[str]) -> str:
    if len(header) == 1:
        for separator, called in _OTHER_SEPARATORS.items():
            if separator in header[0]:
                return f" The cells seem to be separated by {called}: use commas."
    if all(_is_number(name) for name in header):
        return f" The first line holds numbers ({quote(header[0])}, …): put the header before it."
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
