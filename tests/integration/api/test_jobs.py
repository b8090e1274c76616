"""Jobs from their submission to their deletion, and explanations that are waited for."""

from __future__ import annotations

import gzip
import io
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from services.api.components import Components
from services.api.explain import job_waits
from shared.jobs.document import Job
from tests.integration.api.api_client import JSON, NPY, InProcess

type Finish = Callable[[Job], object]


def rows_of(count: int) -> dict[str, Any]:
    return {"model": "diabetes", "rows": [[float(row)] * 10 for row in range(count)]}


def test_a_job_is_accepted_with_its_address_and_document(client: InProcess, components: Components) -> None:
    reply = client.post_json("/v1/jobs", rows_of(25))
    assert reply.status == 202
    job = reply.json
    assert reply.headers["location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert (job["status"], job["rows"], job["batches"]) == ("queued", 25, {"total": 3, "completed": 0})
    assert job["model"] == "diabetes@1"
    stored = components.store.get(job["id"])
    assert stored.request == reply.headers["x-request-id"]
    last = components.payloads.rows(stored, 2)
    np.testing.assert_array_equal(last, np.repeat(np.arange(20, 25, dtype=np.float32)[:, None], 10, axis=1))
    for path in ("/v1/jobs", job["links"]["self"], "/v1/models", "/healthz", "/version", "/docs"):
        head = client.call("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert int(head.headers["content-length"]) > 0


# --- Waiting ---


@pytest.mark.usefixtures("finish_all")
def test_a_job_that_ends_in_time_is_answered_with_200_and_explain_with_the_values(client: InProcess) -> None:
    reply = client.post_json("/v1/jobs", rows_of(25), Prefer="respond-async, wait=20")
    assert (reply.status, reply.json["status"]) == (200, "completed")
    assert reply.headers["preference-applied"] == "wait=20"
    reply = client.post_json("/v1/jobs", rows_of(1), Prefer="wait=100000")
    assert reply.headers["preference-applied"] == "wait=50"

    reply = client.post_json("/v1/explain", rows_of(25))
    assert reply.status == 200
    assert np.array(reply.json["values"]).shape == (25, 10)
    assert reply.headers["content-location"] == f"/v1/jobs/{reply.json['job']}/result"
    body, headers = json.dumps(rows_of(25)).encode(), {"Accept": NPY, "Accept_Encoding": "gzip"}
    reply = client.post("/v1/explain?offset=20&limit=3", body, JSON, **headers)
    assert np.load(io.BytesIO(gzip.decompress(reply.body))).shape == (3, 11)


def test_a_job_that_takes_longer_is_answered_with_202(client: InProcess, components: Components) -> None:
    started = time.monotonic()
    assert client.post_json("/v1/jobs?wait=0.3", rows_of(1)).status == 202
    assert time.monotonic() - started >= 0.3
    reply = client.post_json("/v1/jobs", rows_of(1), Prefer="wait=soon")  # not understood
    assert reply.status == 202
    assert "preference-applied" not in reply.headers

    reply = client.post_json("/v1/explain", rows_of(25), Prefer="wait=0", Idempotency_Key="key-1")
    assert reply.status == 202
    assert reply.headers["location"] == reply.json["links"]["self"]
    assert reply.headers["preference-applied"] == "wait=0"
    components.store.fail(reply.json["id"], "engine", "The model does not take these rows.")
    reply = client.post_json("/v1/explain?wait=0", rows_of(25), Idempotency_Key="key-1")
    assert reply.refusal == (409, "job-failed")


def test_waiting_for_a_job_ends_as_soon_as_the_job_does(
    client: InProcess, components: Components, finish: Finish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_waits, "LOOK_SECONDS", 3600.0)  # only an announcement wakes it
    job = client.post_json("/v1/jobs", rows_of(1)).json
    timer = threading.Timer(0.3, lambda: finish(components.store.get(job["id"])))
    timer.start()
    assert client.get(f"/v1/jobs/{job['id']}?wait=30").json["status"] == "completed"
    timer.join()


def test_explain_refuses_first_what_it_cannot(client: InProcess, nothing_is_left: Callable[[], None]) -> None:
    assert client.post_json("/v1/explain", rows_of(25), Accept="image/png").status == 406
    assert client.post_json("/v1/explain?offset=26", rows_of(25)).status == 400
    nothing_is_left()


# --- Idempotency ---


def test_a_key_sent_again_gives_its_job_on_a_full_queue(client: InProcess, components: Components) -> None:
    first, again = (client.post_json("/v1/jobs", rows_of(1500), Idempotency_Key="key-1") for _ in range(2))
    assert (first.status, again.status) == (202, 202)
    assert first.json["id"] == again.json["id"]
    assert components.payloads.job_ids() == [first.json["id"]]
    for path, body in (("/v1/jobs", rows_of(4)), ("/v1/jobs?method=interventional", rows_of(1500))):
        other = client.post_json(path, body, Idempotency_Key="key-1")
        assert other.refusal == (422, "idempotency-conflict")


def test_a_key_sent_many_times_at_once_makes_one_job(client: InProcess, components: Components) -> None:
    with ThreadPoolExecutor(8) as threads:
        sent = [
            threads.submit(client.post_json, "/v1/jobs", rows_of(30), Idempotency_Key="key-1")
            for _ in range(8)
        ]
    assert {reply.result().status for reply in sent} == {202}
    assert [reply.result().json["id"] for reply in sent] == components.payloads.job_ids() * 8
    assert sum(components.store.queues.waiting().values()) == 3


# --- Lists and deletion ---


def test_jobs_are_listed_newest_first_page_by_page(client: InProcess) -> None:
    ids = [client.post_json("/v1/jobs", rows_of(1)).json["id"] for _ in range(5)]
    seen: list[str] = []
    path = "/v1/jobs?status=queued&limit=2"
    while path:
        page = client.get(path).json
        seen += [job["id"] for job in page["jobs"]]
        path = page["next"]
    assert seen == sorted(ids, reverse=True)
    assert client.get("/v1/jobs?status=failed").json == {"jobs": [], "next": None}
    limits = ("limit=0", "limit=101", "limit=x", "limit=", "limit=1&limit=2")
    for query in (*limits, "status=lost", "cursor=../../x", "page=2"):
        assert client.get(f"/v1/jobs?{query}").refusal == (400, "bad-parameter")


def test_deleting_an_active_job_cancels_it(client: InProcess, components: Components) -> None:
    job = client.post_json("/v1/jobs", rows_of(25)).json
    assert client.call("DELETE", f"{job['links']['self']}?cancel=true").status == 204
    assert components.payloads.job_ids() == []
    assert client.get(job["links"]["self"]).json["status"] == "cancelled"
    assert client.call("DELETE", f"{job['links']['self']}?cancel=true").refusal == (409, "conflict")
    assert client.get(job["links"]["result"]).refusal == (409, "job-cancelled")
    assert client.call("DELETE", job["links"]["self"]).status == 204
    assert client.get(job["links"]["self"]).status == 404


def test_deleting_an_ended_job_removes_it(client: InProcess, components: Components, finish: Finish) -> None:
    job = client.post_json("/v1/jobs", rows_of(5), Idempotency_Key="key-1").json
    finish(components.store.get(job["id"]))
    assert client.call("DELETE", f"{job['links']['self']}?cancel=true").refusal == (409, "conflict")
    assert client.get(job["links"]["result"]).status == 200
    assert client.call("DELETE", job["links"]["self"]).status == 204
    assert components.payloads.job_ids() == []
    assert client.post_json("/v1/jobs", rows_of(5), Idempotency_Key="key-1").json["id"] != job["id"]
    for path in (job["links"]["self"], job["links"]["result"], "/v1/jobs/x", "/v1/jobs/..%2f..%2fetc"):
        assert client.get(path).status == 404
    assert client.call("DELETE", job["links"]["self"]).slug == "job-not-found"


def test_no_answer_tells_of_a_job_that_cannot_be_synced(client: InProcess, components: Components) -> None:
    class Broken:
        def wait(self) -> None:
            raise OSError(5, "Input/output error")

    assert client.post_json("/v1/jobs", rows_of(5), Idempotency_Key="key-1").status == 202
    components.submission._queued._sync = Broken()  # type: ignore[assignment]
    for key in ("key-1", "key-2"):  # one that is known, and a new one
        refused = client.post_json("/v1/jobs", rows_of(5), Idempotency_Key=key)
        assert refused.refusal == (503, "redis-unavailable")
