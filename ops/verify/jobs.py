"""Sends rows and fetches values through the REST contract, and deletes every job again."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import orjson

from ops.lab.load import accepted_id
from ops.lab.reference import Matrix
from ops.lab.rows import Form
from ops.verify.appliance import CALL_SECONDS, JOBS_KEYS, LOG, Appliance
from ops.verify.report import FailedError, NotCheckedError
from shapbox import Job, NoAnswerError, RefusedError, Response, Shapbox
from shapbox.exchange import Body, Request
from shared.engines.checks import TOLERANCE
from shared.models.contract import Contract
from shared.models.labelled_rows import labelled_rows


class Jobs:
    """Makes jobs with its own idempotency keys, and tracks them so that none is left behind.

    A small job must be done within `seconds`; so long is a request repeated that gets no answer, or "not now".
    """

    def __init__(self, appliance: Appliance, seconds: float) -> None:
        self._appliance = appliance
        self._seconds = seconds
        self._prefix = f"verify-{secrets.token_hex(6)}"
        #: Requests that were sent and not answered yet: a broken call may have made a job all the same.
        self._unanswered: dict[str, bytes] = {}
        self._there: list[str] = []
        #: How many requests were sent, and the largest residual of the jobs that were finished.
        self.made, self.largest_residual = 0, 0.0

    @cached_property
    def _box(self) -> Shapbox:
        key = self._appliance.keys[self._appliance.take(JOBS_KEYS)]
        return Shapbox(self._appliance.url, key, patience=self._seconds)

    def explain(self, model: Contract, rows: Matrix) -> tuple[bytes, float]:
        """Have rows explained in one request; return the result and the seconds it took.

        Raises FailedError if it takes too long, and RefusedError.
        """
        started = time.monotonic()
        answer, job_id = self._send(f"/v1/explain?wait={min(self._seconds, 60):.0f}", model, rows)
        took = time.monotonic() - started
        if answer.status == 202:
            said = f"no values after {took:.0f} s, the job is {answer.json()['status']}"
            raise FailedError(f"Not in time: {said}.", LOG)
        if job_id:
            self._conclude(job_id)
        return answer.body, took

    def offer(self, model: Contract, rows: Matrix) -> Response:
        """Send rows as a job and return the answer. Raises RefusedError."""
        answer, job_id = self._send("/v1/jobs", model, rows)
        if job_id is None:
            raise FailedError(f"POST /v1/jobs tells of no job: {answer}.", LOG)
        return answer

    def submit(self, model: Contract, rows: Matrix) -> str:
        """Send rows as a job and return its id. Raises RefusedError."""
        return str(self.offer(model, rows).json()["id"])

    def wait(self, job_id: str, jobs: int = 1) -> Job:
        """Wait for the end of one of so many jobs. Raises FailedError if it is late."""
        try:
            return self._box.job(job_id).wait(seconds=self._seconds * jobs)
        except TimeoutError as fault:
            raise FailedError(f"Not in time: {fault}", LOG) from fault

    def finish(self, job_id: str, jobs: int = 1) -> bytes:
        """Wait for the end of one of so many jobs, return its result and delete it.

        Raises FailedError if it does not end in time or its residual is too large, RefusedError if it failed.
        """
        result = self.wait(job_id, jobs).fetch(Form.JSON)
        self._conclude(job_id)
        return result

    def clear(self) -> list[str]:
        """Delete all that is there; returns what could not be deleted."""
        with contextlib.suppress(NoAnswerError, RefusedError, NotCheckedError):
            for key, body in list(self._unanswered.items()):
                # Sent once more under the same key it is the same job, if there is one.
                self._post("/v1/jobs", key, body)
            for job_id in list(self._there):
                self._delete(job_id)
        return [*self._there, *(f"one sent as {key}" for key in self._unanswered)]

    def _conclude(self, job_id: str) -> None:
        """Note the residual of a job that has ended, and delete it."""
        self.largest_residual = max(self.largest_residual, residual_of(self._box.job(job_id).document))
        with contextlib.suppress(NoAnswerError, RefusedError):  # `clear` tries it again
            self._delete(job_id)

    def _delete(self, job_id: str) -> None:
        try:
            self._box.job(job_id).delete()
        except RefusedError as fault:
            if fault.status != 404:
                raise
        self._there.remove(job_id)

    def _send(self, path: str, model: Contract, rows: Matrix) -> tuple[Response, str | None]:
        """Send rows; return the answer and its job."""
        self.made += 1
        body = orjson.dumps({"model": model.id, "rows": labelled_rows(model.features, rows)})
        return self._post(path, f"{self._prefix}-{self.made}", body)

    def _post(self, path: str, key: str, body: bytes) -> tuple[Response, str | None]:
        """Send rows, and take down the job that the answer tells of, if any."""
        self._unanswered[key] = body
        headers = {"Accept": Form.JSON.value, "Idempotency-Key": key}
        content = Body(Form.JSON, lambda: [body], len(body))
        request = Request("POST", path, headers, content, self._seconds + CALL_SECONDS)
        try:
            answer = self._box.connection.run(self._box.flows.ask(request))
        except RefusedError as fault:
            # A Redis that was stopped carries out what it was sent when it goes on, even if the client was told of a fault.
            if fault.status < 500:
                self._unanswered.pop(key)
            self._there += [str(fault.job["id"])] if fault.job else []
            raise
        self._unanswered.pop(key)
        job_id = accepted_id(answer)
        self._there += [job_id] if job_id else []
        return answer, job_id


def residual_of(document: Mapping[str, Any]) -> float:
    """Return the largest residual of a completed job.

    Raises FailedError if it is beyond what engines are allowed, or the job was not checked.
    """
    residual, which = document["largest_residual"], f"job {document['id']} of {document['model']}"
    if residual is None:
        remedy = "Workers of an earlier version may still run beside this api: deploy one version of all."
        raise FailedError(f"The sums of {which} were not checked.", remedy)
    if not residual <= TOLERANCE:
        detail = f"The largest residual of {which} is {residual:.0e}, and {TOLERANCE:.0e} is allowed."
        raise FailedError(detail, "Do not use these values: roll back to the deploy before, and report it.")
    return float(residual)
