"""Few rows of a compiled model, explained in the api with real tables and kernels."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ops.lab.reference import EXACT, distance, reference_contributions
from services.api.app import create_app
from services.api.components import Components
from services.api.explain import inline
from services.api.explain.inline import MOST_BODY, MOST_ROWS, MOST_SECONDS, InlineModel, InlineModels
from shared.engines.checks import ADVICE
from shared.explanation import Explanation, Matrix
from shared.jobs import keys
from shared.jobs.document import Method, Status
from shared.models.activation.records import Activations
from shared.treeshap.explainer import Explainer
from shared.treeshap.library import find_library
from shared.treeshap.table_file import table_path
from tests.integration.api.api_client import CSV, NDJSON, NPY, InProcess, changed
from tests.support.redis_server import RedisServer

ROW = [0.5] * 10
BODY: dict[str, Any] = {"model": "diabetes", "rows": [ROW, [None] * 10, [1.5] * 10]}

pytestmark = pytest.mark.skipif(find_library() is None, reason="the kernels are not built: no C compiler")


@pytest.fixture(autouse=True)
def _opened(components: Components, opened: InlineModels) -> None:
    components.inline_models._models.update(opened._models)


def jobs(components: Components) -> list[Any]:
    return list(components.store.page(None, 10, None).jobs)


def counted(components: Components, *name: str) -> float:
    components.counters.flush()
    return components.counters.read().get(name, 0.0)


def test_rows_are_explained_exactly_in_pages_and_no_job_is_made_though_one_is_counted(
    client: InProcess, components: Components, nothing_is_left: Callable[[], None]
) -> None:
    for model in ("diabetes", "wine"):
        version = components.catalog.get(model)
        assert version.examples_path is not None
        rows = np.load(version.examples_path)[:10].astype(np.float32)
        body = {"model": model, "rows": rows.tolist()}
        reply = client.post_json("/v1/explain", body, Accept=NPY)
        found = np.load(io.BytesIO(reply.body))
        wanted = reference_contributions(version.model_path, rows)
        assert distance(found, wanted.reshape(found.shape)) <= EXACT
        assert "content-location" not in reply.headers
        part = client.post_json("/v1/explain?offset=3&limit=2", body).json
        assert part["job"] is None
        whole = client.post_json("/v1/explain", body).json
        assert part["values"] == whole["values"][3:5]
    nothing_is_left()
    assert components.connection.keys(f"{keys.JOBS}*") == []
    assert counted(components, "jobs_total", "completed") == 6
    assert counted(components, "rows_explained_total", "diabetes@1") == 30
    for histogram in ("batch_seconds", "job_seconds"):
        assert 0 < counted(components, f"{histogram}_sum") < 6


def test_interventional_values_are_explained_inline_if_they_are_compiled(
    client: InProcess, components: Components
) -> None:
    body = {**BODY, "method": "interventional"}
    reply = client.post_json("/v1/explain", body)
    assert (reply.status, reply.json["job"], reply.json["method"]) == (200, None, "interventional")
    assert reply.json["values"] != client.post_json("/v1/explain", BODY).json["values"]
    # As with one that is too deep:
    components.inline_models._models.pop(("diabetes@1", Method.INTERVENTIONAL))
    assert client.post_json("/v1/explain?wait=0.05", body).status == 202
    assert [job.method for job in jobs(components)] == [Method.INTERVENTIONAL]


def test_every_kind_of_body_is_explained_alike(client: InProcess, components: Components) -> None:
    file = io.BytesIO()
    np.save(file, np.array([ROW], dtype=np.float32))
    table = b"age,sex,bmi,bp,s1,s2,s3,s4,s5,s6\n" + b",".join([b"0.5"] * 10) + b"\n"
    wanted = client.post_json("/v1/explain", {"model": "diabetes", "rows": [ROW]}).json
    bodies = ((CSV, table), (NDJSON, json.dumps(ROW).encode()), (NPY, file.getvalue()))
    for content_type, body in bodies:
        path = "/v1/explain?model=diabetes"
        assert client.post(path, body, content_type).json == wanted
        packed = client.post(path, gzip.compress(body), content_type, Content_Encoding="gzip")
        assert packed.json == wanted
    assert jobs(components) == []


def test_other_requests_go_to_the_workers(client: InProcess, components: Components) -> None:
    large = json.dumps({"model": "diabetes", "rows": [ROW]}).encode() + b" " * MOST_BODY
    for number, (query, body, rows) in enumerate(
        (
            ("wait=0", BODY, 3),
            ("wait=0.05", dict(BODY, rows=[ROW] * (MOST_ROWS + 1)), MOST_ROWS + 1),
            ("wait=0.05&interactions=true", BODY, 3),
            ("wait=0.05", large, 1),
        )
    ):
        assert client.post_json(f"/v1/explain?{query}", body).status == 202
        assert [job.status for job in jobs(components)] == [Status.QUEUED] * (number + 1)
        assert jobs(components)[0].rows == rows


def test_a_job_that_is_waited_for_is_kept_as_a_completed_one(
    client: InProcess, components: Components, nothing_is_left: Callable[[], None]
) -> None:
    reply = client.post_json("/v1/jobs", BODY, Prefer="wait=5")
    assert (reply.status, reply.json["status"]) == (200, "completed")
    assert reply.json["batches"] == {"total": 1, "completed": 1}
    assert reply.json["created_at"] <= reply.json["started_at"] <= reply.json["finished_at"]
    result = client.get(reply.json["links"]["result"]).json
    assert result["values"] == client.post_json("/v1/explain", BODY).json["values"]
    assert result["job"] == reply.json["id"]
    assert client.get(f"{reply.json['links']['self']}/summary").status == 200
    assert client.get("/v1/jobs?status=completed").json["jobs"] == [reply.json]
    assert counted(components, "jobs_total", "completed") == 2
    assert counted(components, "rows_explained_total", "diabetes@1") == 6
    assert sum(components.store.queues.waiting().values()) == 0
    assert components.store.expired(time.time() + 1, 10) == [reply.json["id"]]
    assert client.call("DELETE", reply.json["links"]["self"]).status == 204
    nothing_is_left()


def test_with_an_idempotency_key_the_job_is_found_again(client: InProcess, components: Components) -> None:
    first = client.post_json("/v1/explain", BODY, Idempotency_Key="once")
    again = client.post_json("/v1/explain", BODY, Idempotency_Key="once")
    assert first.json == again.json
    assert first.headers["content-location"] == f"/v1/jobs/{first.json['job']}/result"
    assert [job.id for job in jobs(components)] == [first.json["job"]]
    other = client.post_json("/v1/explain", {**BODY, "rows": [ROW]}, Idempotency_Key="once")
    assert other.refusal == (422, "idempotency-conflict")
    assert counted(components, "jobs_total", "completed") == 1


def test_of_two_requests_with_one_key_at_a_time_one_makes_the_job(
    client: InProcess, components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = type(components.store).accept

    def slower(store: Any, job: Any, idempotency: Any = None) -> Any:
        monkeypatch.setattr(type(components.store), "accept", accept)
        assert client.post_json("/v1/explain", BODY, Idempotency_Key="once").status == 200
        return accept(store, job, idempotency)

    monkeypatch.setattr(type(components.store), "accept", slower)
    second = client.post_json("/v1/explain", BODY, Idempotency_Key="once")
    assert [job.id for job in jobs(components)] == [second.json["job"]]
    assert components.payloads.job_ids() == [second.json["job"]]


def test_values_are_given_while_redis_is_away_and_a_job_leaves_only_what_the_sweeper_removes(
    client: InProcess, components: Components, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = type(components.store).accept

    def killed(store: Any, *given: Any) -> Any:
        server.kill()
        return accept(store, *given)

    monkeypatch.setattr(type(components.store), "accept", killed)
    reply = client.post_json("/v1/jobs", BODY, Prefer="wait=5")
    assert reply.refusal == (503, "redis-unavailable")
    assert len(components.payloads.job_ids()) == 1
    assert client.post_json("/v1/explain", BODY).status == 200


def test_a_full_queue_does_not_hinder_and_a_stop_does(client: InProcess, components: Components) -> None:
    assert client.post_json("/v1/jobs", {"model": "diabetes", "rows": [ROW] * 1500}).status == 202
    assert client.post_json("/v1/jobs", {"model": "diabetes", "rows": [ROW] * 1000}).status == 429
    assert client.post_json("/v1/explain", BODY).status == 200
    assert client.post_json("/v1/jobs", BODY, Prefer="wait=5").json["status"] == "completed"
    components.stop()
    assert client.post_json("/v1/explain", BODY).slug == "draining"


def test_a_model_whose_tables_are_damaged_is_left_to_the_workers(
    client: InProcess, components: Components, compiled: tuple[Path, Activations]
) -> None:
    diabetes = components.catalog.get("diabetes")
    shutil.copytree(compiled[0], components.settings.compiled_dir, dirs_exist_ok=True)
    path = table_path(components.settings.compiled_dir, diabetes.contract.sha256)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    components.inline_models._models.clear()  # as after a start
    components.inline_models.open()
    assert components.inline_models.find(diabetes.id, Method.TREE_PATH_DEPENDENT) is None
    assert components.inline_models.find("wine@1", Method.TREE_PATH_DEPENDENT) is not None
    assert client.post_json("/v1/explain?wait=0.05", BODY).status == 202


def test_a_slow_model_is_given_fewer_rows(components: Components, monkeypatch: pytest.MonkeyPatch) -> None:
    version = components.catalog.get("diabetes")
    ready = components.inline_models.find(version.id, Method.TREE_PATH_DEPENDENT)
    assert ready is not None
    assert ready.rows == MOST_ROWS
    monkeypatch.setattr(inline, "_processor_seconds", lambda *_: 4 * MOST_SECONDS)
    assert InlineModel.of(version, ready.engine).rows == MOST_ROWS // 4


def test_only_so_many_requests_are_explained_at_a_time(
    components: Components, opened: InlineModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = InlineModels(components.catalog, components.settings, at_once=2)
    models._models.update(opened._models)
    client = InProcess(create_app(changed(components, inline_models=models)))
    explain, inside, seen = Explainer.explain, [0], []

    def counting(explainer: Explainer, rows: Any) -> Any:
        inside[0] += 1
        seen.append(inside[0])
        time.sleep(0.02)  # the others come meanwhile
        inside[0] -= 1
        return explain(explainer, rows)

    monkeypatch.setattr(Explainer, "explain", counting)
    paths = ("/v1/explain", "/v1/jobs") * 4  # both ways to ask for values, each with a resource of its own
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(client.post_json, path, BODY, Prefer="wait=5") for path in paths]
    assert {one.result().status for one in asked} == {200}
    assert max(seen) == 2


# --- An engine that breaks or is wrong ---


def spoil(monkeypatch: pytest.MonkeyPatch, change: Callable[[Matrix], None]) -> None:
    """Have a function change what the compiled engine gives."""
    explain = Explainer.explain

    def spoilt(explainer: Explainer, rows: Matrix) -> Explanation:
        result = explain(explainer, rows)
        change(result.array)
        return result

    monkeypatch.setattr(Explainer, "explain", spoilt)


def be_off(result: Matrix) -> None:
    result[1, 0, 4] += 500.0


def be_off_a_little(result: Matrix) -> None:
    result[:, 0, -1] *= np.float32(1 + 5e-5)


def break_off(_result: Matrix) -> None:
    raise RuntimeError("the tables are torn")


def test_a_request_whose_engine_breaks_or_is_wrong_fails_with_the_reason_and_nothing_is_kept(
    client: InProcess,
    components: Components,
    monkeypatch: pytest.MonkeyPatch,
    nothing_is_left: Callable[[], None],
) -> None:
    wrong = "engine's values of model diabetes@1 are 5e+02 off their margin in row 1; no result was stored."
    broken = "engine failed while it explained rows of model diabetes@1 (RuntimeError: the tables are torn)"
    for change, said in ((be_off, wrong), (break_off, broken)):
        spoil(monkeypatch, change)
        for path in ("/v1/explain", "/v1/jobs?wait=5"):
            reply = client.post_json(path, BODY)
            assert reply.refusal == (500, "engine-fault")
            assert said in reply.detail
            assert ADVICE in reply.detail
    nothing_is_left()
    assert counted(components, "engine_faults_total", "diabetes@1") == 4
    assert counted(components, "jobs_total", "completed") == 0
    assert counted(components, "largest_residual", "diabetes@1") == 0


def test_the_largest_residual_is_counted_and_stands_in_the_job_that_is_kept(
    client: InProcess, components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.post_json("/v1/explain", BODY).status == 200
    assert 0 < counted(components, "largest_residual", "diabetes@1") < 3e-6
    spoil(monkeypatch, be_off_a_little)
    reply: Any = client.post_json("/v1/jobs?wait=5", BODY)
    assert reply.json["status"] == Status.COMPLETED
    residual = reply.json["largest_residual"]
    assert residual == pytest.approx(5e-5, rel=0.05)
    assert [job.largest_residual for job in jobs(components)] == [residual]
    assert counted(components, "largest_residual", "diabetes@1") == residual
