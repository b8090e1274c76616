"""The rows of a soak: a pool for each model, encoded first, with XGBoost's own values.

Clients share the machine with what they measure: encoding and explaining the same rows over and over would
take the CPU away from the appliance.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

import numpy as np
import orjson
from numpy.typing import NDArray

from ops.lab.measure.appliance import example_rows
from ops.lab.reference import reference_contributions
from shared.models.version import ModelVersion

#: Rows of a pool, and so of the largest job.
POOL_ROWS = 20_000

type Matrix = NDArray[np.float32]


class Form(StrEnum):
    """A media type of rows."""

    NPY = "application/x-npy"
    JSON = "application/json"
    CSV = "text/csv"


@dataclass(frozen=True, slots=True)
class RowPool:
    """One model's rows. `reference` has shape (rows, outputs, features + 1), base value last."""

    version: ModelVersion
    rows: Matrix = field(repr=False)
    reference: Matrix = field(repr=False)
    _json: list[bytes] = field(repr=False)
    _csv: list[bytes] = field(repr=False)

    @classmethod
    def of(cls, version: ModelVersion, rows: int = POOL_ROWS) -> Self:
        """Make a model's pool. Raises MeasureError if the model has no examples to make rows of."""
        matrix = example_rows(version, rows)
        as_json = [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in matrix]
        as_csv = [line[1:-1].replace(b"null", b"") for line in as_json]
        return cls(
            version,
            matrix,
            reference_contributions(version.model_path, matrix, version.contract.trees),
            as_json,
            as_csv,
        )

    def body(self, form: Form, first: int, count: int, method: str) -> bytes:
        """Return `count` rows from `first` on as a request's body."""
        chosen = slice(first, first + count)
        if form is Form.JSON:
            head = orjson.dumps({"model": self.version.id, "method": method})[:-1]
            return head + b',"rows":[' + b",".join(self._json[chosen]) + b"]}"
        if form is Form.CSV:
            header = ",".join(f'"{name}"' for name in self.version.features).encode()
            return b"\n".join([header, *self._csv[chosen], b""])
        body = io.BytesIO()
        np.save(body, self.rows[chosen], allow_pickle=False)
        return body.getvalue()
