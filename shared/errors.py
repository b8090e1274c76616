"""All errors that Shapbox raises on purpose.

The api turns them into problem documents (RFC 9457) by their `status`, `slug` and `title`. A message says what is wrong, where,
and what to do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

#: Faulty cells that one response names, at most.
MAX_ROW_ERRORS = 20


class ShapboxError(Exception):
    """The base class. `slug` names the problem type, `title` is its fixed text."""

    status = 500
    slug = "internal"
    title = "Internal error"
    #: Seconds after which a retry may succeed; None if retrying does not help.
    retry_after: int | None = None

    def __init_subclass__(cls, *, status: int = 0, title: str = "", retry_after: int | None = None) -> None:
        """Set what is given and inherit the rest. With a title, the slug is made of the name."""
        cls.status, cls.retry_after = status or cls.status, retry_after or cls.retry_after
        if title:
            cls.title = title
            cls.slug = re.sub(r"\B(?=[A-Z])", "-", cls.__name__.removesuffix("Error")).lower()


class SettingsError(ShapboxError):
    """Settings are invalid. The message lists all of them."""


class BootError(ShapboxError):
    """The appliance cannot start here. The message says why and what to do."""


# --- Faults of a request ------------------------------------------------------------------------------


class HttpError(ShapboxError):
    """The request does not follow HTTP, or exceeds a limit of the server."""

    def __init__(self, status: int, slug: str, message: str) -> None:
        super().__init__(message)
        self.status, self.slug, self.title = status, slug, HTTPStatus(status).phrase


class UnreadableBodyError(ShapboxError, status=400, title="The body cannot be parsed"):
    """The body is incomplete or does not follow the syntax of its media type."""


class BadParameterError(ShapboxError, status=400, title="Invalid parameter"):
    """A header or query parameter has an invalid value."""


class UnauthorizedError(ShapboxError, status=401, title="A valid key is required"):
    """No key, or an unknown one."""


class ForbiddenError(ShapboxError, status=403, title="This key has no access"):
    """The key is valid, but not for this."""


class NotFoundError(ShapboxError, status=404, title="Not found"):
    """Nothing exists at this path."""


class JobNotFoundError(NotFoundError, title="Job not found"):
    """No job has this id: it never existed, was deleted, or has expired."""


class ModelNotFoundError(NotFoundError, title="Model not found"):
    """No model has this name or version. The message lists the models."""


class NotAcceptableError(ShapboxError, status=406, title="No acceptable media type"):
    """None of the media types in Accept is available."""


class ConflictError(ShapboxError, status=409, title="The job's state does not allow this"):
    """The job's state does not allow this."""


class ResultNotReadyError(ConflictError, title="The result is not ready", retry_after=1):
    """The job has not ended."""


class BodyTooLargeError(ShapboxError, status=413, title="The body is too large"):
    """The body, as sent or unpacked, is larger than MAX_BODY_MB."""


class TooManyRowsError(ShapboxError, status=413, title="Too many rows"):
    """More rows than MAX_ROWS."""


class BatchTooLargeError(ShapboxError, status=413, title="The explanation of one row is too large"):
    """The explanation of a single row does not fit a worker's memory."""


class UnsupportedMediaTypeError(ShapboxError, status=415, title="Unsupported media type"):
    """The Content-Type or Content-Encoding is not supported."""


@dataclass(frozen=True, slots=True)
class RowError:
    """A faulty row or cell: `row` counts from 0; `column` is the feature's name, if known."""

    row: int | None
    column: str | None
    detail: str


class UnprocessableError(ShapboxError, status=422, title="Invalid request"):
    """The request is readable, but invalid."""


class ModelRefusedError(UnprocessableError, title="The model was refused"):
    """The model exists, but its activation refused it. The message says why."""


class MethodRefusedError(UnprocessableError, title="The model does not support this method"):
    """The model cannot be explained by this method. The message says why."""


class InvalidRowsError(UnprocessableError, title="Some rows are invalid"):
    """Rows are invalid: wrong column count, unknown or missing feature, not a number, infinity."""

    def __init__(self, message: str, errors: list[RowError] | None = None) -> None:
        super().__init__(message)
        self.errors = (errors or [])[:MAX_ROW_ERRORS]


class IdempotencyConflictError(UnprocessableError, title="The Idempotency-Key belongs to another request"):
    """The Idempotency-Key was used with another body."""


# --- Temporary conditions -----------------------------------------------------------------------------


class QueueFullError(ShapboxError, status=429, title="The queue is full", retry_after=5):
    """MAX_QUEUED_BATCHES are waiting."""


class RedisUnavailableError(ShapboxError, status=503, title="Redis is unavailable", retry_after=2):
    """Redis does not answer, or refuses writes."""


class RedisReadOnlyError(RedisUnavailableError, title="Redis is read-only"):
    """REDIS_URL leads to a replica, which refuses writes."""


class RedisFullError(ShapboxError, status=503, title="Redis is full", retry_after=10):
    """Redis has too little memory left for the job."""


class StorageUnavailableError(
    ShapboxError, status=503, title="The object store is unavailable", retry_after=5
):
    """The object store does not answer, or fails."""


class StartingError(ShapboxError, status=503, title="The appliance is starting", retry_after=5):
    """Boot is activating models, or the api is starting. ops/run/starting_answers.py tells it."""


class DrainingError(ShapboxError, status=503, title="The appliance is stopping", retry_after=10):
    """The appliance is stopping and accepts no new work."""


class StorageFullError(ShapboxError, status=507, title="The disk is full", retry_after=60):
    """The disk has too few free bytes or inodes."""


# --- Inside -------------------------------------------------------------------------------------------


class PayloadMissingError(ShapboxError, title="Stored data is missing"):
    """An object of a job is missing from the store, or damaged."""


class ModelFaultError(ShapboxError, title="The model's files do not match its manifest"):
    """A model's files are missing, truncated or altered, or its manifest cannot be read."""


class EngineFaultError(ShapboxError, title="The engine failed"):
    """An engine failed, or its values do not add up to the margin and are withheld."""


class EngineError(ShapboxError, title="The batch cannot be explained"):
    """The engine of the job's method cannot explain the batch."""
