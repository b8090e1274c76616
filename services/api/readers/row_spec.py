"""What a reader must know about the rows it reads."""

from __future__ import annotations

from dataclasses import dataclass

#: Bytes read from a body at a time.
BLOCK_BYTES = 64 * 1024

#: Bytes one number may take with its quotes, separators and spaces: far more than any float needs.
_CELL_BYTES = 96

#: Bytes of a row beside its cells.
_ROW_BYTES = 4096

#: Bytes one byte of a name can take when it is escaped (`\\u00e9`).
_ESCAPED_BYTES = 6


@dataclass(frozen=True, slots=True)
class RowSpec:
    """The model's features in its order, the rows of one chunk, and the rows of one body at most."""

    features: tuple[str, ...]
    chunk_rows: int
    max_rows: int

    @property
    def max_row_bytes(self) -> int:
        """Bytes that one row of text may take, so that a row without an end does not fill the memory."""
        cells = sum(_CELL_BYTES + _ESCAPED_BYTES * len(name.encode()) for name in self.features)
        return max(BLOCK_BYTES, _ROW_BYTES + cells)

    @property
    def rows_at_once(self) -> int:
        """Rows that are parsed together: few when they are wide, so that Python's objects stay few."""
        return max(1, min(self.chunk_rows, 16_384 // max(1, len(self.features))))
