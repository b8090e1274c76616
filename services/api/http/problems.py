"""Every error as a problem document (RFC 9457), and none with a traceback."""

from __future__ import annotations

import logging
import re
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

import falcon
import orjson

from services.api.http.access_log import REQUEST_ID
from services.api.http.authentication import CHALLENGE
from shared.errors import EngineFaultError, InvalidRowsError, RedisUnavailableError, ShapboxError
from shared.redis.connection import REDIS_AWAY, redis_needed

MEDIA_TYPE = "application/problem+json"

_OF_A_GOOD_ANSWER = (
    "Content-Disposition",
    "Content-Encoding",
    "Content-Length",
    "Content-Location",
    "Location",
    "Preference-Applied",
    "Vary",
)
_log = logging.getLogger("shapbox.problems")


class ProblemWithMembersError(ShapboxError):
    """An error that has something to say beyond its sentence, in members of its own."""

    def __init__(self, message: str, members: dict[str, Any]) -> None:
        super().__init__(message)
        self.members = members


class JobFailedError(ProblemWithMembersError):
    """The job has failed, so there is no result. Its document, in `job`, says why."""

    status = 409
    slug = "job-failed"
    title = "The job has failed"


class JobCancelledError(ProblemWithMembersError):
    """The job was cancelled, so there is no result."""

    status = 409
    slug = "job-cancelled"
    title = "The job was cancelled"


def problem_document(error: ShapboxError, request_id: str) -> dict[str, Any]:
    """Return the document of an error; that of an unexpected one tells nothing of the inside.

    That of an engine does: as with a job, its reason and what to do are for the client.
    """
    document: dict[str, Any] = {
        "type": f"/problems/{error.slug}",
        "title": error.title,
        "status": error.status,
        "detail": str(error),
        "request_id": request_id,
    }
    if isinstance(error, InvalidRowsError):
        document["errors"] = [asdict(row) for row in error.errors]
    if isinstance(error, ProblemWithMembersError):
        document |= error.members
    if error.status == 500 and not isinstance(error, EngineFaultError):
        document["detail"] = f"This is not your fault. The log tells more under request {request_id}."
    return document


def install(app: Any) -> None:
    """Let `app` (falcon.App) answer every error with a problem document."""
    app.add_error_handler(Exception, _answer_unexpected)
    app.add_error_handler(falcon.HTTPError, _answer_falcon)
    app.add_error_handler(ShapboxError, _answer_shapbox)
    app.add_error_handler(REDIS_AWAY, _answer_redis)


def _answer_shapbox(req: Any, resp: Any, error: ShapboxError, _params: dict[str, Any]) -> None:
    if error.status == 500:
        _log.error("the request failed inside: %s", error, exc_info=error)
    elif error.status > 500:
        _log.warning("the request was not served: %s", error, extra={"problem": error.slug})
    if error.status == 401:
        resp.set_header("WWW-Authenticate", CHALLENGE)
    if error.retry_after is not None:
        resp.set_header("Retry-After", str(error.retry_after))
    _answer(resp, error.status, problem_document(error, req.env[REQUEST_ID]))


def _answer_redis(req: Any, resp: Any, error: Exception, params: dict[str, Any]) -> None:
    """Answer where a call to Redis was not wrapped: as if it had been."""
    try:
        with redis_needed():
            raise error
    except RedisUnavailableError as known:
        _answer_shapbox(req, resp, known, params)


def _answer_falcon(req: Any, resp: Any, error: Any, _params: dict[str, Any]) -> None:
    """Answer what falcon itself refuses: no such route, a method that is not there, a broken header."""
    status = falcon.http_status_to_code(error.status)
    headers = dict(error.headers or ())
    for name, value in headers.items():
        resp.set_header(name, value)
    phrase = HTTPStatus(status).phrase
    title, detail = phrase, error.description or error.title or phrase
    if status == 404:
        title, detail = "There is nothing here", f"There is no {req.path[:200]}. /docs lists what there is."
    elif status == 405:
        title = "This method is not allowed here"
        detail = f"{req.path[:200]} takes {headers.get('Allow') or headers.get('allow', '')}."
    document = {
        "type": "/problems/" + re.sub(r"[^a-z0-9]+", "-", phrase.lower()),
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": req.env[REQUEST_ID],
    }
    _answer(resp, status, document)


def _answer_unexpected(req: Any, resp: Any, error: Exception, _params: dict[str, Any]) -> None:
    _log.error("the request failed unexpectedly", exc_info=error)
    _answer(resp, 500, problem_document(ShapboxError(), req.env[REQUEST_ID]))


def _answer(resp: Any, status: int, document: dict[str, Any]) -> None:
    for name in _OF_A_GOOD_ANSWER:  # what was set before something went wrong
        resp.delete_header(name)
    resp.stream = resp.text = resp.media = None
    resp.status = status
    resp.content_type = MEDIA_TYPE
    resp.data = orjson.dumps(document)
