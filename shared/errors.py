"""All errors that Shapbox raises on purpose.

The api turns them into problem documents (RFC 9457) by their `status`, `slug` and `title`. A message says what is wrong, where,
and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

#: Faulty cells that one response names, at most.
MAX_ROW_ERRORS = 20


class ShapboxError(Exception):
    """The base class. `status` is the HTTP status, `slug` names the problem type, `title` is its fixed text."""

    status = 500
    slug = "internal"
    title = "Internal error"
    #: Seconds after which a retry may succeed; None if retrying does not help.
    retry_after: int | None = None


class SettingsError(ShapboxError):
    """Settings are invalid. The message lists all of them."""


class BootError(ShapboxError):
    """The appliance cannot start here. The message says why and what to do."""


# --- What a client sent -------------------------------------------------------------------------------


class HttpError(ShapboxError):
    """The request does not follow HTTP, or exceeds a limit of the server."""

    def __init__(self, status: int, slug: str, message: str) -> None:
        super().__init__(message)
        self.status, self.slug, self.title = status, slug, HTTPStatus(status).phrase


class UnreadableBodyError(ShapboxError):
    """The body is incomplete or does not follow the syntax of its media type."""

    status = 400
    slug = "unreadable-body"
    title = "The body cannot be parsed"


class BadParameterError(ShapboxError):
    """A header or query parameter has an invalid value."""

    status = 400
    slug = "bad-parameter"
    title = "Invalid parameter"


class UnauthorizedError(ShapboxError):
    """No key, or an unknown one."""

    status = 401
    slug = "unauthorized"
    title = "A valid key is required"


class ForbiddenError(ShapboxError):
    """The key is valid, but not for this."""

    status = 403
    slug = "forbidden"
    title = "This key has no access"


class NotFoundError(ShapboxError):
    """Nothing exists at this path."""

    status = 404
    slug = "not-found"
    title = "Not found"


class JobNotFoundError(NotFoundError):
    """No job has this id: it never existed, was deleted, or has expired."""

    slug = "job-not-found"
    title = "Job not found"


class ModelNotFoundError(NotFoundError):
    """No model has this name or version. The message lists the models."""

    slug = "model-not-found"
    title = "Model not found"


class NotAcceptableError(ShapboxError):
    """None of the media types in Accept is available."""

    status = 406
    slug = "not-acceptable"
    title = "No acceptable media type"


class ConflictError(ShapboxError):
    """The job's state does not allow this."""

    status = 409
    slug = "conflict"
    title = "The job's state does not allow this"


class ResultNotReadyError(ConflictError):
    """The job has not ended."""

    slug = "result-not-ready"
    title = "The result is not ready"
    retry_after = 1


class BodyTooLargeError(ShapboxError):
    """The body, as sent or unpacked, is larger than MAX_BODY_MB."""

    status = 413
    slug = "body-too-large"
    title = "The body is too large"


class TooManyRowsError(ShapboxError):
    """More rows than MAX_ROWS."""

    status = 413
    slug = "too-many-rows"
    title = "Too many rows"


class BatchTooLargeError(ShapboxError):
    """The explanation of a single row does not fit a worker's memory."""

    status = 413
    slug = "batch-too-large"
    title = "The explanation of one row is too large"


class UnsupportedMediaTypeError(ShapboxError):
    """The Content-Type or Content-Encoding is not supported."""

    status = 415
    slug = "unsupported-media-type"
    title = "Unsupported media type"


@dataclass(frozen=True, slots=True)
class RowError:
    """A faulty cell or row: `row` counts data rows from 0; `column` is the feature's name, if one is at fault."""

    row: int | None
    column: str | None
    detail: str


class UnprocessableError(ShapboxError):
    """The request is readable, but invalid."""

    status = 422
    slug = "unprocessable"
    title = "Invalid request"


class ModelRefusedError(UnprocessableError):
    """The model exists, but its activation refused it. The message says why."""

    slug = "model-refused"
    title = "The model was refused"


class MethodRefusedError(UnprocessableError):
    """The model cannot be explained by this method. The message says why."""

    slug = "method-refused"
    title = "The model does not support this method"


class InvalidRowsError(UnprocessableError):
    """Rows are invalid: wrong column count, unknown or missing feature, not a number, infinity."""

    slug = "invalid-rows"
    title = "Some rows are invalid"

    def __init__(self, message: str, errors: list[RowError] | None = None) -> None:
        super().__init__(message)
        self.errors = (errors or [])[:MAX_ROW_ERRORS]


class IdempotencyConflictError(UnprocessableError):
    """The Idempotency-Key was used with another body."""

    slug = "idempotency-conflict"
    title = "The Idempotency-Key belongs to another request"


# --- What the appliance cannot do now -----------------------------------------------------------------


class QueueFullError(ShapboxError):
    """MAX_QUEUED_BATCHES are waiting."""

    status = 429
    slug = "queue-full"
    title = "The queue is full"
    retry_after = 5


class RedisUnavailableError(ShapboxError):
    """Redis does not answer, or refuses writes."""

    status = 503
    slug = "redis-unavailable"
    title = "Redis is unavailable"
    retry_after = 2


class RedisFullError(ShapboxError):
    """Redis has too little memory left for the job."""

    status = 503
    slug = "redis-full"
    title = "Redis is full"
    retry_after = 10


class StorageUnavailableError(ShapboxError):
    """The object store does not answer, or fails."""

    status = 503
    slug = "storage-unavailable"
    title = "The object store is unavailable"
    retry_after = 5


class DrainingError(ShapboxError):
    """The appliance is stopping and accepts no new work."""

    status = 503
    slug = "draining"
    title = "The appliance is stopping"
    retry_after = 10


class StorageFullError(ShapboxError):
    """The disk has too few free bytes or inodes."""

    status = 507
    slug = "storage-full"
    title = "The disk is full"
    retry_after = 60


# --- Inside -------------------------------------------------------------------------------------------


class PayloadMissingError(ShapboxError):
    """An object of a job is missing from the store, or damaged."""

    slug = "payload-missing"
    title = "Stored data is missing"


class ModelFaultError(ShapboxError):
    """A model's files are missing, truncated or altered, or its manifest cannot be read."""

    slug = "model-fault"
    title = "The model's files do not match its manifest"


class EngineFaultError(ShapboxError):
    """An engine failed, or its values do not add up to the margin and are withheld."""

    slug = "engine-fault"
    title = "The engine failed"


class EngineError(ShapboxError):
    """The engine of the job's method cannot explain the batch."""

    slug = "engine"
    title = "The batch cannot be explained"
