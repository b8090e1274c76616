"""Every error as a problem document (RFC 9457), never with a traceback."""

from __future__ import annotations

import logging
import re
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

import falcon
import orjson
import redis

from services.api.http.access_log import REQUEST_ID
from shared.errors import EngineFaultError, InvalidRowsError, RedisUnavailableError, ShapboxError
from shared.jobs.document import Job
from shared.redis.connection import redis_needed

MEDIA_TYPE = "application/problem+json"

#: The challenge that goes with every 401 (RFC 6750).
_CHALLENGE = 'Bearer realm="shapbox"'
#: Headers that describe a result, which a problem document must not have.
_RESULT_HEADERS = (
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Length",
    "Content-Location",
    "ETag",
    "Location",
    "Preference-Applied",
    "Vary",
)
_log = logging.getLogger("shapbox.problems")


class EndedWithoutResultError(ShapboxError):
    """The job has ended without a result. The problem's member `job` is its document."""

    def __init__(self, message: str, job: Job) -> None:
        super().__init__(message)
        self.job = job


class JobFailedError(EndedWithoutResultError, status=409, title="The job has failed"):
    """The job has failed, so there is no result. Its document says why."""


class JobCancelledError(EndedWithoutResultError, status=409, title="The job was cancelled"):
    """The job was cancelled, so there is no result."""


def install(app: Any) -> None:
    """Make `app` (falcon.App) answer every error with a problem document."""
    app.add_error_handler(Exception, _answer_error)
    app.add_error_handler(falcon.HTTPError, _answer_falcon)
    app.add_error_handler(redis.RedisError, _answer_redis)


def _answer_error(req: Any, resp: Any, fault: Exception, _params: dict[str, Any]) -> None:
    error = fault if isinstance(fault, ShapboxError) else ShapboxError()
    if error.status == 500:
        _log.error("the request failed: %s", fault, exc_info=fault)
    elif error.status > 500:
        _log.warning("the request was not served: %s", error, extra={"problem": error.slug})
    if error.status == 401:
        resp.set_header("WWW-Authenticate", _CHALLENGE)
    if error.retry_after is not None:
        resp.set_header("Retry-After", str(error.retry_after))
    detail, members = str(error), dict[str, Any]()
    if error.status == 500 and not isinstance(
        error, EngineFaultError
    ):  # an engine's reason is for the client
        detail = f"This is not your fault. The operator finds the reason in the log, at request {req.env[REQUEST_ID]}."
    if isinstance(error, InvalidRowsError):
        members = {"errors": [asdict(row) for row in error.errors]}
    elif isinstance(error, EndedWithoutResultError):
        members = {"job": error.job.document(req.root_path)}
    _answer(req, resp, error.status, error.slug, error.title, detail, members)


def _answer_redis(req: Any, resp: Any, error: Exception, params: dict[str, Any]) -> None:
    """Answer a failed call to Redis, so that no resource needs `redis_needed`."""
    try:
        with redis_needed():
            raise error
    except (redis.RedisError, RedisUnavailableError) as known:
        _answer_error(req, resp, known, params)


def _answer_falcon(req: Any, resp: Any, error: Any, _params: dict[str, Any]) -> None:
    """Answer what falcon refuses itself: an unknown route or method, or a broken header."""
    status = falcon.http_status_to_code(error.status)
    phrase = HTTPStatus(status).phrase
    title, detail = phrase, error.description or error.title or phrase
    headers = {name.title(): value for name, value in dict(error.headers or ()).items()}
    for name, value in headers.items():
        resp.set_header(name, value)
    if status == 404:
        title = "Not found"
        detail = f"{req.path[:200]} does not exist. {req.root_path}/docs lists all addresses."
    elif status == 405:
        title, detail = "Method not allowed", f"{req.path[:200]} accepts {headers.get('Allow', '')}."
    _answer(req, resp, status, re.sub(r"[^a-z0-9]+", "-", phrase.lower()), title, detail)


def _answer(
    req: Any, resp: Any, status: int, slug: str, title: str, detail: str, members: Any = None
) -> None:
    for name in _RESULT_HEADERS:
        resp.delete_header(name)
    if status != 416:
        resp.delete_header("Content-Range")
    resp.stream = resp.text = resp.media = None
    resp.status = status
    resp.content_type = MEDIA_TYPE
    document = {"type": f"/problems/{slug}", "title": title, "status": status, "detail": detail}
    resp.data = orjson.dumps({**document, "request_id": req.env[REQUEST_ID], **(members or {})})
