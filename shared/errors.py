"""Every error that Shapbox raises on purpose, as one tree.

The api turns each into a problem document (RFC 9457) by its `status` and `slug`; the message is what a
person reads, so it says what is wrong and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

#: How many faulty cells one answer names, at most.
MAX_ROW_ERRORS = 20


class ShapboxError(Exception):
    """The root. `status` is the HTTP status, `slug` names the problem type, `title` is its constant text."""

    status = 500
    slug = "internal"
    title = "Something broke inside Shapbox"
    #: Seconds after which a client does well to try again; None where trying again changes nothing.
    retry_after: int | None = None


class SettingsError(ShapboxError):
    """The environment holds values that cannot be used. The message lists all of them."""


class BootError(ShapboxError):
    """The appliance cannot start here. The message says why and what to do."""


# --- What a client sent -------------------------------------------------------------------------------


class HttpError(ShapboxError):
    """The request does not follow HTTP, or exceeds a limit of the server."""

    def __init__(self, status: int, slug: str, message: str) -> None:
        super().__init__(message)
        self.status, self.slug, self.title = status, slug, HTTPStatus(status).phrase


class UnreadableBodyError(ShapboxError):
    """The body breaks off or does not follow its media type's syntax."""

    status = 400
    slug = "unreadable-body"
    title = "The body cannot be read"


class BadParameterError(ShapboxError):
    """A header or query parameter has a value that is not understood."""

    status = 400
    slug = "bad-parameter"
    title = "A parameter is not understood"


class UnauthorizedError(ShapboxError):
    """No key, or one that is not known."""

    status = 401
    slug = "unauthorized"
    title = "A valid key is needed"


class ForbiddenError(ShapboxError):
    """The key is known and does not open this."""

    status = 403
    slug = "forbidden"
    title = "This key does not open that"


class NotFoundError(ShapboxError):
    """There is nothing under this name."""

    status = 404
    slug = "not-found"
    title = "There is nothing here"


class JobNotFoundError(NotFoundError):
    """No job has this id, or it was deleted or has expired."""

    slug = "job-not-found"
    title = "There is no such job"


class ModelNotFoundError(NotFoundError):
    """No model has this name or version. The message lists those there are."""

    slug = "model-not-found"
    title = "There is no such model"


class NotAcceptableError(ShapboxError):
    """None of the media types in Accept can be written."""

    status = 406
    slug = "not-acceptable"
    title = "No such representation"


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
    """The body, plain or unpacked, is larger than MAX_BODY_MB."""

    status = 413
    slug = "body-too-large"
    title = "The body is too large"


class TooManyRowsError(ShapboxError):
    """More rows than MAX_ROWS."""

    status = 413
    slug = "too-many-rows"
    title = "There are too many rows"


class BatchTooLargeError(ShapboxError):
    """Not even one row's explanation fits the memory of a worker."""

    status = 413
    slug = "batch-too-large"
    title = "One row's explanation does not fit"


class UnsupportedMediaTypeError(ShapboxError):
    """The Content-Type or Content-Encoding is none that is read here."""

    status = 415
    slug = "unsupported-media-type"
    title = "This media type is not read here"


@dataclass(frozen=True, slots=True)
class RowError:
    """One faulty cell or row: `row` counts data rows from 0, `column` is the feature's name if one is at fault."""

    row: int | None
    column: str | None
    detail: str


class UnprocessableError(ShapboxError):
    """Readable, but wrong."""

    status = 422
    slug = "unprocessable"
    title = "The request was understood and is wrong"


class ModelRefusedError(UnprocessableError):
    """The model is there and its activation refused it. The message says why."""

    slug = "model-refused"
    title = "This model is refused"


class MethodRefusedError(UnprocessableError):
    """The model cannot be explained by this method. The message says why."""

    slug = "method-refused"
    title = "This model cannot be explained by this method"


class InvalidRowsError(UnprocessableError):
    """Some rows cannot be explained: wrong column count, unknown or missing feature, not a number, infinity."""

    slug = "invalid-rows"
    title = "Some rows cannot be explained"

    def __init__(self, message: str, errors: list[RowError] | None = None) -> None:
        super().__init__(message)
        self.errors = (errors or [])[:MAX_ROW_ERRORS]


class IdempotencyConflictError(UnprocessableError):
    """The Idempotency-Key was used with another body."""

    slug = "idempotency-conflict"
    title = "This Idempotency-Key belongs to another request"


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
    title = "Redis does not answer"
    retry_after = 2


class RedisFullError(ShapboxError):
    """Redis's memory has no room for the job."""

    status = 503
    slug = "redis-full"
    title = "Redis is full"
    retry_after = 10


class StorageUnavailableError(ShapboxError):
    """The object store does not answer."""

    status = 503
    slug = "storage-unavailable"
    title = "The object store does not answer"
    retry_after = 5


class DrainingError(ShapboxError):
    """The appliance is stopping and takes no new work."""

    status = 503
    slug = "draining"
    title = "The appliance is stopping"
    retry_after = 10


class StorageFullError(ShapboxError):
    """The disk has no room for the rows."""

    status = 507
    slug = "storage-full"
    title = "The disk is full"
    retry_after = 60


# --- Inside -------------------------------------------------------------------------------------------


class PayloadMissingError(ShapboxError):
    """An object that a job's state says is there is not in the store."""

    slug = "payload-missing"
    title = "An object is missing from the store"


class ModelFaultError(ShapboxError):
    """A model's files are missing, truncated or altered, or its manifest cannot be read."""

    slug = "model-fault"
    title = "A model's files are not what its manifest says"


class EngineFaultError(ShapboxError):
    """An engine broke, or its values do not add up to the margin: they are not given out."""

    slug = "engine-fault"
    title = "The engine's values are wrong"


class EngineError(ShapboxError):
    """A batch cannot be explained by the engine its method asks for."""

    slug = "engine"
    title = "The batch could not be explained"
