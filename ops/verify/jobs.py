"""Sends rows and fetches values through the REST contract, and deletes every job again."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Mapping
from typing import Any

import orjson

from ops.lab.reference import Matrix
from ops.verify.appliance import JOBS_KEYS, Appliance, json_or_none, said
from ops.verify.report import FailedError
from ops.verify.values import ServedModel
from shapbox import NoAnswerError, Response
from shared.engines.checks import TOLERANCE
from shared.models.labelled_rows import labelled_rows

#: Seconds that the network and a proxy may add to what a call waits for.
MARGIN_SECONDS = 15.0
#: Seconds to wait where the queue is full, at most, until the rows are sent again.
MOST_RETRY_SECONDS = 5.0
#: Seconds that one look at a job waits for its end.
LOOK_SECONDS = 5.0
_REMEDY = "The answer says what it takes; the appliance's log has more under its request id."
_UNFINISHED_REMEDY = "The appliance's log says more. Verify again; if it fails again, roll back."


class Jobs:
    """Makes jobs with its own idempotency keys, and tracks them so that none is left behind."""

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance
        self._prefix = f"verify-{secrets.token_hex(6)}"
        self._sent = 0
        #: Requests that were sent and not answered yet: a broken call may have made a job all the same.
        self._unanswered: dict[str, bytes] = {}
        self._there: list[str] = []
        #: How many jobs were made, and the largest residual of those that were finished.
        self.made, self.largest_residual = 0, 0.0

    def explain(self, model: ServedModel, rows: Matrix, seconds: float) -> tuple[dict[str, Any], float]:
        """Have rows explained in one request; return the result and the seconds it took.

        Raises FailedError.
        """
        started = time.monotonic()
        answer, job_id = self._send(f"/v1/explain?wait={min(seconds, 60):.0f}", model, rows, seconds)
        took = time.monotonic() - started
        if answer.status == 202:
            status = answer.json().get("status")
            raise FailedError(
                f"Not in time: no values after {took:.0f} s, the job is {status}.", _UNFINISHED_REMEDY
            )
        if answer.status != 200:
            raise FailedError(f"POST /v1/explain for {model.id} answers {said(answer)}.", _REMEDY)
        if job_id:
            self._note_residual(self._appliance.read(f"/v1/jobs/{job_id}", JOBS_KEYS))
            self._delete(job_id)
        return dict(answer.json()), took

    def submit(self, model: ServedModel, rows: Matrix, seconds: float) -> str:
        """Send rows as a job and return its id. Raises FailedError if they are refused."""
        answer, job_id = self._send("/v1/jobs", model, rows, seconds)
        if answer.status != 202 or job_id is None:
            raise FailedError(f"POST /v1/jobs for {model.id} answers {said(answer)}.", _REMEDY)
        return job_id

    def finish(self, job_id: str, seconds: float) -> dict[str, Any]:
        """Wait for a job's end, return its result and delete it.

        Raises FailedError if it does not end in time, fails, or its residual is too large.
        """
        deadline = time.monotonic() + seconds
        while True:
            document = self._appliance.read(f"/v1/jobs/{job_id}?wait={LOOK_SECONDS:.0f}", JOBS_KEYS)
            if document["finished_at"]:
                break
            if time.monotonic() > deadline:
                done = document["batches"]
                raise FailedError(
                    f"Not in time: the job is {document['status']} after {seconds:.0f} s, {done['completed']} of "
                    f"{done['total']} batches done.",
                    _UNFINISHED_REMEDY,
                )
        if document["status"] != "completed":
            raise FailedError(f"The job has {document['status']}: {document['error']}.", _REMEDY)
        self._note_residual(document)
        result = self._appliance.read(f"/v1/jobs/{job_id}/result", JOBS_KEYS)
        self._delete(job_id)
        return result

    def clear(self) -> list[str]:
        """Delete all that is there; returns what could not be deleted."""
        with contextlib.suppress(NoAnswerError):
            for key, body in list(self._unanswered.items()):
                # Sent once more under the same key it is the same job, if there is one.
                self._post("/v1/jobs", body, key, MARGIN_SECONDS)
            for job_id in list(self._there):
                self._end(job_id)  # of one that has not ended, the document stays
                self._delete(job_id)
        return [*self._there, *(f"one sent as {key}" for key in self._unanswered)]

    def _note_residual(self, document: Mapping[str, Any]) -> None:
        self.largest_residual = max(self.largest_residual, residual_of(document))

    def _end(self, job_id: str) -> Response:
        return self._appliance.call("DELETE", f"/v1/jobs/{job_id}", self._appliance.take(JOBS_KEYS))

    def _delete(self, job_id: str) -> None:
        """Delete a job that has ended. If that fails, `clear` tries it again."""
        if self._end(job_id).status in {204, 404}:
            self._there = [one for one in self._there if one != job_id]

    def _send(
        self, path: str, model: ServedModel, rows: Matrix, seconds: float
    ) -> tuple[Response, str | None]:
        """Send rows; return the answer and its job. While the queue is full, retry as told."""
        self._sent += 1
        key = f"{self._prefix}-{self._sent}"
        body = orjson.dumps({"model": model.id, "rows": labelled_rows(model.columns, rows)})
        deadline = time.monotonic() + seconds
        while True:
            answer, job_id = self._post(path, body, key, seconds + MARGIN_SECONDS)
            if answer.status != 429 or time.monotonic() > deadline:
                return answer, job_id
            time.sleep(min(float(answer.headers.get("retry-after", 1)), MOST_RETRY_SECONDS))

    def _post(self, path: str, body: bytes, key: str, seconds: float) -> tuple[Response, str | None]:
        """Send rows once, and take down the job that the answer tells of, if any."""
        self._unanswered[key] = body
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Idempotency-Key": key}
        answer = self._appliance.call("POST", path, self._appliance.take(JOBS_KEYS), body, headers, seconds)
        if job_id := job_of(answer.headers, json_or_none(answer)):
            self._there.append(job_id)
            self.made += 1
        # A Redis that was stopped carries out what it was sent when it goes on, even if the client was told of a fault.
        if job_id or answer.status < 500:
            self._unanswered.pop(key)
        return answer, job_id


def residual_of(document: Mapping[str, Any]) -> float:
    """Return the largest residual of a completed job.

    Raises FailedError if it is beyond what engines are allowed, or the job was not checked.
    """
    residual = document["largest_residual"]
    if residual is None:
        raise FailedError(
            f"Job {document['id']} of {document['model']} is completed, and its sums were not checked.",
            "Workers of an earlier version may still run beside this api: deploy all of them with one version.",
        )
    if not residual <= TOLERANCE:
        raise FailedError(
            f"The values of {document['model']} are off their margins: the largest residual of job {document['id']} is "
            f"{residual:.0e}, and {TOLERANCE:.0e} is allowed.",
            "Do not use these values: roll back to the deploy before, and report it with the model.",
            f"largest residual {residual:.0e}",
        )
    return float(residual)


def job_of(headers: Mapping[str, str], document: Any) -> str | None:
    """Return the id of the job in an answer: from its address, or of the job that failed."""
    for name in ("content-location", "location"):
        parts = headers.get(name, "").split("/")
        if parts[:3] == ["", "v1", "jobs"]:
            return parts[3]
    failed = document.get("job") if isinstance(document, dict) else None
    return str(failed["id"]) if isinstance(failed, dict) else None
