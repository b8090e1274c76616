"""CSV with a header, read as a stream."""

from __future__ import annotations

import csv
import io
import re
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO

from services.api.rows.chunks import Piece, gather_chunks
from services.api.rows.csv_header import order_columns, refuse_other_separator
from services.api.rows.csv_plain import parse_plain
from services.api.rows.faults import no_rows, quote, row_too_long
from services.api.rows.line_blocks import LineTooLongError, read_line_blocks
from services.api.rows.table import table_of
from shared.errors import InvalidRowsError, RowError, UnreadableBodyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from services.api.rows.row_spec import RowSpec


#: Whole records, up to their end or to a quoted cell that does not end. It never backtracks.
_RECORDS = re.compile(rb'(?:(?:"(?:[^"]++|"")*+"[^,\r\n]*+|[^",\r\n][^,\r\n]*+)?+[,\r\n])*+')

#: A record may take the reader's limit, and so may the lines that its block has before and after it.
_HELD_LIMITS = 5


def read_csv(stream: BinaryIO, spec: RowSpec) -> Iterator[NDArray[np.float32]]:
    """Read CSV rows in chunks of float32, C-contiguous, `spec.chunk_rows` x features.

    The header names the features in any order. An empty cell, `nan`, `NA`, `null`, `None` and the like are missing,
    true and false are 1 and 0, and a category is given by its label. Blank lines are skipped, except where the model
    has one feature: there they are missing values. Raises UnreadableBodyError, InvalidRowsError and TooManyRowsError.
    """
    return gather_chunks(_CsvBody(stream, spec).read_pieces(), spec)


class _CsvBody:
    """One pass over a CSV body; it counts rows and bytes to tell where faults are."""

    def __init__(self, stream: BinaryIO, spec: RowSpec) -> None:
        self._spec = spec
        self._table = table_of(spec)
        self._columns = len(spec.features)
        self._limit = spec.max_row_bytes
        self._lines = read_line_blocks(stream, self._limit)
        self._rows: int | None = None  # None while the header is being read
        self._offset = 0

    def read_pieces(self) -> Iterator[Piece]:
        blocks = self._read_blocks()
        header, rest = self._read_header(blocks)
        columns = order_columns(header, self._spec.names)
        order = None if columns == sorted(columns) else columns
        self._rows = 0
        for block in chain([rest] if rest else [], blocks):
            yield from self._parse_block(block, order)
        if not self._rows:
            raise no_rows("the CSV has only a header; add a line for each row")

    def _read_blocks(self) -> Iterator[bytes]:
        """Yield blocks of whole records: a line break inside quotes does not end one."""
        held = b""
        try:
            for block in self._lines:
                self._check_bytes(block)
                held += block
                self._offset += len(block)
                # Beyond the limit csv is left to say what is wrong.
                if _is_whole(held) or len(held) > _HELD_LIMITS * self._limit:
                    yield held
                    held = b""
        except LineTooLongError:
            raise self._say_too_long() from None
        if held:
            yield held

    def _check_bytes(self, block: bytes) -> None:
        place = block.find(b"\0")
        if place >= 0:
            raise UnreadableBodyError(
                f"Byte {self._offset + place} of the CSV is NUL: send text in UTF-8 (not UTF-16, and no archive)."
            )

    def _say_too_long(self) -> InvalidRowsError:
        if self._rows is not None:
            return row_too_long(self._rows, self._limit)
        return InvalidRowsError(
            f"The CSV header is longer than {self._limit} bytes, more than the names of the model's "
            f"{len(self._spec.features)} features can need: send those columns only."
        )

    def _read_header(self, blocks: Iterator[bytes]) -> tuple[list[str], bytes]:
        """Read the first record that is not blank. Returns its cells and the rest of its block."""
        for block in blocks:
            lines = self._open_text(block).readlines()
            reader = csv.reader(lines, strict=True)
            try:
                for cells in self._read_records(reader):
                    if not _is_blank(cells) or cells[:1] == list(self._spec.names):
                        return cells, "".join(lines[reader.line_num :]).encode()
            except UnreadableBodyError as fault:
                raise refuse_other_separator(lines[reader.line_num - 1]) or fault from None
        raise UnreadableBodyError("The body is empty: send CSV with a header and a line for each row.")

    def _parse_block(self, block: bytes, order: list[int] | None) -> Iterator[Piece]:
        assert self._rows is not None
        first_row = self._rows
        numbers = parse_plain(block, self._columns) if self._table.takes_numbers_in_csv else None
        if numbers is not None:
            self._rows += len(numbers)
            yield self._table.from_numbers(numbers if order is None else numbers[:, order], first_row)
            return
        faults: list[RowError] = []
        rows: list[list[str]] = []
        for cells in self._read_records(csv.reader(self._open_text(block), strict=True)):
            if _is_blank(cells) and self._columns > 1:
                continue
            whole = cells or [""]
            if len(whole) != self._columns:
                faults.append(RowError(self._rows, None, self._say_ragged(whole)))
                whole = [""] * self._columns
            rows.append(whole)
            self._rows += 1
        if rows:
            columns = list(zip(*rows, strict=True))
            if order is not None:
                columns = [columns[place] for place in order]
            piece = self._table.from_text(columns, len(rows), first_row)
            piece.faults.extend(faults)
            yield piece

    def _say_ragged(self, cells: list[str]) -> str:
        what = f"the row has {len(cells)} cells, the header has {self._columns}"
        if len(cells) == self._columns + 1 and not cells[-1].strip():
            return f"{what}; remove the comma at its end"
        return f"{what}; quote cells that hold commas" if len(cells) > self._columns else what

    def _open_text(self, block: bytes) -> io.StringIO:
        try:
            return io.StringIO(block.decode("utf-8"), newline="")
        except UnicodeDecodeError as fault:
            place = max(0, self._offset - len(block)) + fault.start
            raise UnreadableBodyError(
                f"Byte {place} of the CSV, {quote(block[fault.start : fault.start + 1])}, is not UTF-8: "
                f"save the file as UTF-8."
            ) from fault

    def _read_records(self, reader: Iterator[list[str]]) -> Iterator[list[str]]:
        try:
            yield from reader
        except csv.Error as fault:
            where = "the header" if self._rows is None else f"row {self._rows}"
            raise UnreadableBodyError(
                f"The CSV cannot be read in {where} ({fault}): close every quote, and double quotes inside quotes."
            ) from fault


def _is_whole(text: bytes) -> bool:
    """Tell whether a text ends outside quotes. A quote opens a quoted cell only where the cell begins."""
    return b'"' not in text or _RECORDS.match(text).end() == len(text)  # type: ignore[union-attr]  # matches always


def _is_blank(cells: list[str]) -> bool:
    return not cells or (len(cells) == 1 and not cells[0].strip())
