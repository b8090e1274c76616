"""Rows as request bodies, in each media type that the appliance reads."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import orjson
from numpy.typing import NDArray

from shared.models.version import ModelVersion

type Matrix = NDArray[np.float32]

#: Rows that are written as text at a time.
AT_ONCE = 10_000


def write_npy(version: ModelVersion, rows: Matrix) -> bytes:
    """Write what np.save writes; the model is in the query."""
    del version
    body = io.BytesIO()
    np.save(body, rows, allow_pickle=False)
    return body.getvalue()


def write_csv(version: ModelVersion, rows: Matrix) -> bytes:
    """Write a header and a line a row; the model is in the query."""
    header = ",".join(f'"{name}"' for name in version.features).encode()
    lines = _items(rows).replace(b"null", b"").replace(b"],[", b"\n")
    return header + b"\n" + lines[1:-1] + b"\n"


def write_json(version: ModelVersion, rows: Matrix) -> bytes:
    """Write one object, which names the model as well."""
    return b'{"model":%b,"rows":[%b]}' % (orjson.dumps(version.id), _items(rows))


def write_ndjson(version: ModelVersion, rows: Matrix) -> bytes:
    """Write an array a line; the model is in the query."""
    del version
    return _items(rows).replace(b"],[", b"]\n[") + b"\n"


def _items(rows: Matrix) -> bytes:
    """Return the rows as arrays of JSON, separated by commas."""
    parts = np.array_split(rows, max(1, len(rows) // AT_ONCE))
    return b",".join(orjson.dumps(part, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1] for part in parts)


#: By media type.
WRITERS: dict[str, Callable[[ModelVersion, Matrix], bytes]] = {
    "application/x-npy": write_npy,
    "text/csv": write_csv,
    "application/json": write_json,
    "application/x-ndjson": write_ndjson,
}
