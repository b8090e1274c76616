"""A result as newline-delimited JSON, one object a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.api.results.number_texts import split_items, squeeze_outputs

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from services.api.results.result_pages import ResultPages


def write_ndjson(result: ResultPages) -> Iterator[bytes]:
    """Write `{"values", "base_value", "prediction"}` a row.

    With several outputs `values` is features x outputs, and the other two are arrays by output. NaN becomes
    null.
    """
    for rows in row_members(result):
        yield b"".join(b"{%b}\n" % row for row in rows)


def row_members(result: ResultPages) -> Iterator[list[bytes]]:
    """Yield for each block its rows' members, without the braces around them."""
    outputs = len(result.output_names)
    for block in result.blocks():
        if len(block):
            yield _write_block(block, outputs)


def _write_block(block: NDArray[np.float32], outputs: int) -> list[bytes]:
    values = block[:, 0, :-2] if outputs == 1 else block[:, :, :-2].transpose(0, 2, 1)
    base_values = squeeze_outputs(block[:, :, -2], outputs)
    predictions = squeeze_outputs(block[:, :, -1], outputs)
    rows = zip(split_items(values), split_items(base_values), split_items(predictions), strict=True)
    return [b'"values":%b,"base_value":%b,"prediction":%b' % row for row in rows]
