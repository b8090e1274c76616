"""A compiled model as one file, which any number of processes map and so share.

8 bytes   magic
32 bytes  SHA-256 of all that follows
8 bytes   length of the header
header    JSON: what it was made of, and where each array lies
arrays    each at a multiple of 64 bytes
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from shared.treeshap.checks import find_fault
from shared.treeshap.compiled import DTYPES, Compiled

#: Changes whenever the same model would be compiled into another file, or is compared with XGBoost in more ways; the
#: file's name holds it.
FORMAT = 3
_MAGIC = b"SHAPTBL\n"
_DIGEST_END = len(_MAGIC) + 32
_HEADER_BEGIN = _DIGEST_END + 8
_ALIGNMENT = 64


class TableFileError(Exception):
    """A file that holds no compiled model, or not this one; the message says why."""


def table_path(folder: Path, model_sha256: str) -> Path:
    """Return where a model's tables are kept."""
    return folder / f"{model_sha256}-{FORMAT}.shaptables"


def write_tables(path: Path, compiled: Compiled, model_sha256: str) -> None:
    """Write a compiled model at once: whole or not at all. Raises OSError if the disk refuses."""
    descriptor, aside = tempfile.mkstemp(prefix=".compiling-", dir=path.parent)
    digest = hashlib.sha256()
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_MAGIC + bytes(digest.digest_size))
            for piece in _pieces(compiled, model_sha256):
                digest.update(piece)
                file.write(piece)
            file.seek(len(_MAGIC))
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        Path(aside).rename(path)
    except OSError:
        Path(aside).unlink(missing_ok=True)
        raise


def _pieces(compiled: Compiled, model_sha256: str) -> Iterator[bytes | memoryview]:
    """Yield what follows the digest, without a copy of the whole: boot has little memory."""
    places: dict[str, tuple[int, int]] = {}
    at = 0
    for name, array in compiled.arrays.items():
        places[name] = (at, len(array))
        at += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    header = orjson.dumps(
        {"format": FORMAT, "model": model_sha256, "features": compiled.features, "arrays": places}
    )
    header += b" " * (-(_HEADER_BEGIN + len(header)) % _ALIGNMENT)
    yield struct.pack("<Q", len(header)) + header
    for name, array in compiled.arrays.items():
        yield np.ascontiguousarray(array, dtype=DTYPES[name]).view(np.uint8).data
        yield bytes(-array.nbytes % _ALIGNMENT)


def read_tables(path: Path, model_sha256: str) -> Compiled:
    """Map a compiled model after checking all of it. Raises TableFileError and OSError."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < _HEADER_BEGIN:
            raise TableFileError(f"{path.name} is truncated")
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    if content[: len(_MAGIC)] != _MAGIC:
        raise TableFileError(f"{path.name} holds no tables")
    if hashlib.sha256(content[_DIGEST_END:]).digest() != content[len(_MAGIC) : _DIGEST_END]:
        raise TableFileError(f"{path.name} was altered or truncated")
    try:
        compiled = _arrays(content, model_sha256)
    except (ValueError, KeyError, TypeError, struct.error, OverflowError) as error:
        raise TableFileError(f"{path.name} is not understood: {error}") from error
    if fault := find_fault(compiled):
        raise TableFileError(f"{path.name} contradicts itself: {fault}")
    return compiled


def _arrays(content: memoryview, model_sha256: str) -> Compiled:
    (length,) = struct.unpack("<Q", content[_DIGEST_END:_HEADER_BEGIN])
    body = content[_HEADER_BEGIN + length :]
    header: dict[str, Any] = orjson.loads(content[_HEADER_BEGIN : _HEADER_BEGIN + length])
    if (header["format"], header["model"]) != (FORMAT, model_sha256):
        raise ValueError("it was made of another model, or by another version")
    arrays = {}
    for name, dtype in DTYPES.items():
        at, count = header["arrays"][name]
        if min(at, count) < 0 or at % _ALIGNMENT or at + count * dtype.itemsize > len(body):
            raise ValueError(f"{name} lies outside of it")
        arrays[name] = np.frombuffer(body[at : at + count * dtype.itemsize], dtype=dtype)
    return Compiled(features=int(header["features"]), **arrays)
