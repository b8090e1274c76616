"""Media types for schemathesis: makes NPY bodies; sends and reads bodies that are not JSON."""

from __future__ import annotations

import struct
from typing import Any

import schemathesis
from hypothesis import strategies as st

FEATURES = 10  # of the model `diabetes`

cells = st.floats(min_value=-1e6, max_value=1e6, width=32)
tables = st.lists(st.lists(cells, min_size=FEATURES, max_size=FEATURES), min_size=1, max_size=5)


def as_npy(rows: list[list[float]]) -> bytes:
    header = (
        f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({len(rows)}, {FEATURES}), }}".ljust(117) + "\n"
    )
    content = b"".join(struct.pack(f"<{FEATURES}f", *row) for row in rows)
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content


schemathesis.openapi.media_type("application/x-npy", tables.map(as_npy))


@schemathesis.serializer("text/csv", "application/x-ndjson", "application/x-npy")
def send_as_it_is(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.deserializer(
    *("text/csv", "text/html", "text/css", "text/javascript"),
    *("application/x-ndjson", "application/x-npy", "image/png"),
)
def read_as_text(_context: Any, response: Any) -> str:
    return str(response.content.decode("latin-1"))
