"""A result as CSV: a line per row with the values, the base value and the prediction."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Sequence

from services.api.results.json_format import dump_items
from services.api.results.result import Result
from shared.csv_cells import harmless

#: The end of a line (RFC 4180).
_LINE_END = b"\r\n"


def write_csv(result: Result, *, safe: bool = True) -> Iterator[bytes]:
    """Write a header and a line per row, or per row and output with `output` first.

    Names that a spreadsheet would take for formulas are made harmless unless they need not be `safe`.
    Numbers are the shortest text that gives back the same float32. NaN becomes an empty cell.
    """
    several = len(result.output_names) > 1
    names = ["output"] if several else []
    as_text = harmless if safe else str
    features = map(as_text, result.feature_names)
    yield _quoted([*names, *features, "base_value", "prediction"]) + _LINE_END
    prefixes = [_quoted([as_text(name)]) + b"," if several else b"" for name in result.output_names]
    for block in result.explanations():
        if len(block):
            lines = dump_items(block.lines.array[:, 0])[1:-1].replace(b"null", b"").split(b"],[")
            pairs = zip(itertools.cycle(prefixes), lines, strict=False)
            yield b"".join(prefix + line + _LINE_END for prefix, line in pairs)


def _quoted(cells: Sequence[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue().encode()
