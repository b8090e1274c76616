"""The demo's REST client: sends rows as a job, follows it, fetches its values."""

from __future__ import annotations

import http.client
import io
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops.http_call import Answer, call
from ops.lab.demo.failure import DemoError

#: Seconds between two looks at a job.
POLL_SECONDS = 0.1
#: Seconds that one call may take: a large result is written while it is read.
CALL_SECONDS = 120.0


class RestClient:
    """Calls the appliance at `url` with `key`. A call raises DemoError if it fails."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"}

    def models(self) -> list[dict[str, Any]]:
        """Return what the appliance says of its models."""
        return list(self._call("GET", "/v1/models").json()["models"])

    def submit(self, model: str, rows: NDArray[np.float32]) -> dict[str, Any]:
        """Send rows x features as a job and return its document."""
        body = io.BytesIO()
        np.save(body, rows, allow_pickle=False)
        headers = {"Content-Type": "application/x-npy"}
        return dict(self._call("POST", f"/v1/jobs?model={model}", headers, body.getvalue()).json())

    def follow(self, job: Mapping[str, Any], show: Callable[[int, int], None]) -> dict[str, Any]:
        """Poll the job until it ends; `show` gets the completed batches and their total."""
        while True:
            document = dict(self._call("GET", job["links"]["self"]).json())
            show(document["batches"]["completed"], document["batches"]["total"])
            if document["status"] == "completed":
                return document
            if document["status"] in {"failed", "cancelled"}:
                raise DemoError(f"The job has {document['status']}: {document['error']}")
            time.sleep(POLL_SECONDS)

    def values_npy(self, job: Mapping[str, Any]) -> NDArray[np.float32]:
        """Return the values as rows x (features + 1), or rows x outputs x (features + 1)."""
        content = self._result(job, "application/x-npy")
        return np.asarray(np.load(io.BytesIO(content), allow_pickle=False), dtype=np.float32)

    def result_json(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Return the result as it loads into shap.Explanation."""
        answer = self._call("GET", job["links"]["result"], {"Accept": "application/json"})
        return dict(answer.json())

    def result_csv(self, job: Mapping[str, Any]) -> bytes:
        """Return the result as CSV."""
        return self._result(job, "text/csv")

    def _result(self, job: Mapping[str, Any], media_type: str) -> bytes:
        return self._call("GET", job["links"]["result"], {"Accept": media_type}).body

    def _call(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        sent = {**self._headers, **(headers or {})}
        try:
            answer = call(self.url + path, method, sent, body, CALL_SECONDS)
        except (OSError, http.client.HTTPException) as error:
            raise DemoError(f"{method} {self.url}{path} was not answered: {error}") from error
        if answer.status in {401, 403}:
            raise DemoError(
                f"The appliance at {self.url} does not know our key: set API_KEY, or DATA_DIR to its folder."
            )
        if answer.status >= 400:
            said = answer.body.decode("utf-8", "replace")[:500]
            raise DemoError(f"{method} {path} was refused with {answer.status}: {said}")
        return answer
