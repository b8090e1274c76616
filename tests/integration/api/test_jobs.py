from __future__ import annotations

import gzip
import io
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
from tests.integration.api.api_client import InProcess
from tests.integration.api.changed import changed

ROW = [0.5] * 10


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


def test_the_engine_decides_how_many_rows_a_batch_has_unless_a_setting_does(components: Components) -> None:
    body = rows_of(1200)
    methods = {ExplanationKind.TREE_PATH_DEPENDENT: MethodRecord("compiled-avx2")}
    compiled = Activations(
        "compiled-avx2", {"diabetes@1": VersionRecord("key", State.READY, methods=methods)}
    )

    def batches(activations: Activations, batch_rows: int | None, **more: str) -> int:
        settings = replace(components.settings, batch_rows=batch_rows)
        catalog = ModelCatalog.load(settings.models_dir, activations=activations)
        client = InProcess(create_app(changed(components, settings=settings, catalog=catalog)))
        return int(client.post_json("/v1/jobs", {**body, **more}).json["batches"]["total"])

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
    replies = [
        client.post_json("/v1/jobs", {"model": "diabetes", "rows": rows.tolist()}),
        client.post_json("/v1/jobs", {"model": "diabetes@1", "rows": named}),
        client.post("/v1/jobs?model=diabetes", csv.encode(), "text/csv; charset=utf-8"),
        client.post("/v1/jobs?model=diabetes", lines.encode(), "application/x-ndjson"),
        client.post("/v1/jobs?model=diabetes", npy.getvalue(), "application/x-npy"),
        client.post(
            "/v1/jobs?model=diabetes", gzip.compress(csv.encode()), "text/csv", Content_Encoding="gzip"
        ),
    ]
    assert [reply.status for reply in replies] == [202] * 6
    for reply in replies:
        np.testing.assert_array_equal(
            components.payloads.rows(components.store.get(reply.json["id"]), 0), rows
        )


@pytest.mark.usefixtures("finish_all")
def test_a_job_that_ends_in_time_is_answered_with_200(client: InProcess) -> None:
    reply = client.post_json("/v1/jobs", rows_of(25), Prefer="respond-async, wait=20")
    assert (reply.status, reply.json["status"]) == (200, "completed")
    assert reply.headers["preference-applied"] == "wait=20"


def test_a_job_that_does_not_end_in_time_is_answered_with_202(client: InProcess) -> None:
    started = time.monotonic()
    reply = client.post_json("/v1/jobs?wait=0.3", rows_of(1))
    assert reply.status == 202
    assert 0.3 <= time.monotonic() - started < 20


def test_waiting_for_a_job_ends_as_soon_as_the_job_does(
    client: InProcess,
    components: Components,
    finish: Callable[[Job], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job_waits, "LOOK_SECONDS", 60.0)  # only an announcement wakes it
    job = client.post_json("/v1/jobs", rows_of(1)).json
    timer = threading.Timer(0.3, lambda: finish(components.store.get(job["id"])))
    timer.start()
    started = time.monotonic()
    reply = client.get(f"/v1/jobs/{job['id']}?wait=30")
    assert reply.json["status"] == "completed"
    assert time.monotonic() - started < 25
    timer.join()


def test_when_too_many_wait_the_others_are_answered_at_once(
    client: InProcess, components: Components
) -> None:
    job = client.post_json("/v1/jobs", rows_of(1)).json
    while components.job_waits._places.acquire(blocking=False):
        pass
    started = time.monotonic()
    assert client.get(f"/v1/jobs/{job['id']}?wait=30").json["status"] == "queued"
    assert time.monotonic() - started < 30


def test_a_preference_that_is_not_understood_is_ignored(client: InProcess) -> None:
    reply = client.post_json("/v1/jobs", rows_of(1), Prefer="wait=soon")
    assert reply.status == 202
    assert "preference-applied" not in reply.headers


@pytest.mark.parametrize("wait", ["soon", "-1", "nan", "", "1&wait=2"])
def test_a_wait_parameter_that_is_not_understood_is_refused(client: InProcess, wait: str) -> None:
    reply = client.post_json(f"/v1/jobs?wait={wait}", rows_of(1))
    assert (reply.status, reply.slug) == (400, "bad-parameter")


@pytest.mark.usefixtures("finish_all")
def test_a_long_wait_is_cut_to_a_minute(client: InProcess) -> None:
    reply = client.post_json("/v1/jobs", rows_of(1), Prefer="wait=100000")
    assert reply.headers["preference-applied"] == "wait=60"


def test_the_same_idempotency_key_and_body_give_the_same_job(
    client: InProcess, components: Components
) -> None:
    first = client.post_json("/v1/jobs", rows_of(3), Idempotency_Key="key-1")
    again = client.post_json("/v1/jobs", rows_of(3), Idempotency_Key="key-1")
    assert (first.status, again.status) == (202, 202)
    assert first.json["id"] == again.json["id"]
    assert len(components.payloads.job_ids()) == 1


def test_an_idempotency_key_is_answered_even_when_the_queue_is_full(client: InProcess) -> None:
    first = client.post_json("/v1/jobs", rows_of(1500), Idempotency_Key="key-1")
    assert first.status == 202
    again = client.post_json("/v1/jobs", rows_of(1500), Idempotency_Key="key-1")
    assert first.json["id"] == again.json["id"]


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


def test_an_idempotency_key_with_another_body_is_refused(client: InProcess) -> None:
    client.post_json("/v1/jobs", rows_of(3), Idempotency_Key="key-1")
    reply = client.post_json("/v1/jobs", rows_of(4), Idempotency_Key="key-1")
    assert (reply.status, reply.slug) == (422, "idempotency-conflict")
    other = client.post_json("/v1/jobs?method=interventional", rows_of(3), Idempotency_Key="key-1")
    assert (other.status, other.slug) == (422, "idempotency-conflict")


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_an_idempotency_key_must_be_short_and_printable(client: InProcess, key: str) -> None:
    reply = client.post_json("/v1/jobs", rows_of(1), Idempotency_Key=key)
    assert (reply.status, reply.slug) == (400, "bad-parameter")


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


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "status=lost",
        "cursor=../../x",
        "page=2",
        "limit=1&limit=2",
        "limit=",
    ],
)
def test_a_bad_list_parameter_is_refused(client: InProcess, query: str) -> None:
    reply = client.get(f"/v1/jobs?{query}")
    assert (reply.status, reply.slug) == (400, "bad-parameter")


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
    result = client.get(job["links"]["result"])
    assert (result.status, result.slug) == (409, "job-cancelled")
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


def test_interventional_jobs_have_smaller_batches(client: InProcess) -> None:
    reply = client.post_json("/v1/jobs", {**rows_of(5), "method": "interventional"})
    assert reply.status == 202
    assert reply.json["method"] == "interventional"


def test_head_answers_as_get_does_without_a_body(client: InProcess) -> None:
    job = client.post_json("/v1/jobs", rows_of(1)).json
    for path in ("/v1/jobs", job["links"]["self"], "/v1/models", "/healthz", "/version", "/docs"):
        reply = client.call("HEAD", path)
        assert (reply.status, reply.body) == (200, b"")
        assert int(reply.headers["content-length"]) > 0
