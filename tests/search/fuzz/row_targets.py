"""Fuzz targets of the readers of rows, each against Python's own libraries."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from services.api.rows.csv_rows import read_csv
from services.api.rows.json_body import read_json_file, read_json_options, read_json_rows
from services.api.rows.json_rows import read_ndjson
from services.api.rows.npy_rows import read_npy
from services.api.rows.request_body import RequestBody, open_body, parse_plain_body
from services.api.rows.row_spec import RowSpec
from shared.errors import BodyTooLargeError, ShapboxError, UnreadableBodyError
from shared.models.contract import Feature, Kind

type Floats = NDArray[np.float32]
type Read = Callable[[BinaryIO, RowSpec], Iterator[Floats]]

#: Problems of a request: what a reader may raise.
_REFUSALS = frozenset({400, 413, 415, 422})
#: The bodies' size that `gzip_body` allows.
_MOST_BYTES = 50_000
_MIXED = (
    Feature("n"),
    Feature("c", Kind.CATEGORY, ("x", "y", "NA", "1")),
    Feature("k", Kind.CATEGORY),
    Feature("i", Kind.CATEGORY, (10, 20, -3, 2**60)),
)
SPECS = (
    RowSpec(tuple(map(Feature, "abc")), chunk_rows=2, max_rows=40),
    RowSpec((Feature("a"),), chunk_rows=3, max_rows=40),
    RowSpec(_MIXED, chunk_rows=2, max_rows=40, missing=(-999.0, 3e39)),
    RowSpec((Feature("a"), Feature('b "quoted", '), Feature(" a")), chunk_rows=50, max_rows=40),
)
#: Words for NaN, in lower case, and for 1 and 0.
_WORDS = dict.fromkeys(("", "nan", "+nan", "-nan", "na", "n/a", "null", "none", "<na>", "#n/a"), math.nan)


class Trickle(io.BytesIO):
    """Returns a few bytes at a time, so that blocks end anywhere."""

    def __init__(self, content: bytes, step: int) -> None:
        super().__init__(content)
        self._step = step

    def read(self, size: int | None = -1) -> bytes:
        return super().read(self._step if size is None or size < 0 else min(size, self._step))


def csv_body(data: bytes) -> None:
    """Read CSV whole and in pieces, and compare numbers with Python's csv module."""
    spec, step, body = _chosen(data)
    found = _read_both(read_csv, body, spec, step)
    if isinstance(found, np.ndarray) and _is_plain(spec):
        _assert_same(found, _plain_csv(body, spec))


def json_body(data: bytes) -> None:
    """Read a JSON body at once, whole and in pieces, and compare it with Python's json module."""
    spec, step, body = _chosen(data)
    found = _read_both(read_json_rows, body, spec, step)
    options = [_outcome(partial(read_json_options, one, spec.max_rows)) for one in _streams(body, step)]
    assert str(options[0]) == str(options[1]), options
    with RequestBody(io.BytesIO(body), "application/json", None, 10**6, max_rows=40) as request:
        read = _outcome(lambda: (request.options, _matrix(request.chunks(spec), spec)))
    if plain := parse_plain_body(body):
        assert plain.options == options[0], (plain, options)
    if isinstance(read, tuple):
        assert read[0] == options[0], (read, options)
        assert isinstance(found, np.ndarray), found
        _assert_same(read[1], found)
        document = json.loads(body.decode("utf-8-sig"))
        rows = document["rows"]
        if _is_plain(spec):
            _assert_same(found, _plain_json(rows if isinstance(rows, list) else [rows], spec))
    elif isinstance(found, np.ndarray):
        assert isinstance(options[0], ShapboxError), (read, found)


def json_file(data: bytes) -> None:
    """Read a JSON file of rows, whole and in pieces."""
    spec, step, body = _chosen(data)
    found = _read_both(read_json_file, body, spec, step)
    if isinstance(found, np.ndarray) and _is_plain(spec):
        document = json.loads(body.decode("utf-8-sig"))
        rows = document["rows"] if isinstance(document, dict) else document
        _assert_same(found, _plain_json(rows if isinstance(rows, list) else [rows], spec))


def ndjson_body(data: bytes) -> None:
    """Read NDJSON whole and in pieces, and compare it with Python's json module."""
    spec, step, body = _chosen(data)
    found = _read_both(read_ndjson, body, spec, step)
    if isinstance(found, np.ndarray) and _is_plain(spec):
        lines = map(bytes.strip, body.removeprefix(b"\xef\xbb\xbf").split(b"\n"))
        _assert_same(found, _plain_json([json.loads(line) for line in lines if line], spec))


