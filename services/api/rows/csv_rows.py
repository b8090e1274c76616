"""CSV with a header, read as a stream."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import BinaryIO

import numpy as np
import orjson
from numpy.typing import NDArray

from services.api.rows.chunks import Matrix, Piece, gather_chunks
from services.api.rows.columns import parse_cell
from services.api.rows.faults import list_names, no_rows, quote, row_too_long, shorten_name
from services.api.rows.line_blocks import LineTooLongError, read_line_blocks
from services.api.rows.row_spec import RowSpec
from shared.csv_cells import readable
from shared.errors import InvalidRowsError, RowError, UnreadableBodyError

#: The bytes of numbers, separators and the words for a missing value.
_PLAIN_BYTES = b"0123456789+-.eE, \r\nnaNA"

#: Whole records, up to their end or to a quoted cell that does not end. It never backtracks.
_RECORDS = re.compile(rb'(?:(?:"(?:[^"]++|"")*+"[^,\r\n]*+|[^",\r\n][^,\r\n]*+)?+[,\r\n])*+')

#: A record may take the reader's limit, and so may the lines that its block has before and after it.
_HELD_LIMITS = 5

#: Separators in place of commas.
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def read_csv(stream: BinaryIO, spec: RowSpec) -> Iterator[Matrix]:
    """Read CSV rows in chunks of float32, C-contiguous, `spec.chunk_rows` x features.

    The header names the features in any order. An empty cell, `nan`, `NA`, `null`, `None` and the like are missing,
    true and false are 1 and 0, and a category is given by its label. Blank lines are skipped, except where the model
    has one feature: there they are missing values. Raises UnreadableBodyError, InvalidRowsError and TooManyRowsError.
    """
    return gather_chunks(_CsvBody(stream, spec).read_pieces(), spec)


class _CsvBody:
    """One pass over a CSV body; it counts rows and bytes to tell where faults are."""

    def __init__(self, stream: BinaryIO, spec: RowSpec) -> None:
        self._names = spec.names
        self._table = spec.table
        self._limit = spec.max_row_bytes
        self._lines = read_line_blocks(stream, self._limit)
        self._rows: int | None = None  # None while the header is being read
        self._offset = 0

    def read_pieces(self) -> Iterator[Piece]:
        blocks = self._read_blocks()
        header, rest = self._read_header(blocks)
        columns = _order_columns(header, self._names)
        order = None if columns == sorted(columns) else columns
        self._rows = 0
        for block in chain([rest] if rest else [], blocks):
            yield self._parse_block(block, order)
        if not self._rows:
            raise no_rows("the CSV has only a header; add a line for each row")

    def _read_blocks(self) -> Iterator[bytes]:
        """Yield blocks of whole records: a line break inside quotes does not end one."""
        held = b""
        try:
            for block in self._lines:
                if (place := block.find(b"\0")) >= 0:
                    raise UnreadableBodyError(
                        f"Byte {self._offset + place} of the CSV is NUL: send text in UTF-8 (not UTF-16, not an archive)."
                    )
                held += block
                self._offset += len(block)
                # Beyond the limit the csv module says what is wrong.
                if _is_whole(held) or len(held) > _HELD_LIMITS * self._limit:
                    yield held
                    held = b""
        except LineTooLongError:
            raise self._say_too_long() from None
        if held:
            yield held

    def _say_too_long(self) -> InvalidRowsError:
        if self._rows is not None:
            return row_too_long(self._rows, self._limit)
        return InvalidRowsError(
            f"The CSV header is longer than {self._limit} bytes, more than the names of the model's "
            f"{len(self._names)} features can need: send only the columns of these features."
        )

    def _read_header(self, blocks: Iterator[bytes]) -> tuple[list[str], bytes]:
        """Read the first record that is not blank. Returns its cells and the rest of its block."""
        for block in blocks:
            lines = self._open_text(block).readlines()
            reader = csv.reader(lines, strict=True)
            try:
                for cells in self._read_records(reader):
                    if not _is_blank(cells) or cells[:1] == list(self._names):
                        return cells, "".join(lines[reader.line_num :]).encode()
            except UnreadableBodyError as fault:
                header = lines[reader.line_num - 1]
                for separator in _OTHER_SEPARATORS:
                    if _count_cells(header, separator) > _count_cells(header, ","):
                        raise InvalidRowsError(_say_separator(separator)) from None
                raise fault from None
        raise UnreadableBodyError("The body is empty: send CSV with a header and a line for each row.")

    def _parse_block(self, block: bytes, order: list[int] | None) -> Piece:
        assert self._rows is not None
        numbers = _parse_plain(block, len(self._names)) if self._table.takes_numbers_in_csv else None
        if numbers is not None:
            self._rows += len(numbers)
            return self._table.from_numbers(numbers if order is None else numbers[:, order])
        faults: list[RowError] = []
        rows: list[list[str]] = []
        for cells in self._read_records(csv.reader(self._open_text(block), strict=True)):
            if _is_blank(cells) and len(self._names) > 1:
                continue
            whole = cells or [""]
            if len(whole) != len(self._names):
                faults.append(RowError(len(rows), None, self._say_ragged(whole)))
                whole = [""] * len(self._names)
            rows.append(whole)
            self._rows += 1
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(self._names)
        piece = self._table.from_text(
            columns if order is None else [columns[place] for place in order], len(rows)
        )
        piece.faults.extend(faults)
        return piece

    def _say_ragged(self, cells: list[str]) -> str:
        wanted = len(self._names)
        what = f"the row has {len(cells)} cells, the header has {wanted}"
        if len(cells) == wanted + 1 and not cells[-1].strip():
            return f"{what}; remove the comma at its end"
        return f"{what}; quote cells that hold commas" if len(cells) > wanted else what

    def _open_text(self, block: bytes) -> io.StringIO:
        try:
            return io.StringIO(block.decode("utf-8"), newline="")
        except UnicodeDecodeError as fault:
            place = max(0, self._offset - len(block)) + fault.start
            raise UnreadableBodyError(
                f"Byte {place} of the CSV, {quote(block[fault.start : fault.start + 1])}, is not UTF-8: "
                "save the file as UTF-8."
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
    """Tell whether a text ends outside quotes. A quote counts only where a cell begins."""
    return b'"' not in text or _RECORDS.match(text).end() == len(text)  # type: ignore[union-attr]  # matches always


def _is_blank(cells: list[str]) -> bool:
    return not cells or (len(cells) == 1 and not cells[0].strip())


def _parse_plain(block: bytes, columns: int) -> NDArray[np.float64] | None:
    """Parse whole lines of plain numbers as JSON, the fastest way; None if csv must read them.

    A CSV line of JSON numbers is a JSON array without its brackets. Quotes, blank lines, ragged rows and numbers
    such as `+1` or `.5` are left to csv.
    """
    if block.translate(None, _PLAIN_BYTES):
        return None
    text = block.replace(b"\r\n", b"\n") if b"\r" in block else block
    if b"\r" in text:
        return None
    text = text.removesuffix(b"\n")
    try:
        rows = orjson.loads(b"[[" + _fill_missing(text).replace(b"\n", b"],[") + b"]]")
        numbers = np.array(rows, dtype=np.float64)
    except ValueError:
        return None
    return numbers if numbers.shape[1:] == (columns,) else None


def _fill_missing(text: bytes) -> bytes:
    """Write null in empty cells and for words."""
    if b"N" in text or b"n" in text:
        for word in (b"NaN", b"nan", b"NAN", b"NA", b"na"):
            text = text.replace(word, b"null")
    # A cell is empty between two separators, at least one of them a comma: two line ends enclose a blank line.
    codes = np.frombuffer(b"\n%b\n" % text, dtype=np.uint8)
    comma = codes == ord(",")
    either = comma | (codes == ord("\n"))
    empty = either[:-1] & either[1:] & (comma[:-1] | comma[1:])
    places = np.flatnonzero(empty).tolist()
    return b"null".join(text[start:stop] for start, stop in pairwise([0, *places, len(text)]))


def _order_columns(header: list[str], features: tuple[str, ...]) -> list[int]:
    """Find the column of each feature.

    It has the feature's exact name, that name as this api writes it, or else the name without surrounding space. Raises InvalidRowsError that lists doubled, unknown and missing columns.
    """
    known, written = set(features), readable(features)
    stripped = Counter(map(str.strip, features))
    unpadded = {name.strip(): name for name in features if stripped[name.strip()] == 1}
    names = [written.get(name) or unpadded.get(name.strip(), name.strip()) for name in header]
    given = set(names)
    faults = {
        ("doubled", "the header has this column more than once"): [
            name for name, count in Counter(names).items() if count > 1
        ],
        ("unknown", "the model has no such feature"): [
            name for name in dict.fromkeys(names) if name not in known
        ],
        ("missing", "the header lacks this feature"): [name for name in features if name not in given],
    }
    if not any(faults.values()):
        place = {name: column for column, name in enumerate(names)}
        return [place[name] for name in features]
    parts = [f"{kind}: {list_names(which)}" for (kind, _), which in faults.items() if which]
    hint = _hint(names, features)
    raise InvalidRowsError(
        f"{hint}{hint and ' '}The CSV header must name each of the model's {len(features)} features once, in any "
        f"order. It has {len(header)} columns; {'; '.join(parts)}.",
        [
            RowError(None, shorten_name(name), detail)
            for (_, detail), which in faults.items()
            for name in which
        ],
    )


def _count_cells(line: str, separator: str) -> int:
    try:
        return len(next(csv.reader([line], delimiter=separator), []))
    except csv.Error:  # a cell that is too long
        return 0


def _hint(names: list[str], features: tuple[str, ...]) -> str:
    """Guess the mistake behind a wrong header; empty for none of the usual ones."""
    if len(names) == 1:
        for separator in _OTHER_SEPARATORS:
            if separator in names[0]:
                return _say_separator(separator)
    if all(map(_is_number, names)):
        known = list_names(features, 10)
        if names == [str(place) for place in range(len(names))]:
            return (
                f"The header numbers the columns: name the model's features instead, {known}. If this line is a row, "
                "put a header before it."
            )
        return f"The first line holds numbers, not names: put a header before it, with the model's features, {known}."
    if names[0] in {"", "Unnamed: 0"} and names[0] not in features:
        return "The first column has no name, like an index written by pandas: use to_csv(..., index=False)."
    return (
        ""
        if names[-1]
        else "The last column has no name: if it is empty, remove the comma at the end of each line."
    )


def _say_separator(separator: str) -> str:
    return (
        f"The cells are separated by {_OTHER_SEPARATORS[separator]}, not by commas: write the file with commas and "
        'decimal points, in pandas with to_csv(..., sep=",", decimal=".", index=False).'
    )


def _is_number(name: str) -> bool:
    try:
        parse_cell(name)
    except ValueError:
        return False
    return bool(name)
