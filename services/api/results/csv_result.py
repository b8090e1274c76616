"""A result as CSV: the features' values, the base value and the prediction of a row in a line."""

from __future__ import annotations

import csv
import io
from itertools import cycle
from typing import TYPE_CHECKING

from services.api.results.number_texts import dump_items

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from services.api.results.result_pages import ResultPages

#: What ends a line (RFC 4180).
_LINE_END = b"\r\n"


def write_csv(result: ResultPages) -> Iterator[bytes]:
    """Write a header and a line a row; with several outputs a line a row and output, with `output` first.

    Numbers are the shortest text that gives back the same float32. NaN becomes an empty cell.
    """
    several = len(result.output_names) > 1
    names = ["output"] if several else []
    yield quote_line([*names, *result.feature_names, "base_value", "prediction"]) + _LINE_END
    prefixes = [quote_line([name]) + b"," if several else b"" for name in result.output_names]
    for block in result.blocks():
        if len(block):
            yield _write_block(block, prefixes)


def _write_block(block: NDArray[np.float32], prefixes: list[bytes]) -> bytes:
    lines = block.reshape(-1, block.shape[-1])
    text = dump_items(lines)[1:-1].replace(b"null", b"")
    if len(prefixes) == 1:
        return text.replace(b"],[", _LINE_END) + _LINE_END
    pairs = zip(cycle(prefixes), text.split(b"],["), strict=False)
    return b"".join(prefix + line + _LINE_END for prefix, line in pairs)


def quote_line(cells: Sequence[str]) -> bytes:
    """Write one line of CSV, without its end."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue().encode()
