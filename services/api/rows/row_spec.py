"""The rows that a reader expects: features, limits and missing markers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Self

from services.api.rows.table import Table, make_table
from shared.models.contract import Contract, Feature, Label

#: Bytes read from a body at a time.
BLOCK_BYTES = 64 * 1024

#: Bytes one number may take with its quotes, separators and spaces: far more than any float needs.
_CELL_BYTES = 96

#: Bytes of a row beside its cells.
_ROW_BYTES = 4096

#: Bytes one byte of a name or label can take when it is escaped (`\\u00e9`).
_ESCAPED_BYTES = 6


@dataclass(frozen=True)
class RowSpec:
    """The model's features in its order, the rows of a chunk, and the most rows of a body.

    `missing` are numbers that mean "missing", besides NaN.
    """

    features: tuple[Feature, ...]
    chunk_rows: int
    max_rows: int
    missing: tuple[float, ...] = ()

    @classmethod
    def of(cls, contract: Contract, chunk_rows: int, max_rows: int) -> Self:
        """Return the spec of a model's rows."""
        return cls(contract.features, chunk_rows, max_rows, contract.missing)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The features' names, in the model's order."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def table(self) -> Table:
        """The reader of cells, shared by all specs of a model."""
        return make_table(self.features, self.missing)

    @cached_property
    def max_row_bytes(self) -> int:
        """Most bytes of a row of text, at least a block: bounds memory for a row without an end."""
        texts = sum(
            len(feature.name.encode()) + (_longest(feature.labels) if feature.labels else 0)
            for feature in self.features
        )
        return max(BLOCK_BYTES, _ROW_BYTES + _CELL_BYTES * len(self.features) + _ESCAPED_BYTES * texts)


@lru_cache(maxsize=256)
def _longest(labels: tuple[Label, ...]) -> int:
    """Return the bytes of the longest label."""
    return max(len(str(label).encode("utf-8", "replace")) for label in labels)
