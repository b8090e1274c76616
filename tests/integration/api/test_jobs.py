"""Jobs from their submission to their deletion, and explanations that are waited for."""

from __future__ import annotations

import gzip
import io
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from services.api.app import create_app
from services.api.components import Components
from services.api.explain import job_waits
from shared.jobs.document import Job
from shared.models.activation.records import Activations, ExplanationKind, MethodRecord, State, VersionRecord
from shared.models.catalog import ModelCatalog
from tests.integration.api.api_client import CSV, JSON, NDJSON, NPY, InProcess, changed


def rows_of(count: int) -> dict[str, Any]:
    return {"model": "diabetes", "rows": [[float(row)] * 10 for row in range(count)]}


def test_a_submitted_job_is_accepted_with_its_address_and_document(
    client: InProcess, components: Components
) -> None:
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


def test_the_engine_decides_how_many_rows_a_batch_has_unless_a_setting_does(components: Components) -> None:
    body = rows_of(1200)
    methods = {ExplanationKind.TREE_PATH_DEPENDENT: MethodRecord("compiled-avx2")}
    record = VersionRecord("key", State.READY, methods=methods)
    compiled = Activations("compiled-avx2", {"diabetes@1": record})

    def batches(activations: Activations, batch_rows: int | None, **more: str) -> int:
        settings = replace(components.settings, batch_rows=batch_rows)
        catalog = ModelCatalog.load(settings.models_dir, activations=activations)
        client = InProcess(create_app(changed(components, settings=settings, catalog=catalog)))
        job = client.post_json("/v1/jobs", {**body, **more}).json
        assert job["method"] == more.get("method", "tree_path_dependent")
        return int(job["batches"]["total"])

    assert batches(compiled, None) == 1
    assert batches(Activations(), None) == 3
    assert batches(compiled, None, method="interventional") == 3
    assert batches(compiled, 100) == batches(Activations(), 100) == 12


def test_all_media_types_store_the_same_rows(client: InProcess, components: Components) -> None:
    names = components.catalog.get("diabetes").features
    rows = np.arange(30, dtype=np.float32).reshape(3, 10)
    order = list(reversed(range(10)))
    csv = "\n".join([",".join(names[i] for i in order), *(",".join(str(r[i]) for i in order) for r in rows)])
    npy = io.BytesIO()
    np.save(npy, rows)
    lines = "\n".join(str(row.tolist()) for row in rows)
    named = [dict(zip(names, row.tolist(), strict=True)) for row in rows]
    path = "/v1/jobs?model=diabetes"
    for reply in (
        client.post_json("/v1/jobs", {"model": "diabetes", "rows": rows.tolist()}),
        client.post_json("/v1/jobs", {"model": "diabetes@1", "rows": named}),
        client.post(path, csv.encode(), "text/csv; charset=utf-8"),
        client.post(path, lines.encode(), NDJSON),
        client.post(path, npy.getvalue(), NPY),
        client.post(path, gzip.compress(csv.encode()), CSV, Content_Encoding="gzip"),
    ):
        assert reply.status == 202
        stored = components.payloads.rows(components.store.get(reply.json["id"]), 0)
        np.testing.assert_array_equal(stored, rows)


# --- Waiting ---


@pytest.mark.usefixtures("finish_all")
def test_a_job_that_ends_in_time_is_answered_with_200_and_explain_with_the_values(client: InProcess) -> None:
    reply = client.post_json("/v1/jobs", rows_of(25), Prefer="respond-async, wait=20")
    assert (reply.status, reply.json["status"]) == (200, "completed")
    assert reply.headers["preference-applied"] == "wait=20"
    reply = client.post_json("/v1/jobs", rows_of(1), Prefer="wait=100000")
    assert reply.headers["preference-applied"] == "wait=60"

    reply = client.post_json("/v1/explain", rows_of(25))
    assert reply.status == 200
    assert np.array(reply.json["values"]).shape == (25, 10)
    assert reply.headers["content-location"] == f"/v1/jobs/{reply.json['job']}/result"
    body, headers = json.dumps(rows_of(25)).encode(), {"Accept": NPY, "Accept_Encoding": "gzip"}
    reply = client.post("/v1/explain?offset=20&limit=3", body, JSON, **headers)
    assert np.load(io.BytesIO(gzip.decompress(reply.body))).shape == (3, 11)


