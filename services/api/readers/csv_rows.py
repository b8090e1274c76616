"""CSV with a header, read as a stream."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from services.api.readers.chunks import Piece, gather_chunks
from services.api.readers.csv_cells import parse_plain, parse_row
from services.api.readers.csv_header import order_columns
from services.api.readers.faults import no_rows, quote, row_too_long
from services.api.readers.line_blocks import LineTooLongError, read_line_blocks
from shared.errors import InvalidRowsError, RowError, UnreadableBodyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from services.api.readers.row_spec import RowSpec


def read_csv(stream: BinaryIO, spec: RowSpec) -> Iterator[NDArray[np.float32]]:
    """Read CSV rows in chunks of float32, C-contiguous, `spec.chunk_rows` x features.

    The header names the features in any order. An empty cell, `nan` or `NA` is missing; blank lines are
    skipped. Raises UnreadableBodyError, InvalidRowsError and TooManyRowsError.
    """
    return gather_chunks(_CsvBody(stream, spec).read_pieces(), spec)


class _CsvBody:
    """One pass over a CSV body, with the count of rows and bytes for what is told about faults."""

    def __init__(self, stream: BinaryIO, spec: RowSpec) -> None:
        self._spec = spec
        self._limit = spec.max_row_bytes
        self._lines = read_line_blocks(stream, self._limit)
        self._rows: int | None = None  # None while the header is being read
        self._offset = 0

    def read_pieces(self) -> Iterator[Piece]:
        blocks = self._read_blocks()
        header, rest = self._read_header(blocks)
        order = order_columns(header, self._spec.names)
        names = [self._spec.names[order.index(column)] for column in range(len(order))]
        reordered = order != sorted(order)
        self._rows = 0
        if rest:
            yield from self._parse_block(rest, names, order if reordered else None)
        for block in blocks:
            yield from self._parse_block(block, names, order if reordered else None)
        if not self._rows:
            raise no_rows("the CSV has a header alone; put a line for each row under it")

    def _read_blocks(self) -> Iterator[bytes]:
        """Yield blocks of whole records: a line break inside quotes does not end one."""
        held = b""
        try:
            for block in self._lines:
                self._check_bytes(block)
                held += block
                self._offset += len(block)
                # Quotes come in pairs in whole records. Beyond the limit csv is left to say what is wrong.
                if held.count(b'"') % 2 == 0 or len(held) > 2 * self._limit:
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
            if block.isspace():
                continue
            reader = csv.reader(self._open_text(block), strict=True)
            for cells in self._read_records(reader):
                if not _is_blank(cells):
                    lines = self._open_text(block).readlines()
                    return cells, "".join(lines[reader.line_num :]).encode()
        raise UnreadableBodyError(
            "The body is an empty body: send CSV with a header and a line for each row."
        )

    def _parse_block(self, block: bytes, names: list[str], order: list[int] | None) -> Iterator[Piece]:
        assert self._rows is not None
        if block.isspace():
            return
        numbers = parse_plain(block, len(names))
        faults: list[RowError] = []
        if numbers is None:
            rows: list[list[float]] = []
            for cells in self._read_records(csv.reader(self._open_text(block), strict=True)):
                if cells and not (len(names) > 1 and _is_blank(cells)):
                    rows.append(parse_row(cells, self._rows + len(rows), names, faults))
            if not rows:
                return
            numbers = np.array(rows, dtype=np.float64)
        self._rows += len(numbers)
        yield Piece(numbers if order is None else numbers[:, order], faults)

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
            where = "the header" if self._rows is None else f"the lines after row {self._rows}"
            raise UnreadableBodyError(
                f"The CSV cannot be read in {where} ({fault}): close every quote, and double quotes inside quotes."
            ) from fault


def _is_blank(cells: list[str]) -> bool:
    return not cells or (len(cells) == 1 and not cells[0].strip())