def npy_body(data: bytes) -> None:
    """Read an NPY file, and compare it with NumPy's own reading."""
    spec, _, body = _chosen(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = _outcome(lambda: _matrix(read_npy(io.BytesIO(body), spec), spec))
        if isinstance(found, np.ndarray) and _is_plain(spec):
            _assert_same(found, np.load(io.BytesIO(body), allow_pickle=False).astype(np.float32))


def gzip_body(data: bytes) -> None:
    """Unpack a gzip body, and compare it with Python's gzip module."""
    made = gzip.compress(data[1:], mtime=0) if data[:1] == b"\0" else data[1:]

    def unpacked() -> bytes:
        with open_body(io.BytesIO(made), "gzip", _MOST_BYTES) as stream:
            return stream.read()

    found = _outcome(unpacked)
    if isinstance(found, bytes):
        assert found == gzip.decompress(made)
    else:
        assert isinstance(found, UnreadableBodyError | BodyTooLargeError), found


def _chosen(data: bytes) -> tuple[RowSpec, int, bytes]:
    """Return a spec and a size of pieces by the first two bytes, and the others as a body."""
    first, second = (*data[:2], 0, 0)[:2]
    return SPECS[first % len(SPECS)], 1 + second % 61, data[2:]


def _is_plain(spec: RowSpec) -> bool:
    return not spec.table.has_categories and not spec.missing


def _streams(body: bytes, step: int) -> tuple[BinaryIO, BinaryIO]:
    return io.BytesIO(body), Trickle(body, step)


def _read_both(read: Read, body: bytes, spec: RowSpec, step: int) -> Any:
    """Read a body whole and in pieces, which may only change the fault that is found."""
    whole, pieces = (_outcome(partial(_read, read, one, spec)) for one in _streams(body, step))
    if isinstance(whole, np.ndarray) and isinstance(pieces, np.ndarray):
        _assert_same(whole, pieces)
    else:
        assert isinstance(whole, ShapboxError), (whole, pieces)
        assert isinstance(pieces, ShapboxError), (whole, pieces)
    return whole


def _read(read: Read, stream: BinaryIO, spec: RowSpec) -> Floats:
    return _matrix(read(stream, spec), spec)


def _outcome(function: Callable[[], Any]) -> Any:
    """Return what a function returns, or the refusal that it raises."""
    try:
        return function()
    except ShapboxError as error:
        refusal = error
    assert refusal.status in _REFUSALS, refusal
    str(refusal).encode()  # it can be sent
    return refusal


def _matrix(chunks: Iterator[Floats], spec: RowSpec) -> Floats:
    """Return all chunks as one, each of which must be as `gather_chunks` promises."""
    found = list(chunks)
    for place, chunk in enumerate(found):
        assert chunk.dtype == np.float32
        assert chunk.flags.c_contiguous
        assert chunk.shape[1] == len(spec.features)
        assert 0 < len(chunk) <= spec.chunk_rows
        assert len(chunk) == spec.chunk_rows or place == len(found) - 1
        assert not np.isinf(chunk).any()
    matrix = np.concatenate(found)
    assert 0 < len(matrix) <= spec.max_rows
    return matrix


def _assert_same(found: Floats, wanted: Floats) -> None:
    assert np.array_equal(found, wanted, equal_nan=True), (found, wanted)


def _to_float32(rows: list[list[float]]) -> Floats:
    with np.errstate(over="ignore"):
        return np.array(rows, dtype=np.float64).astype(np.float32)


def _plain_json(rows: list[Any], spec: RowSpec) -> Floats:
    cells = [[row[name] for name in spec.names] if isinstance(row, dict) else row for row in rows]
    return _to_float32([[math.nan if cell is None else float(cell) for cell in row] for row in cells])


def _plain_csv(body: bytes, spec: RowSpec) -> Floats:
    text = body.decode("utf-8-sig")
    records = list(csv.reader(io.StringIO(text, newline=""), strict=True))

    def is_blank(record: list[str]) -> bool:
        return not record or (len(record) == 1 and not record[0].strip())

    while is_blank(records[0]):
        del records[0]
    header, *rest = records
    names = [name if name in spec.names else name.strip() for name in header]
    stripped = [name if name in names else name.strip() for name in spec.names]
    order = [names.index(name) for name in stripped]
    rows = [record or [""] for record in rest if len(spec.names) == 1 or not is_blank(record)]
    return _to_float32([[_number(row[place]) for place in order] for row in rows])


def _number(cell: str) -> float:
    word = cell.strip().lower()
    if word in {"true", "false"}:
        return float(word == "true")
    return _WORDS[word] if word in _WORDS else float(word)