def test_a_job_that_does_not_end_in_time_is_answered_with_202(
    client: InProcess, components: Components
) -> None:
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
    client: InProcess,
    components: Components,
    finish: Callable[[Job], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job_waits, "LOOK_SECONDS", 3600.0)  # only an announcement wakes it
    job = client.post_json("/v1/jobs", rows_of(1)).json
    timer = threading.Timer(0.3, lambda: finish(components.store.get(job["id"])))
    timer.start()
    assert client.get(f"/v1/jobs/{job['id']}?wait=30").json["status"] == "completed"
    timer.join()


def test_when_too_many_wait_the_others_are_answered_at_once(
    client: InProcess, components: Components
) -> None:
    job = client.post_json("/v1/jobs", rows_of(1)).json
    while components.job_waits._places.acquire(blocking=False):
        pass
    started = time.monotonic()
    assert client.get(f"/v1/jobs/{job['id']}?wait=60").json["status"] == "queued"
    assert time.monotonic() - started < 60


def test_explain_refuses_what_it_cannot_answer_before_it_works(
    client: InProcess, nothing_is_left: Callable[[], None]
) -> None:
    assert client.post_json("/v1/explain", rows_of(25), Accept="image/png").status == 406
    assert client.post_json("/v1/explain?offset=26", rows_of(25)).status == 400
    nothing_is_left()


# --- Idempotency ---


def test_the_same_idempotency_key_and_body_give_the_same_job_even_when_the_queue_is_full(
    client: InProcess, components: Components
) -> None:
    first, again = (client.post_json("/v1/jobs", rows_of(1500), Idempotency_Key="key-1") for _ in range(2))
    assert (first.status, again.status) == (202, 202)
    assert first.json["id"] == again.json["id"]
    assert components.payloads.job_ids() == [first.json["id"]]
    for path, body in (("/v1/jobs", rows_of(4)), ("/v1/jobs?method=interventional", rows_of(1500))):
        other = client.post_json(path, body, Idempotency_Key="key-1")
        assert other.refusal == (422, "idempotency-conflict")


def test_one_idempotency_key_sent_many_times_at_once_makes_one_job(
    client: InProcess, components: Components
) -> None:
    replies = []

    def send() -> None:
        replies.append(client.post_json("/v1/jobs", rows_of(30), Idempotency_Key="key-1"))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {reply.status for reply in replies} == {202}
    assert len({reply.json["id"] for reply in replies}) == 1
    assert len(components.payloads.job_ids()) == 1
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


def test_an_unknown_job_is_not_found(client: InProcess) -> None:
    for job_id in ("0" * 32, "x", "..%2f..%2fetc"):
        for path in (f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/result"):
            assert client.get(path).status == 404
    assert client.call("DELETE", f"/v1/jobs/{'0' * 32}").slug == "job-not-found"


def test_deleting_an_active_job_cancels_it_and_deletes_its_rows(
    client: InProcess, components: Components
) -> None:
    job = client.post_json("/v1/jobs", rows_of(25)).json
    assert client.call("DELETE", job["links"]["self"]).status == 204
    assert components.payloads.job_ids() == []
    assert client.get(job["links"]["self"]).json["status"] == "cancelled"
    assert client.get(job["links"]["result"]).refusal == (409, "job-cancelled")
    assert client.call("DELETE", job["links"]["self"]).status == 204
    assert client.get(job["links"]["self"]).status == 404


def test_deleting_an_ended_job_removes_all_of_it(
    client: InProcess, components: Components, finish: Callable[[Job], object]
) -> None:
    job = client.post_json("/v1/jobs", rows_of(5), Idempotency_Key="key-1").json
    finish(components.store.get(job["id"]))
    assert client.call("DELETE", job["links"]["self"]).status == 204
    assert client.get(job["links"]["self"]).status == 404
    assert components.payloads.job_ids() == []
    assert client.post_json("/v1/jobs", rows_of(5), Idempotency_Key="key-1").json["id"] != job["id"]
