"""A job as it is stored in Redis and shown to clients."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

from shared.errors import PayloadMissingError
from shared.interactions import Interactions


class Status(StrEnum):
    """The state of a job. The last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether this status is final."""
        return self in {Status.COMPLETED, Status.FAILED, Status.CANCELLED}


class Method(StrEnum):
    """The baseline that values are measured against."""

    TREE_PATH_DEPENDENT = "tree_path_dependent"
    INTERVENTIONAL = "interventional"


@dataclass(frozen=True, slots=True)
class Job:
    """One job. Times are in seconds since the epoch.

    `todo` counts batches without a recorded result; `largest_residual` is that of all recorded ones (shared/engines/checks.py).
    """

    id: str
    model: str
    method: Method
    rows: int
    batch_rows: int
    features: int
    outputs: int
    fallback: bool = False
    status: Status = Status.QUEUED
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    error: Mapping[str, Any] | None = None
    todo: int = 0
    request: str = ""
    idempotency: str = ""
    interactions: Interactions | None = None
    largest_residual: float | None = None

    @property
    def batches(self) -> int:
        """The number of batches."""
        return -(-self.rows // self.batch_rows)

    def rows_of(self, batch: int) -> range:
        """Return the row numbers of a batch."""
        start = batch * self.batch_rows
        return range(start, min(start + self.batch_rows, self.rows))

    def to_hash(self) -> dict[Any, Any]:
        """Return the fields as Redis keeps them, without those that are None, and their checksum.

        `todo` is kept as a set of its own.
        """
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "todo"}
        texts = {name: _to_text(value) for name, value in values.items() if value is not None}
        return texts | {_CHECKSUM: _checksum(texts)}

    @classmethod
    def from_hash(cls, hash_: Mapping[bytes, bytes], todo: int) -> Job:
        """Read the fields that `to_hash` and the transitions wrote.

        Raises PayloadMissingError if they are damaged. Records of earlier versions have no checksum.
        """
        try:
            texts = {name.decode(): text.decode() for name, text in hash_.items() if text}
            values = {one.name: texts[one.name] for one in fields(cls) if one.name in texts}
            parsed = {name: _PARSERS.get(name, str)(text) for name, text in values.items()}
            job = cls(todo=todo, **parsed)
            pairs = (job.interactions and job.interactions.top_pairs) or 1
            sizes = (job.rows, job.batch_rows, job.features, job.outputs, pairs)
            sound = min(sizes) > 0 and max(sizes) < _ANY_SIZE and "status" in texts
            sound &= texts.get(_CHECKSUM, _checksum(texts)) == _checksum(texts)
            for time in (job.created_at, job.started_at, job.finished_at):
                rfc3339(time)
        except (ValueError, TypeError, ArithmeticError, OSError) as fault:
            raise PayloadMissingError(DAMAGED_RECORD) from fault
        if not sound:
            raise PayloadMissingError(DAMAGED_RECORD)
        return job

    def document(self, prefix: str = "") -> dict[str, Any]:
        """Return the job document of the REST contract; its links begin with URL_PREFIX."""
        path = f"{prefix}/v1/jobs/{self.id}"
        document: dict[str, Any] = {
            "id": self.id,
            "status": self.status.value,
            "model": self.model,
            "method": self.method.value,
            "rows": self.rows,
            "batches": {"total": self.batches, "completed": self.batches - self.todo},
            "created_at": rfc3339(self.created_at),
            "started_at": rfc3339(self.started_at),
            "finished_at": rfc3339(self.finished_at),
            "error": self.error,
            "largest_residual": self.largest_residual,
            "links": {"self": path, "result": f"{path}/result"},
        }
        if self.fallback:
            document["fallback"] = True
        if self.interactions:
            document["interactions"] = True
            if self.interactions.top_pairs is not None:
                document["top_pairs"] = self.interactions.top_pairs
        return document


#: The field with the checksum of those that never change after a job was accepted.
_CHECKSUM = "checksum"
_CHANGING = frozenset({_CHECKSUM, "status", "started_at", "finished_at", "error", "largest_residual"})
#: More rows, features or outputs than any job has.
_ANY_SIZE = 2**53
#: The error of a record that cannot be read.
DAMAGED_RECORD = "The job's record in Redis is damaged. Delete the job and send its rows again."


#: The parsers of stored fields that are not text.
_PARSERS: dict[str, Callable[[str], Any]] = {
    "method": Method,
    "rows": int,
    "batch_rows": int,
    "features": int,
    "outputs": int,
    "fallback": "1".__eq__,
    "status": Status,
    "created_at": float,
    "started_at": float,
    "finished_at": float,
    "error": orjson.loads,
    "interactions": Interactions.of_text,
    "largest_residual": float,
}


def _checksum(texts: Mapping[str, str]) -> str:
    """Return the CRC-32 of the fields that never change."""
    lasting = sorted((name, text) for name, text in texts.items() if text and name not in _CHANGING)
    return f"{zlib.crc32(repr(lasting).encode()):08x}"


def _to_text(value: str | float | Interactions) -> str:
    if isinstance(value, Interactions):
        return value.text()
    return str(int(value) if isinstance(value, bool) else value)


def rfc3339(seconds: float | None) -> str | None:
    """Format a time as all documents show it; None stays None."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
